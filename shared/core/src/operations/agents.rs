//! Issuing agents, changing what they were granted, stopping them.

use super::access_requests::followed;
use super::aliases::resolve;
use super::listing::{PageOf, PageQuery, cursor_at};
use crate::agent::{Agent, AgentState, Grant, Limits, MAX_CHILDREN, MAX_DEPTH, MAX_WINDOW, Purpose, Stopped};
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::encoding::{given, object, optional_object};
use crate::error::Error;
use crate::id::{AccessRequestId, AgentId, KeyId};
use crate::key::{Environment, Key, KeyRecord};
use crate::name::{AgentLabel, KeyRef};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, ALL_AGENTS, Children, Document, Loaded};
use crate::scope::{Scope, ScopeText};
use crate::store::{Expect, Index, Order, Put};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Most bytes of a scope, as it is kept: more than a token holds.
const MAX_SCOPE: usize = 16 * 1024;
/// How long a grant lasts where nothing is asked for, in seconds: 30 days.
const DEFAULT_WINDOW: i64 = 30 * 86_400;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssueAgent {
    pub label: AgentLabel,
    #[serde(default)]
    pub purpose: Purpose,
    /// In the scope grammar: `key:invoice-2026:sign,verify`, several parted by spaces.
    #[schemars(with = "ScopeText")]
    pub scope: String,
    /// Now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_before: Option<Timestamp>,
    /// 30 days after `not_before` if absent; at most 400 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_after: Option<Timestamp>,
    #[serde(default, deserialize_with = "object")]
    pub limits: Limits,
    /// Whether the agent may create sub-agents.
    #[serde(default)]
    pub delegate: bool,
    /// Whether the agent may make keys. Only of a human who may.
    #[serde(default)]
    pub create_keys: bool,
    /// Whether the agent may read records, recommendations and baselines that its human may read.
    #[serde(default)]
    pub audit: bool,
    /// Which environment the agent is for: that it uses keys of another one counts as risk, and is not refused for that alone. For any if
    /// absent; below an agent, for its parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

/// Issues an agent: of the human who asks, or below the agent who asks. A sub-agent gets the window and the limits that
/// both its parent has and it asked for; a scope wider than its parent's is refused.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Denied`] for a scope beyond the parent's, or of keys the human may not use;
/// [`Error::State`] for too deep or too many sub-agents.
pub async fn issue_agent(
    app: &App,
    permit: &Permit,
    input: &IssueAgent,
    earlier: Option<String>,
) -> Result<Done<Agent>, Error> {
    if let Some(id) = earlier {
        let id = AgentId::try_from(id);
        let id = id.map_err(|error| Error::Damaged { what: "idempotency record", source: error.into() })?;
        return Ok(Done::read(load_agent(app, &id).await?.value));
    }
    let now = app.clock.now();
    let not_before = input.not_before.unwrap_or(now);
    let not_after = input.not_after.unwrap_or_else(|| after_seconds(not_before, DEFAULT_WINDOW));
    let asked = Grant {
        version: 1,
        scope: resolve_scope(app, permit, &input.scope).await?,
        not_before,
        not_after,
        limits: check_limits(input.limits)?,
        delegate: input.delegate,
        create_keys: input.create_keys,
        audit: input.audit,
        environment: input.environment,
    };
    may_grant(app, permit, &asked)?;
    let facts = permit.facts();
    let ancestors: Vec<AgentId> = facts.chain.iter().map(|agent| agent.value.id.clone()).collect();
    let id = AgentId::new(now, &app.entropy);
    let (grant, purpose, place) = match facts.chain.first() {
        None => (asked, input.purpose, None),
        Some(parent) => {
            let grant = parent.value.grant.narrowed(asked);
            let place = take_place(app, &parent.value, (id.clone(), grant.not_after), now).await?;
            // Its parent's: an agent may not choose how softly its sub-agents are stopped.
            (grant, parent.value.purpose, Some(place))
        }
    };
    check_grant(&grant, now)?;
    let agent = Agent {
        id,
        label: input.label.clone(),
        purpose,
        sponsor: facts.human.id.clone(),
        ancestors,
        state: AgentState::Active,
        epoch: 0,
        grant,
        created_at: now,
        stopped: None,
        stopped_also: Vec::new(),
        holds: Vec::new(),
    };
    let puts = [agent.put(Expect::Absent)?].into_iter().chain(place).collect();
    let note = Note { object: Some(agent.id.to_string()), ..Note::default() };
    Ok(Done { value: agent, puts, note })
}

/// What to change of an agent. Absent fields stay; the grant's version grows.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AmendAgent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<AgentLabel>,
    /// The whole scope from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ScopeText>")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_after: Option<Timestamp>,
    /// All limits from now on.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_object")]
    pub limits: Option<Limits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_keys: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<bool>,
    /// Which environment the agent is for from now on; `null`: for any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<Environment>")]
    pub environment: Option<Option<Environment>>,
    /// The agent's request that this follows. What is not said here is as it asks: its scope is added to the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_request: Option<AccessRequestId>,
}

