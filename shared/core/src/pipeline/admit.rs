//! Identify, authorize, score, decide: from a presented token to a permit, or to a refusal that is on record.

use super::facts::{FRESH_LOGIN, Facts, Found, Target, agent_facts, approval_facts};
use super::permit::{LIFETIME, Obligation, Permit};
use super::refuse::{self, Refused};
use super::{App, Request};
use crate::agent::HoldKind;
use crate::ambient::{Timestamp, after_seconds};
use crate::behaviour::{Asked, LEARNING, Names};
use crate::error::{Chain, Error, Failed};
use crate::id::RecordId;
use crate::key::KeyRecord;
use crate::keystore::Calls;
use crate::operation::Operation;
use crate::policy::Resource;
use crate::reason::Reason;
use crate::record::Decision;
use crate::repository::{self, Loaded};
use crate::risk::{self, Live, Observation, OfKey, Risk, Sighting};
use crate::store::ItemKey;
use crate::token::{Act, Claims, SessionScope};
use std::net::IpAddr;

/// Decides on a request. A refusal of a verified principal is recorded, and answered inline where a rule says so, before
/// this returns; of an unverified one it is not: the host counts those.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Denied`], [`Error::NotFound`] for those who may see all names,
/// [`Error::FreshLoginNeeded`], [`Error::LimitReached`], [`Error::Unavailable`].
pub async fn admit(app: &App, request: &Request<'_>) -> Result<Permit, Failed> {
    let now = app.clock.now();
    let claims = app.tokens.verify_presented(&request.token, now);
    let claims = claims.map_err(|reason| Error::Unauthenticated { reason })?;
    if let Err(spent) = app.throttle.count(&claims, now) {
        let (reason, retry_after) = (Reason::RateLimited, Some(spent.retry_after));
        return Err(Error::LimitReached { reason, retry_after }.into());
    }
    let names = request.operation.is_sighted().then(|| names_of(&claims));
    let counting = async {
        match &names {
            Some(names) => app.live.count(names, now).await.map(Some),
            None => Ok(None),
        }
    };
    // Only what is done with a key is held against what is usual.
    let whose = matches!(request.target, Target::Key(_)).then(|| names_of(&claims));
    // Side by side: neither waits for the other.
    let gathering = app.gather(claims, &request.target, whose, now);
    let (gathered, live) = futures_util::future::join(gathering, counting).await;
    let ((facts, found), live) = (gathered?, live?);
    let id = RecordId::new(now, &app.entropy);
    let facts = match facts {
        Ok(facts) => facts,
        Err((reason, claims)) => {
            app.throttle.is_dead(&claims, now);
            if let Some(names) = &names
                && let Err(error) = app.live.take_back(names, now).await
            {
                tracing::warn!(error = %Chain(&error), "a request of a credential that holds no more counts for its human");
            }
            let refused = Refused { id: &id, request, claims: &claims, found: &found, risk: None, policy_version: 0 };
            return Err(refuse::unidentified(app, refused, reason).await?);
        }
    };
    let sight = Sight { operation: request.operation, source: request.source, user_agent: request.user_agent };
    let sighting = sight.sighting(&facts, &found, now);
    let risk = score(&facts, &found, sighting.as_ref(), now, live);
    let refused = Refused {
        id: &id,
        request,
        claims: &facts.claims,
        found: &found,
        risk: Some(&risk),
        policy_version: facts.policies.version,
    };
    barred(app, refused, &facts, now).await?;
    let by_agent = !facts.chain.is_empty();
    let stepped_up = weighed(app, refused, &facts, &risk, sighting.as_ref(), now).await?;
    let obligation = (stepped_up && by_agent).then_some(Obligation::StepUp);
    // What waits for a human is no use yet: it counts once it is made.
    if obligation.is_none()
        && request.operation.is_counted()
        && let Err(spent) = app.count_use(&facts.chain, now).await?
    {
        return Err(refuse::failed(app, refused, spent).await?);
    }
    let expires_at = after_seconds(now, LIFETIME);
    Ok(Permit {
        id,
        operation: request.operation,
        facts,
        found,
        risk,
        obligation,
        expires_at,
        crossed: false,
        calls: Calls::default(),
    })
}

