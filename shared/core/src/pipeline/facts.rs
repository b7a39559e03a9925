//! Facts: everything a decision rests on, read in one consistent batch.

use super::App;
use crate::agent::{Agent, Credential, Grant, HoldKind};
use crate::ambient::Timestamp;
use crate::approval::{Approval, ApprovalRecord, approval_item};
use crate::behaviour::{self, Known};
use crate::deployment::Deployment;
use crate::error::Error;
use crate::human::Human;
use crate::id::{AgentId, ApprovalId, CredentialId, KeyId, RecordId};
use crate::key::{Key, KeyRecord};
use crate::name::{HumanId, KeyRef, Label};
use crate::operation::Operation;
use crate::policy::{AgentFacts, ApprovalFacts, Policies, Principal, Resource, Standing};
use crate::reason::Reason;
use crate::repository::{self, Alias, Loaded, share};
use crate::rules::RuleSet;
use crate::store::{ItemKey, Items, Stored};
use crate::token::Claims;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// How old a login may be for what needs a fresh one, in seconds (DESIGN §5).
pub(crate) const FRESH_LOGIN: u32 = 300;

/// What a request asks to act upon, as the caller named it.
#[derive(Clone, Debug)]
pub enum Target {
    Agent(AgentId),
    Approval(ApprovalId),
    Credential(CredentialId),
    Deployment,
    Human(HumanId),
    Key(KeyRef),
    /// The caller's own agents, records or standing.
    Own,
    Record(RecordId),
    /// A name that no thing can have; `field` says which part of the request.
    Unreadable {
        field: &'static str,
        why: String,
    },
}

/// What was found under that name.
#[derive(Clone, Debug)]
pub enum Found {
    Agent {
        id: AgentId,
        agent: Option<Loaded<Arc<Agent>>>,
    },
    Approval {
        id: ApprovalId,
        approval: Option<Loaded<Arc<ApprovalRecord>>>,
    },
    Credential {
        id: CredentialId,
        credential: Option<Loaded<Arc<Credential>>>,
    },
    Deployment,
    Human {
        id: HumanId,
        human: Option<Loaded<Arc<Human>>>,
    },
    /// `formers` are the keys that the name led to before, where a name was used.
    Key {
        requested: KeyRef,
        record: Option<Loaded<Arc<KeyRecord>>>,
        formers: Vec<KeyId>,
    },
    Own,
    Record(RecordId),
    Unreadable {
        field: &'static str,
        why: String,
    },
}

/// A verified token and the state of everything it stands on.
#[derive(Clone, Debug)]
pub struct Facts {
    pub claims: Arc<Claims>,
    pub human: Arc<Human>,
    /// The agent that asks, then those above it; empty for a human.
    pub chain: Vec<Loaded<Arc<Agent>>>,
    pub deployment: Arc<Deployment>,
    pub policies: Arc<Policies>,
    pub rules: Arc<RuleSet>,
    /// What is known of the behaviour of whoever asks; of uses of keys only.
    pub(super) known: Option<(behaviour::Names, Known)>,
}

impl App {
    /// Reads credential, agents, human, deployment and target in one batch, and what is known of the behaviour of `whose`; an alias
    /// costs one read more.
    ///
    /// The error within is why the principal is refused whatever it asks.
    pub(super) async fn gather(
        &self,
        claims: Arc<Claims>,
        target: &Target,
        whose: Option<behaviour::Names>,
        now: Timestamp,
    ) -> Result<(Result<Facts, (Reason, Arc<Claims>)>, Found), Error> {
        let (target_item, formers) = self.item_of(target).await?;
        let names = Names::of(&claims);
        let behaviour = whose.iter().flat_map(behaviour::Names::items);
        let mut items: Vec<ItemKey> = names.all().chain(&target_item).cloned().chain(behaviour).collect();
        // A target may be the caller itself: no item is asked for twice.
        items.sort();
        items.dedup();
        let read = self.store.batch_get(&items).await?;
        let found = found(target, target_item.and_then(|item| read.find(&item)), formers)?;
        let known = whose.map(|whose| {
            let known = Known::find(&whose, &read);
            (whose, known)
        });
        let facts = self.facts(claims, &names, &read, now).await?;
        Ok((facts.map(|facts| Facts { known, ..facts }), found))
    }