/// Replaces an agent's grant. Credentials issued before keep what both they and the new grant hold.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::State`] for a revoked agent, and for a request that is over.
pub async fn amend_agent(app: &App, permit: &Permit, input: &AmendAgent) -> Result<Done<Agent>, Error> {
    let mut loaded = load_agent(app, &permit.agent()?.id).await?;
    let agent = &mut loaded.value;
    if agent.state == AgentState::Revoked {
        return Err(Error::State { kind: "agent", state: "revoked" });
    }
    let followed = match &input.access_request {
        Some(id) => Some(followed(app, permit, &agent.id, id).await?),
        None => None,
    };
    let asked = followed.as_ref().map(|found| &found.value.asked);
    if let Some(scope) = &input.scope {
        agent.grant.scope = resolve_scope(app, permit, scope).await?;
    } else if let Some(scope) = asked.and_then(|asked| asked.scope.as_ref()) {
        let more = resolve_scope(app, permit, scope).await?;
        agent.grant.scope = agent.grant.scope.clone().with(more);
        agent.grant.scope.check().map_err(|error| Error::invalid("scope", error))?;
    }
    let asked_limits = || Some(agent.grant.limits.with(asked?.limits?));
    if let Some(limits) = input.limits.or_else(asked_limits) {
        agent.grant.limits = check_limits(limits)?;
    }
    agent.label = input.label.clone().unwrap_or_else(|| agent.label.clone());
    let not_after = input.not_after.or(asked.and_then(|asked| asked.not_after));
    agent.grant.not_after = not_after.unwrap_or(agent.grant.not_after);
    agent.grant.delegate = input.delegate.unwrap_or(agent.grant.delegate);
    agent.grant.create_keys = input.create_keys.unwrap_or(agent.grant.create_keys);
    agent.grant.audit = input.audit.unwrap_or(agent.grant.audit);
    agent.grant.environment = input.environment.unwrap_or(agent.grant.environment);
    if input.create_keys == Some(true) {
        may_grant(app, permit, &agent.grant)?;
    }
    agent.grant.version = agent.grant.version.saturating_add(1);
    check_grant(&agent.grant, app.clock.now())?;
    let mut puts = vec![loaded.replace()?];
    puts.extend(followed.map(|found| found.replace()).transpose()?);
    Ok(Done { value: loaded.value, puts, note: Note::default() })
}

/// Refuses the agent, and all below it, from the next request on, for ever. Repeating it changes nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke_agent(app: &App, permit: &Permit) -> Result<Done<Agent>, Error> {
    let mut loaded = load_agent(app, &permit.agent()?.id).await?;
    if loaded.value.state == AgentState::Revoked {
        return Ok(Done::read(loaded.value));
    }
    loaded.value.revoke(stopped_by(app, permit));
    let puts = vec![loaded.replace()?];
    Ok(Done { value: loaded.value, puts, note: Note::default() })
}

/// Refuses the agent, and all below it, until it is unfrozen.
///
/// # Errors
/// [`Error::State`] for a revoked agent.
pub async fn freeze_agent(app: &App, permit: &Permit) -> Result<Done<Agent>, Error> {
    move_agent(app, permit, AgentState::Frozen).await
}

/// Lets a frozen agent go on.
///
/// # Errors
/// [`Error::State`] for a revoked agent.
pub async fn unfreeze_agent(app: &App, permit: &Permit) -> Result<Done<Agent>, Error> {
    move_agent(app, permit, AgentState::Active).await
}

pub async fn get_agent(permit: &Permit) -> Result<Done<Agent>, Error> {
    Ok(Done::read(permit.agent()?.clone()))
}

/// Lists agents in the order they were issued: all, for those who may see all; else the human's own.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor.
pub async fn list_agents(app: &App, permit: &Permit, query: &PageQuery) -> Result<Done<PageOf<Agent>>, Error> {
    let (limit, after) = (query.limit()?, query.position()?);
    let (index, partition) = listed(app, permit);
    let page = repository::list::<Agent>(app.store.as_ref(), index, partition, Order::Ascending, limit, after).await?;
    Ok(Done::read(PageOf { items: page.items, next_cursor: page.next.as_ref().map(cursor_at) }))
}