/// Refuses what policy does not permit whoever asks.
pub(super) async fn barred(app: &App, refused: Refused<'_>, facts: &Facts, now: Timestamp) -> Result<(), Failed> {
    let (request, found) = (refused.request, refused.found);
    if request.plane.is_for_agents() && facts.chain.is_empty() {
        return Err(refuse::failed(app, refused, Error::Denied { reason: Reason::AgentCredentialRequired }).await?);
    }
    // Before all else that could refuse it: whoever touches a canary is stopped, whatever it was allowed.
    if touches_canary(facts, found, request.operation) {
        return Err(refuse::denied(app, refused, facts, Reason::CanaryKey).await?);
    }
    if let Some(why) = request.idempotency_key.as_ref().and_then(|key| key.as_ref().err()) {
        let error = Error::invalid("Idempotency-Key", *why);
        return Err(refuse::failed(app, refused, error).await?);
    }
    if let Err(verdict) = authorize(facts, found, request.operation, now) {
        return Err(match verdict {
            Verdict::Denied(reason) => {
                let reason = led_astray(app, facts, found, request.operation, reason).await?;
                refuse::denied(app, refused, facts, reason).await?
            }
            Verdict::Failed(error) => refuse::failed(app, refused, error).await?,
        });
    }
    if !fits_login(facts.claims.scope, request.operation) {
        return Err(refuse::failed(app, refused, Error::Denied { reason: Reason::ApprovalLogin }).await?);
    }
    Ok(())
}

/// The reason of a denial, where the agent's scope names the key by a label that its name led to before: it was led out of it as
/// one is whose scope names that key itself ([`Facts::excuse`]). Looked up only where somebody is about to be stopped.
async fn led_astray(
    app: &App,
    facts: &Facts,
    found: &Found,
    operation: Operation,
    reason: Reason,
) -> Result<Reason, Error> {
    let Found::Key { formers, .. } = found else { return Ok(reason) };
    if formers.is_empty() || !matches!(reason, Reason::ScopeViolation | Reason::ScopeProbe) {
        return Ok(reason);
    }
    let items: Vec<ItemKey> = formers.iter().map(repository::key_item).collect();
    for stored in app.store.batch_get(&items).await?.0 {
        let former: Loaded<KeyRecord> = repository::decode(&stored)?;
        if facts.excuse(operation, Some(&former.value), &[]).is_some() {
            return Ok(Reason::StaleName);
        }
    }
    Ok(reason)
}

/// Refuses what is too risky, and says whether a human has to approve the rest first. Of a human herself a fresh login is
/// asked instead.
pub(super) async fn weighed(
    app: &App,
    refused: Refused<'_>,
    facts: &Facts,
    risk: &Risk,
    sighting: Option<&Sighting>,
    now: Timestamp,
) -> Result<bool, Failed> {
    let operation = refused.request.operation;
    let decision = weigh(facts, refused.found, operation, risk, sighting, now);
    let (stepped_up, by_agent) = (decision == Decision::StepUp, !facts.chain.is_empty());
    let needs_fresh = operation.needs_fresh_login() || stepped_up;
    // Whom its risk stops is told what it is made of.
    let of_risk = |failed| Failed { risk: Some(Box::new(risk.clone())), ..failed };
    if needs_fresh && !by_agent && !facts.has_fresh_login(now) {
        let failed = refuse::failed(app, refused, Error::FreshLoginNeeded { max_age: FRESH_LOGIN }).await?;
        return Err(if stepped_up { of_risk(failed) } else { failed });
    }
    if decision == Decision::Deny {
        if facts.held(now) == Some(HoldKind::Deny) {
            return Err(refuse::failed(app, refused, Error::Denied { reason: Reason::Held }).await?);
        }
        let failed = refuse::failed(app, refused, Error::Denied { reason: Reason::RiskTooHigh }).await?;
        return Err(of_risk(failed));
    }
    Ok(stepped_up)
}