    /// Whether a request with these claims would be identified now, inside the window of every grant it rests on.
    pub(crate) async fn holds(&self, claims: Arc<Claims>, now: Timestamp) -> Result<bool, Error> {
        let (facts, _) = self.gather(claims, &Target::Own, None, now).await?;
        Ok(facts.is_ok_and(|facts| facts.chain.iter().all(|agent| agent.value.grant.includes(now))))
    }

    /// The target's item, and the keys that its name led to before.
    async fn item_of(&self, target: &Target) -> Result<(Option<ItemKey>, Vec<KeyId>), Error> {
        let item = match target {
            Target::Agent(id) => Some(repository::agent_item(id)),
            Target::Approval(id) => Some(approval_item(id)),
            Target::Credential(id) => Some(repository::credential_item(id)),
            Target::Human(id) => Some(repository::human_item(id)),
            Target::Key(KeyRef::Id(id)) => Some(repository::key_item(id)),
            Target::Key(KeyRef::Name(name)) => {
                let alias: Option<Loaded<Alias>> =
                    repository::load(self.store.as_ref(), &repository::alias_item(name)).await?;
                let (key, formers) = alias.map(|alias| (alias.value.key, alias.value.formers)).unwrap_or_default();
                return Ok((key.map(|id| repository::key_item(&id)), formers));
            }
            Target::Deployment | Target::Own | Target::Record(_) | Target::Unreadable { .. } => None,
        };
        Ok((item, Vec::new()))
    }

    async fn facts(
        &self,
        claims: Arc<Claims>,
        names: &Names,
        read: &Items,
        now: Timestamp,
    ) -> Result<Result<Facts, (Reason, Arc<Claims>)>, Error> {
        let deployment: Option<Arc<Deployment>> = value(read, &names.deployment)?;
        let deployment = deployment
            .ok_or_else(|| Error::Damaged { what: "store", source: "the deployment's own item is missing".into() })?;
        let policies = self.policies.of_version(self.store.as_ref(), deployment.policy_version).await?;
        let rules = self.rules.of_version(self.store.as_ref(), deployment.rules_version).await?;
        let credential: Option<Arc<Credential>> = value(read, &names.credential)?;
        let human: Option<Arc<Human>> = value(read, &names.human)?;
        let agents: Vec<Option<Loaded<Arc<Agent>>>> =
            names.agents.iter().map(|agent| loaded(read.find(agent))).collect::<Result<_, Error>>()?;
        // What a genuine token names is written before the token is; missing items mean an older store was restored.
        let present = (credential, human, agents.into_iter().collect::<Option<Vec<_>>>());
        let (Some(credential), Some(human), Some(chain)) = present else {
            return Ok(Err((Reason::CredentialRevoked, claims)));
        };
        // Revoking a credential reaches those that were issued with it.
        for name in &names.via {
            let above: Option<Arc<Credential>> = value(read, name)?;
            if above.is_none_or(|above| above.revoked) {
                return Ok(Err((Reason::CredentialRevoked, claims)));
            }
        }
        let facts = Facts { claims: Arc::clone(&claims), human, chain, deployment, policies, rules, known: None };
        Ok(match facts.refusal(&credential, now) {
            Some(reason) => Err((reason, claims)),
            None => Ok(facts),
        })
    }
}

impl Facts {
    /// Why this principal is refused whatever it asks: something it stands on is revoked, frozen or expired.
    fn refusal(&self, credential: &Credential, now: Timestamp) -> Option<Reason> {
        let epochs = &self.claims.epoch;
        let holder = (&self.human.id, self.chain.first().map(|agent| &agent.value.id));
        let agents = || {
            let stops = self.chain.iter().zip(&epochs.agents);
            let stops: Vec<Reason> = stops.filter_map(|(agent, epoch)| agent.value.stop_reason(*epoch)).collect();
            // Revoked before frozen: the graver is told.
            stops.iter().copied().find(|reason| *reason == Reason::AgentRevoked).or_else(|| stops.first().copied())
        };
        let sponsored = self.chain.iter().all(|agent| agent.value.sponsor == self.human.id);
        match () {
            () if self.human.revoked || self.human.epoch != epochs.human => Some(Reason::HumanRevoked),
            () if self.chain.len() != epochs.agents.len() || !sponsored => Some(Reason::InvalidToken),
            () if agents().is_some() => agents(),
            () if credential.revoked || self.deployment.epoch != epochs.deployment => Some(Reason::CredentialRevoked),
            () if (&credential.human, credential.agent.as_ref()) != holder => Some(Reason::InvalidToken),
            () if credential.expires_at <= now => Some(Reason::CredentialExpired),
            () => None,
        }
    }

