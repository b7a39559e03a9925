//! Credentials: issued to agents, never wider than their grants, and revoked one by one.

use super::agents::load_agent;
use crate::agent::{Agent, AgentState, Credential, DEFAULT_TTL, Grant, MAX_TTL};
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, CredentialId, KeyId};
use crate::key::{Key, KeyRecord};
use crate::pipeline::{App, Done, FRESH_LOGIN, Note, Permit};
use crate::reason::Reason;
use crate::repository::{self, Document, Loaded};
use crate::scope::{Scope, Selector};
use crate::store::{Expect, ItemKey, MAX_BATCH};
use crate::token::{Act, Claims, Epochs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssueCredential {
    /// Seconds, 60 to 86400; 3600 if absent. Cut to the end of the grant. A human's login that is older than five minutes
    /// issues for 900 seconds at most, and what it issues ends with its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86400))]
    pub ttl: Option<u32>,
}

/// The longest life of a credential that an older login issues, in seconds.
const SHORT_TTL: u32 = 900;

/// A token, shown once. Its holder is whoever has it.
#[derive(JsonSchema, Serialize)]
pub struct IssuedCredential {
    pub id: CredentialId,
    pub agent: AgentId,
    /// An `at+jwt` (RFC 9068).
    pub token: String,
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for IssuedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedCredential").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Issues a token to an agent, with the scope its grant has now.
///
/// # Errors
/// [`Error::State`] for an agent that is not active, or whose window is over; [`Error::Invalid`]; [`Error::AlreadyDone`]
/// for a repeated request, since the token is not kept; [`Error::FreshLoginNeeded`] for a life of more than 15 minutes.
pub async fn issue_credential(
    app: &App,
    permit: &Permit,
    input: &IssueCredential,
    earlier: Option<String>,
) -> Result<Done<IssuedCredential>, Error> {
    if let Some(id) = earlier {
        return Err(Error::AlreadyDone { id });
    }
    let ttl = input.ttl.unwrap_or(DEFAULT_TTL);
    if !(60..=MAX_TTL).contains(&ttl) {
        return Err(Error::invalid("ttl", "it must lie between 60 and 86400"));
    }
    let now = app.clock.now();
    let facts = permit.facts();
    let older_login = facts.chain.is_empty() && !facts.has_fresh_login(now);
    if older_login && ttl > SHORT_TTL {
        return Err(Error::FreshLoginNeeded { max_age: FRESH_LOGIN });
    }
    let agent = load_agent(app, &permit.agent()?.id).await?.value;
    let mut chain = vec![agent.clone()];
    for ancestor in &agent.ancestors {
        chain.push(load_agent(app, ancestor).await?.value);
    }
    let (claims, credential) = claims_for(app, permit, &chain, ttl, older_login).await?;
    let token = app.tokens.sign(&claims).await?;
    let issued =
        IssuedCredential { id: credential.id.clone(), agent: agent.id, token, expires_at: credential.expires_at };
    let puts = vec![credential.put(Expect::Absent)?];
    let note = Note { object: Some(credential.id.to_string()), ..Note::default() };
    Ok(Done { value: issued, puts, note })
}

/// `chain` is the agent, then those above it.
async fn claims_for(
    app: &App,
    permit: &Permit,
    chain: &[Agent],
    ttl: u32,
    older_login: bool,
) -> Result<(Claims, Credential), Error> {
    let now = app.clock.now();
    let state_error = |state| Error::State { kind: "agent", state };
    let agent = chain.first().ok_or(Error::NotFound { kind: "agent" })?;
    if let Some(stopped) = chain.iter().find(|agent| agent.state != AgentState::Active) {
        return Err(state_error(stopped.state.as_str()));
    }
    let until = chain.iter().map(|agent| agent.grant.not_after).min().unwrap_or(now);
    let from = chain.iter().map(|agent| agent.grant.not_before).max().unwrap_or(now).max(now);
    // An agent passes on no more time than its own credential has, nor does an older login.
    let passes_on = older_login || !permit.facts().chain.is_empty();
    let own_end = Timestamp::from_second(permit.facts().claims.exp).ok().filter(|_| passes_on);
    let expires_at = after_seconds(now, i64::from(ttl)).min(until).min(own_end.unwrap_or(until));
    if expires_at <= from {
        return Err(state_error("outside its window"));
    }
    let id = CredentialId::new(now, &app.entropy);
    let ids: Vec<AgentId> = chain.iter().map(|agent| agent.id.clone()).collect();
    let facts = permit.facts();
    // Who issues with a credential may pass on what that credential holds, and no more.
    if let Some(own) = &facts.claims.authorization_details {
        let keys = keys_of(app, &agent.grant.scope).await?;
        if !own.covers(&agent.grant.scope, |id| keys.get(id)) {
            return Err(Error::Denied { reason: Reason::GrantWidening });
        }
    }
    let via = match passes_on {
        false => Vec::new(),
        true => [facts.claims.jti.clone()].into_iter().chain(facts.claims.via.iter().cloned()).collect(),
    };
    let by_agent = !facts.chain.is_empty();
    let holds =
        |right: fn(&Grant) -> bool, own: bool| chain.iter().all(|agent| right(&agent.grant)) && (own || !by_agent);
    let claims = Claims {
        iss: app.tokens.issuer().to_string(),
        sub: agent.sponsor.clone(),
        aud: app.tokens.audience().to_string(),
        client_id: "aegis".to_string(),
        iat: now.as_second(),
        nbf: from.as_second(),
        exp: expires_at.as_second(),
        jti: id.clone(),
        act: Act::of(&ids),
        purpose: Some(agent.purpose),
        authorization_details: Some(agent.grant.scope.clone()),
        create_keys: holds(|grant| grant.create_keys, facts.claims.create_keys),
        audit: holds(|grant| grant.audit, facts.claims.audit),
        auth_time: None,
        amr: Vec::new(),
        epoch: Epochs {
            deployment: facts.deployment.epoch,
            // As it was when the one who asks was checked: a revocation since then reaches this token, too.
            human: facts.human.epoch,
            agents: chain.iter().map(|agent| agent.epoch).collect(),
        },
        via,
        scope: None,
        cnf: None,
    };
    let credential = Credential {
        id,
        human: agent.sponsor.clone(),
        agent: Some(agent.id.clone()),
        issued_at: now,
        expires_at,
        revoked: false,
    };
    Ok((claims, credential))
}

/// The keys that a scope names by id.
async fn keys_of(app: &App, scope: &Scope<KeyId>) -> Result<HashMap<KeyId, Key>, Error> {
    let selectors = scope.0.iter().flat_map(|entry| &entry.keys);
    let ids: BTreeSet<&KeyId> = selectors
        .filter_map(|selector| match selector {
            Selector::Key(id) => Some(id),
            Selector::Label(_) => None,
        })
        .collect();
    let items: Vec<ItemKey> = ids.into_iter().map(repository::key_item).collect();
    let mut keys = HashMap::new();
    for items in items.chunks(MAX_BATCH) {
        for stored in &app.store.batch_get(items).await?.0 {
            let record: KeyRecord = repository::decode(stored)?.value;
            keys.insert(record.key.id.clone(), record.key);
        }
    }
    Ok(keys)
}

/// Refuses the credential from the next request on. Repeating it changes nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke_credential(app: &App, id: &CredentialId) -> Result<Done<Credential>, Error> {
    let found: Option<Loaded<Credential>> =
        repository::load(app.store.as_ref(), &repository::credential_item(id)).await?;
    let mut loaded = found.ok_or(Error::NotFound { kind: "credential" })?;
    if loaded.value.revoked {
        return Ok(Done::read(loaded.value));
    }
    loaded.value.revoked = true;
    let puts = vec![loaded.replace()?];
    Ok(Done { value: loaded.value, puts, note: Note::default() })
}