/// What the risk score and the holds on the agent lead to. Only what policy permits is weighed. A human who reads, revokes or
/// freezes is not: she must be able to see and stop what happens, least of all then to be kept from it.
pub(super) fn weigh(
    facts: &Facts,
    found: &Found,
    operation: Operation,
    risk: &Risk,
    sighting: Option<&Sighting>,
    now: Timestamp,
) -> Decision {
    let tier = match found {
        Found::Key { record: Some(record), .. } => Some(record.value.key.tier),
        _ => None,
    };
    let by_risk = match operation.is_weighed() {
        true => facts.rules.thresholds.decide(risk.score, tier, operation.is_destructive()),
        false => Decision::Allow,
    };
    let unseen = is_unseen(facts, sighting, operation, now);
    match (facts.held(now), by_risk) {
        (Some(HoldKind::Deny), _) | (_, Decision::Deny) => Decision::Deny,
        (Some(HoldKind::StepUp), _) if operation.is_weighed() => Decision::StepUp,
        (_, Decision::Allow) if unseen => Decision::StepUp,
        (_, by_risk) => by_risk,
    }
}

/// Whether nobody would notice what the request begins: detection lies too far behind, and it cannot be taken back or was
/// never seen of whoever asks.
fn is_unseen(facts: &Facts, sighting: Option<&Sighting>, operation: Operation, now: Timestamp) -> bool {
    let Some((_, known)) = &facts.known else { return false };
    // Whether she changed that key before nobody keeps.
    let of_others = !operation.is_of_own_keys(!facts.chain.is_empty());
    let begins = sighting.is_some_and(|sighting| of_others || known.is_first_use(sighting));
    let begins = begins || operation.is_destructive();
    operation.is_weighed() && begins && known.detection_lag(now).is_some()
}

/// A session that is kept somewhere answers no approval: whoever could read it could approve what its own agent asks. The
/// login that answers is good for nothing else.
fn fits_login(scope: Option<SessionScope>, operation: Operation) -> bool {
    match scope {
        None => !operation.answers_an_approval(),
        Some(SessionScope::Approve) => operation.serves_approving(),
    }
}

/// What of a request is held against what is usual.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub operation: Operation,
    pub source: IpAddr,
    pub user_agent: Option<&'a str>,
}

impl Sight<'_> {
    /// The request as behaviour, if it says something of it.
    pub(super) fn sighting(&self, facts: &Facts, found: &Found, now: Timestamp) -> Option<Sighting> {
        if !self.operation.is_sighted() {
            return None;
        }
        let key = match found {
            _ if !self.operation.is_of_own_keys(!facts.chain.is_empty()) => None,
            Found::Key { record: Some(record), .. } => Some(record.value.key.id.to_string()),
            Found::Key { requested, .. } => Some(requested.to_string()),
            _ => None,
        };
        let Sight { operation, source, user_agent } = *self;
        Some(Asked { at: now.as_millisecond(), operation, key: key.as_deref(), source, user_agent }.sighting())
    }
}

pub(super) fn names_of(claims: &Claims) -> Names {
    Names::of(&claims.sub, &claims.act.as_ref().map(Act::chain).unwrap_or_default(), claims.purpose)
}

/// The risk of a request: what is known of it without a history, and how unusual it is for whoever asks. `live` says how
/// often she, and all her agents together, ask now; of what is not counted there is none.
pub(super) fn score(
    facts: &Facts,
    found: &Found,
    sighting: Option<&Sighting>,
    now: Timestamp,
    live: Option<[Live; 2]>,
) -> Risk {
    let key = match found {
        Found::Key { record: Some(record), .. } => Some(&record.value.key),
        _ => None,
    };
    let meant = facts.chain.iter().filter_map(|agent| agent.value.grant.environment);
    let mut observation = Observation {
        scope_breadth: facts.claims.authorization_details.as_ref().map(|scope| scope.breadth()),
        credential_issued_at: Timestamp::from_second(facts.claims.iat).unwrap_or(now),
        // Of whichever is furthest from the key's: what an agent is not for, none below it is for.
        environment: key.and_then(|key| meant.max_by_key(|meant| meant.apart(key.environment))),
        key: key.map(|key| OfKey { environment: key.environment, tier: key.tier, shared: key.is_shared() }),
        now,
        detection_lag: facts.known.as_ref().and_then(|(_, known)| known.detection_lag(now)),
        behaviour: None,
    };
    let (Some((names, known)), Some(sighting)) = (&facts.known, sighting) else {
        return risk::score(&observation);
    };
    let [live, fleet] = live.unwrap_or_default();
    if now < after_seconds(facts.deployment.created_at, LEARNING) {
        return risk::score(&observation);
    }
    observation.behaviour = Some(known.behaviour(names, sighting, live, fleet));
    risk::score(&observation)
}