    /// Whether the human logged in so lately that what needs a fresh login may be done.
    pub(crate) fn has_fresh_login(&self, now: Timestamp) -> bool {
        let login = self.claims.auth_time.unwrap_or(0);
        now.as_second().saturating_sub(login) <= i64::from(FRESH_LOGIN)
    }

    pub fn principal(&self) -> Principal<'_> {
        let agent = self.chain.first().map(|agent| agent_facts(&agent.value));
        Principal { human: &self.human.id, roles: &self.human.roles, agent }
    }

    /// Whether policy lets this principal do `operation` on `resource`.
    ///
    /// # Errors
    /// The [`Reason`] it does not.
    pub fn decide(&self, operation: Operation, resource: &Resource<'_>, now: Timestamp) -> Result<(), Reason> {
        let key = match resource {
            Resource::Key(key) => Some(*key),
            _ => None,
        };
        self.policies.decide(&self.principal(), operation, resource, self.standing(operation, key, now))
    }

    /// Every grant in the chain, and the credential itself, must hold what is asked.
    fn standing(&self, operation: Operation, key: Option<&Key>, now: Timestamp) -> Standing {
        let reads_key = operation == Operation::KeyGet;
        let scopes = || {
            let granted = self.chain.iter().map(|agent| &agent.value.grant.scope);
            granted.chain(self.claims.authorization_details.as_ref())
        };
        let in_scope = match (key, operation.granted_as()) {
            (None, _) => true,
            (Some(key), action @ Some(_)) => scopes().all(|scope| scope.permits(key, action)),
            (Some(key), None) => reads_key && scopes().all(|scope| scope.permits(key, None)),
        };
        // A token of an agent without a scope of its own holds nothing.
        let has_scope = self.claims.authorization_details.is_some();
        Standing {
            in_scope: in_scope && (self.chain.is_empty() || has_scope),
            in_window: self.chain.iter().all(|agent| agent.value.grant.includes(now)),
            may_delegate: self.chain.iter().all(|agent| agent.value.grant.delegate),
            may_create_keys: self.holds(|grant| grant.create_keys, self.claims.create_keys),
            may_audit: self.holds(|grant| grant.audit, self.claims.audit),
        }
    }

    /// Whether the token, and every grant in the chain, hold a right beside keys. A human needs none.
    fn holds(&self, right: fn(&Grant) -> bool, in_token: bool) -> bool {
        self.chain.is_empty() || in_token && self.chain.iter().all(|agent| right(&agent.value.grant))
    }

    /// Whether whoever asks may give a key this label: an agent only one that its scope names already, for a label brings a
    /// key into every scope that names it.
    pub(crate) fn may_label(&self, label: &Label) -> bool {
        let scopes = self.chain.iter().map(|agent| &agent.value.grant.scope);
        let mut scopes = scopes.chain(self.claims.authorization_details.as_ref());
        self.chain.is_empty() || scopes.all(|scope| scope.selects(label, None))
    }

    /// Whether an agent that left its scope was led out of it by somebody else: its grant was narrowed since the token was
    /// issued, the name it uses was moved, or a label it goes by was taken off the key. Then it is refused and not stopped.
    ///
    /// A label counts only where the key bore it in the agent's lifetime: of other keys it tells nothing.
    pub fn excuse(&self, operation: Operation, record: Option<&KeyRecord>, formers: &[KeyId]) -> Option<Reason> {
        let token = self.claims.authorization_details.as_ref()?;
        let (action, reads) = (operation.granted_as(), operation == Operation::KeyGet);
        let usable = action.is_some() || reads;
        let narrowed = record.is_some_and(|record| token.permits(&record.key, action));
        let moved = formers.iter().any(|former| token.names(former, action));
        let since = self.chain.first()?.value.created_at;
        let unlabelled = record.is_some_and(|record| {
            let mut borne = record.former_labels.iter().filter(|former| since <= former.until);
            borne.any(|former| token.selects(&former.label, action))
        });
        match () {
            () if usable && narrowed => Some(Reason::GrantNarrowed),
            () if usable && moved => Some(Reason::StaleName),
            () if usable && unlabelled => Some(Reason::StaleLabel),
            () => None,
        }
    }

    /// What responses ask of the agent, or of one above it, now.
    pub(super) fn held(&self, now: Timestamp) -> Option<HoldKind> {
        self.chain.iter().filter_map(|agent| agent.value.held(now)).max()
    }

    /// Whether the holder's scope lets it see `key`; a human sees all keys.
    pub fn sees(&self, key: &Key, now: Timestamp) -> bool {
        // Policy permits an agent no other; to ask it about every key there is would take long.
        let in_scope = self.claims.authorization_details.as_ref().is_none_or(|scope| scope.permits(key, None));
        in_scope && self.decide(Operation::KeyGet, &Resource::Key(key), now).is_ok()
    }

    /// How records and idempotency keys name the caller.
    pub fn actor(&self) -> String {
        self.chain.first().map_or_else(|| self.human.id.to_string(), |agent| agent.value.id.to_string())
    }
}