/// Where the agents lie that the caller may list.
pub(super) fn listed(app: &App, permit: &Permit) -> (Index, String) {
    let facts = permit.facts();
    match facts.decide(Operation::AgentList, &Resource::Deployment, app.clock.now()) {
        Ok(()) => (Index::First, ALL_AGENTS.to_string()),
        Err(_) => (Index::Second, repository::agents_of(&facts.human.id)),
    }
}

/// What an agent may do now, and how much of it is left.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AgentScope {
    pub agent: AgentId,
    pub state: AgentState,
    pub scope: Scope<KeyId>,
    /// The same in the scope grammar.
    pub scope_text: String,
    #[schemars(with = "DateTime")]
    pub not_before: Timestamp,
    #[schemars(with = "DateTime")]
    pub not_after: Timestamp,
    pub limits: Limits,
    /// Uses counted so far: in the agent's life, in this minute, in this day; only where there is a limit.
    pub used: Limits,
    pub delegate: bool,
    pub create_keys: bool,
    pub audit: bool,
    /// Which environment it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

/// Shows what an agent may do. An agent may ask this of itself.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Unavailable`].
pub async fn agent_scope(app: &App, permit: &Permit) -> Result<Done<AgentScope>, Error> {
    let agent = permit.agent()?;
    let now = app.clock.now();
    let counts = app.uses(agent, now).await?;
    Ok(Done::read(AgentScope {
        agent: agent.id.clone(),
        state: agent.state,
        scope: agent.grant.scope.clone(),
        scope_text: agent.grant.scope.to_string(),
        not_before: agent.grant.not_before,
        not_after: agent.grant.not_after,
        limits: agent.grant.limits,
        used: counts,
        delegate: agent.grant.delegate,
        create_keys: agent.grant.create_keys,
        audit: agent.grant.audit,
        environment: agent.grant.environment,
    }))
}

pub(crate) async fn load_agent(app: &App, id: &AgentId) -> Result<Loaded<Agent>, Error> {
    let found = repository::load(app.store.as_ref(), &repository::agent_item(id)).await?;
    found.ok_or(Error::NotFound { kind: "agent" })
}

async fn move_agent(app: &App, permit: &Permit, state: AgentState) -> Result<Done<Agent>, Error> {
    let mut loaded = load_agent(app, &permit.agent()?.id).await?;
    match loaded.value.state {
        AgentState::Revoked => Err(Error::State { kind: "agent", state: "revoked" }),
        now => {
            let changed = match state {
                AgentState::Frozen => loaded.value.freeze(stopped_by(app, permit)),
                _ => now != state,
            };
            if !changed {
                return Ok(Done::read(loaded.value));
            }
            if state == AgentState::Active {
                loaded.value.unfreeze();
            }
            let puts = vec![loaded.replace()?];
            Ok(Done { value: loaded.value, puts, note: Note::default() })
        }
    }
}

fn stopped_by(app: &App, permit: &Permit) -> Stopped {
    Stopped { at: app.clock.now(), by: permit.facts().actor(), record: permit.id().clone() }
}

/// What the human may not do herself she cannot grant. A sub-agent's grant is cut to its parent's instead.
fn may_grant(app: &App, permit: &Permit, grant: &Grant) -> Result<(), Error> {
    let facts = permit.facts();
    if !grant.create_keys || !facts.chain.is_empty() {
        return Ok(());
    }
    let may = facts.decide(Operation::KeyCreate, &Resource::Deployment, app.clock.now());
    may.map_err(|reason| Error::Denied { reason })
}