pub(super) enum Verdict {
    /// The principal may not; told as a denial whether or not the thing exists.
    Denied(Reason),
    /// The principal may, and it cannot be done.
    Failed(Error),
}

pub(super) fn authorize(facts: &Facts, found: &Found, operation: Operation, now: Timestamp) -> Result<(), Verdict> {
    let decide = |resource: Resource<'_>| facts.decide(operation, &resource, now).map_err(Verdict::Denied);
    // Only who may see all names of a kind is told that one is missing; to others it looks forbidden.
    let missing = |list: Operation, kind| match facts.decide(list, &Resource::Deployment, now) {
        Ok(()) => Verdict::Failed(Error::NotFound { kind }),
        Err(_) => Verdict::Denied(Reason::Policy),
    };
    let own = || match facts.chain.first() {
        Some(agent) => decide(Resource::Agent(agent_facts(&agent.value))),
        None => decide(Resource::Human(&facts.human.id)),
    };
    match found {
        // Who asks about a key asks about her own rights: what they are, the answer tells.
        Found::Key { .. } if operation == Operation::AccessCheck => own(),
        Found::Key { record: Some(record), formers, .. } => {
            facts.decide(operation, &Resource::Key(&record.value.key), now).map_err(|reason| match reason {
                Reason::ScopeViolation => {
                    Verdict::Denied(facts.excuse(operation, Some(&record.value), formers).unwrap_or(reason))
                }
                other => Verdict::Denied(other),
            })
        }
        Found::Key { record: None, .. } if facts.chain.is_empty() => Err(missing(Operation::KeyList, "key")),
        Found::Key { record: None, formers, .. } => {
            let excuse = facts.excuse(operation, None, formers);
            Err(Verdict::Denied(excuse.unwrap_or(Reason::ScopeProbe)))
        }
        Found::Agent { agent: Some(agent), .. } => decide(Resource::Agent(agent_facts(&agent.value))),
        Found::Agent { agent: None, .. } => Err(missing(Operation::AgentList, "agent")),
        Found::Approval { approval: Some(approval), .. } => {
            decide(Resource::Approval(approval_facts(&approval.value.approval)))
        }
        Found::Approval { approval: None, .. } => Err(missing(Operation::ApprovalList, "approval")),
        Found::Credential { id, credential: Some(credential) } => {
            let (human, agent) = (&credential.value.human, credential.value.agent.as_ref());
            decide(Resource::Credential { id, human, agent })
        }
        Found::Credential { credential: None, .. } => Err(missing(Operation::AgentList, "credential")),
        Found::Human { human: Some(human), .. } => decide(Resource::Human(&human.value.id)),
        Found::Human { id, human: None } => {
            decide(Resource::Human(id))?;
            Err(Verdict::Failed(Error::NotFound { kind: "human" }))
        }
        Found::Own => own(),
        Found::Deployment | Found::Record(_) => decide(Resource::Deployment),
        Found::Unreadable { field, why } => Err(Verdict::Failed(Error::invalid(field, why.clone()))),
    }
}

/// Humans may: she who laid it out must be able to look after it. To ask what would be decided is no touch: that tells of a
/// canary what it tells of any key.
fn touches_canary(facts: &Facts, found: &Found, operation: Operation) -> bool {
    let by_agent = !facts.chain.is_empty();
    by_agent
        && operation != Operation::AccessCheck
        && matches!(found, Found::Key { record: Some(record), .. } if record.value.key.canary)
}