pub(crate) fn agent_facts(agent: &Agent) -> AgentFacts<'_> {
    AgentFacts { id: &agent.id, sponsor: &agent.sponsor, purpose: agent.purpose, parent: agent.ancestors.first() }
}

pub(crate) fn approval_facts(approval: &Approval) -> ApprovalFacts<'_> {
    let Approval { id, agent, sponsor, operation, tier, .. } = approval;
    ApprovalFacts { id, agent, sponsor, operation: *operation, tier: *tier }
}

/// What a token stands on, as the store names it.
struct Names {
    credential: ItemKey,
    human: ItemKey,
    deployment: ItemKey,
    /// The agent that asks, then those above it.
    agents: Vec<ItemKey>,
    /// The credentials it was issued with.
    via: Vec<ItemKey>,
}

impl Names {
    fn of(claims: &Claims) -> Self {
        let chain = claims.act.as_ref().map(|act| act.chain()).unwrap_or_default();
        Self {
            credential: repository::credential_item(&claims.jti),
            human: repository::human_item(&claims.sub),
            deployment: repository::deployment_item(),
            agents: chain.iter().map(repository::agent_item).collect(),
            via: claims.via.iter().map(repository::credential_item).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &ItemKey> {
        [&self.credential, &self.human, &self.deployment].into_iter().chain(&self.agents).chain(&self.via)
    }
}

fn found(target: &Target, stored: Option<&Arc<Stored>>, formers: Vec<KeyId>) -> Result<Found, Error> {
    Ok(match target {
        Target::Agent(id) => Found::Agent { id: id.clone(), agent: loaded(stored)? },
        Target::Approval(id) => Found::Approval { id: id.clone(), approval: loaded(stored)? },
        Target::Credential(id) => Found::Credential { id: id.clone(), credential: loaded(stored)? },
        Target::Deployment => Found::Deployment,
        Target::Human(id) => Found::Human { id: id.clone(), human: loaded(stored)? },
        Target::Key(requested) => Found::Key { requested: requested.clone(), record: loaded(stored)?, formers },
        Target::Own => Found::Own,
        Target::Record(id) => Found::Record(id.clone()),
        Target::Unreadable { field, why } => Found::Unreadable { field, why: why.clone() },
    })
}

fn loaded<D: DeserializeOwned + Send + Sync + 'static>(
    stored: Option<&Arc<Stored>>,
) -> Result<Option<Loaded<Arc<D>>>, Error> {
    stored.map(|stored| share(stored)).transpose()
}

fn value<D: DeserializeOwned + Send + Sync + 'static>(read: &Items, key: &ItemKey) -> Result<Option<Arc<D>>, Error> {
    read.find(key).map(|stored| Ok(share(stored)?.value)).transpose()
}