/// Reads a scope, turns names into ids, and refuses what the one who grants may not do.
///
/// To an agent a key that is not there looks like one beyond its grant: every name is read in the same way, each once,
/// before anything is decided.
async fn resolve_scope(app: &App, permit: &Permit, text: &str) -> Result<Scope<KeyId>, Error> {
    let asked: Scope<KeyRef> = text.parse().map_err(|error| Error::invalid("scope", error))?;
    let facts = permit.facts();
    let mut keys: BTreeMap<KeyRef, Option<Key>> = BTreeMap::new();
    for reference in asked.keys() {
        if !keys.contains_key(reference) {
            keys.insert(reference.clone(), find_key(app, reference).await?);
        }
    }
    let beyond = |reason| Error::Denied { reason };
    let missing = keys.iter().find(|(_, key)| key.is_none()).map(|(reference, _)| reference);
    match (missing, facts.chain.is_empty()) {
        (Some(reference), true) => return Err(Error::invalid("scope", format!("no such key: {reference}"))),
        (Some(_), false) => return Err(beyond(Reason::GrantWidening)),
        (None, _) => {}
    }
    let scope = asked.resolved(|reference| keys.get(reference)?.as_ref().map(|key| key.id.clone()));
    let scope = scope.ok_or_else(|| beyond(Reason::GrantWidening))?;
    let by_id: BTreeMap<&KeyId, &Key> = keys.values().flatten().map(|key| (&key.id, key)).collect();
    let within = |own: &Scope<KeyId>| own.covers(&scope, |id| by_id.get(id).copied());
    let granted = facts.chain.iter().map(|agent| &agent.value.grant.scope);
    if !granted.chain(facts.claims.authorization_details.as_ref()).all(within) {
        return Err(beyond(Reason::GrantWidening));
    }
    // What the human may not do herself she cannot grant.
    let now = app.clock.now();
    for (id, key) in by_id.iter().filter(|_| facts.chain.is_empty()) {
        for operation in Operation::ALL.iter().filter(|op| op.granted_as().is_some_and(|a| scope.names(id, Some(a)))) {
            facts.decide(*operation, &Resource::Key(key), now).map_err(beyond)?;
        }
    }
    Ok(scope)
}

/// The key a reference leads to. One that leads nowhere costs as many reads as one that leads somewhere.
async fn find_key(app: &App, reference: &KeyRef) -> Result<Option<Key>, Error> {
    let id = resolve(app, reference).await?;
    let item = match &id {
        Some(id) => repository::key_item(id),
        None => repository::nothing_item(),
    };
    let found: Option<Loaded<KeyRecord>> = repository::load(app.store.as_ref(), &item).await?;
    Ok(found.map(|found| found.value.key))
}

/// Takes one of the 64 places below an agent, if it may have sub-agents there. Places of those that ended are free again.
async fn take_place(app: &App, parent: &Agent, child: (AgentId, Timestamp), now: Timestamp) -> Result<Put, Error> {
    if parent.ancestors.len().saturating_add(1) >= MAX_DEPTH {
        return Err(Error::State { kind: "agent", state: "at the greatest depth" });
    }
    let store = app.store.as_ref();
    let found: Option<Loaded<Children>> = repository::load(store, &repository::children_item(&parent.id)).await?;
    let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Current(found.revision));
    let mut live = found.map(|found| found.value.live).unwrap_or_default();
    live.retain(|(_, until)| now < *until);
    if live.len() >= MAX_CHILDREN {
        let items: Vec<_> = live.iter().map(|(id, _)| repository::agent_item(id)).collect();
        let read = store.batch_get(&items).await?;
        let mut revoked = HashSet::new();
        for stored in &read.0 {
            let agent: Agent = repository::decode(stored)?.value;
            if agent.state == AgentState::Revoked {
                revoked.insert(agent.id);
            }
        }
        live.retain(|(id, _)| !revoked.contains(id));
    }
    if live.len() >= MAX_CHILDREN {
        return Err(Error::State { kind: "agent", state: "at its 64 live sub-agents" });
    }
    live.push(child);
    Children { parent: parent.id.clone(), live }.put(expect)
}

fn check_grant(grant: &Grant, now: Timestamp) -> Result<(), Error> {
    // What is kept of an agent has room for whatever stops it.
    let length = serde_json::to_vec(&grant.scope).map_or(usize::MAX, |scope| scope.len());
    if length > MAX_SCOPE {
        return Err(Error::invalid(
            "scope",
            format!("as JSON it has {length} bytes, and at most {MAX_SCOPE}: no token could carry it"),
        ));
    }
    let length = grant.not_after.as_second().saturating_sub(grant.not_before.as_second());
    match () {
        () if grant.not_after <= grant.not_before => {
            Err(Error::invalid("not_after", "the window ends before it begins"))
        }
        () if grant.not_after <= now => Err(Error::invalid("not_after", "the window is over")),
        () if length > MAX_WINDOW => Err(Error::invalid("not_after", "a window is at most 400 days long")),
        () => Ok(()),
    }
}

fn check_limits(limits: Limits) -> Result<Limits, Error> {
    match limits.are_positive() {
        true => Ok(limits),
        false => Err(Error::invalid("limits", "a limit is at least 1")),
    }
}
