//! Issuing agents, changing what they were granted, stopping them.

use super::aliases::resolve;
use super::listing::{PageOf, PageQuery, cursor_at};
use crate::agent::{Agent, AgentState, Grant, Limits, MAX_CHILDREN, MAX_DEPTH, MAX_WINDOW, Purpose, Stopped};
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, KeyId};
use crate::key::{Key, KeyRecord};
use crate::name::{AgentLabel, KeyRef};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, ALL_AGENTS, Document, Loaded};
use crate::scope::{Entry, Scope, Selector};
use crate::store::{Expect, Index};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How long a grant lasts where nothing is asked for, in seconds: 30 days.
const DEFAULT_WINDOW: i64 = 30 * 86_400;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssueAgent {
    pub label: AgentLabel,
    #[serde(default)]
    pub purpose: Purpose,
    /// In the scope grammar: `key:invoice-2026:sign,verify`, several parted by spaces.
    pub scope: String,
    /// Now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_before: Option<Timestamp>,
    /// 30 days after `not_before` if absent; at most 400 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_after: Option<Timestamp>,
    #[serde(default)]
    pub limits: Limits,
    /// Whether the agent may create sub-agents.
    #[serde(default)]
    pub delegate: bool,
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
    if let Some(id) = earlier.and_then(|id| AgentId::try_from(id).ok()) {
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
    };
    let facts = permit.facts();
    let ancestors: Vec<AgentId> = facts.chain.iter().map(|agent| agent.value.id.clone()).collect();
    let grant = match facts.chain.first() {
        None => asked,
        Some(parent) => {
            check_room_below(app, &parent.value.id, ancestors.len(), now).await?;
            parent.value.grant.narrowed(asked)
        }
    };
    check_window(&grant, now)?;
    let agent = Agent {
        id: AgentId::new(now, &app.entropy),
        label: input.label.clone(),
        purpose: input.purpose,
        sponsor: facts.human.id.clone(),
        ancestors,
        state: AgentState::Active,
        epoch: 0,
        grant,
        created_at: now,
        stopped: None,
    };
    let puts = vec![agent.put(Expect::Absent)?];
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
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_after: Option<Timestamp>,
    /// All limits from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<bool>,
}

/// Replaces an agent's grant. Credentials issued before keep what both they and the new grant hold.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::State`] for a revoked agent.
pub async fn amend_agent(app: &App, permit: &Permit, input: &AmendAgent) -> Result<Done<Agent>, Error> {
    let mut loaded = load_agent(app, &permit.agent()?.id).await?;
    let agent = &mut loaded.value;
    if agent.state == AgentState::Revoked {
        return Err(Error::State { kind: "agent", state: "revoked" });
    }
    if let Some(scope) = &input.scope {
        agent.grant.scope = resolve_scope(app, permit, scope).await?;
    }
    if let Some(limits) = input.limits {
        agent.grant.limits = check_limits(limits)?;
    }
    agent.label = input.label.clone().unwrap_or_else(|| agent.label.clone());
    agent.grant.not_after = input.not_after.unwrap_or(agent.grant.not_after);
    agent.grant.delegate = input.delegate.unwrap_or(agent.grant.delegate);
    agent.grant.version = agent.grant.version.saturating_add(1);
    check_window(&agent.grant, app.clock.now())?;
    let puts = vec![loaded.replace()?];
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
    let facts = permit.facts();
    let sees_all = facts.decide(Operation::AgentList, &Resource::Deployment, app.clock.now()).is_ok();
    let (index, partition) = match sees_all {
        true => (Index::First, ALL_AGENTS.to_string()),
        false => (Index::Second, repository::agents_of(&facts.human.id)),
    };
    let page = repository::list::<Agent>(app.store.as_ref(), index, partition, limit, after).await?;
    Ok(Done::read(PageOf { items: page.items, next_cursor: page.next.as_ref().map(cursor_at) }))
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
        now if now == state => Ok(Done::read(loaded.value)),
        _ => {
            loaded.value.state = state;
            loaded.value.stopped = (state != AgentState::Active).then(|| stopped_by(app, permit));
            let puts = vec![loaded.replace()?];
            Ok(Done { value: loaded.value, puts, note: Note::default() })
        }
    }
}

fn stopped_by(app: &App, permit: &Permit) -> Stopped {
    Stopped { at: app.clock.now(), by: permit.facts().actor(), record: permit.id().clone() }
}

/// Reads a scope, turns names into ids, and refuses what the one who grants may not do.
async fn resolve_scope(app: &App, permit: &Permit, text: &str) -> Result<Scope<KeyId>, Error> {
    let asked: Scope<KeyRef> = text.parse().map_err(|error| Error::invalid("scope", error))?;
    let facts = permit.facts();
    let now = app.clock.now();
    let beyond = |reason| Error::Denied { reason, record: permit.id().clone() };
    let mut keys: HashMap<KeyId, Key> = HashMap::new();
    let mut entries = Vec::new();
    for entry in asked.0 {
        let mut selectors = Vec::new();
        for selector in entry.keys {
            selectors.push(match selector {
                Selector::Label(label) => Selector::Label(label),
                Selector::Key(reference) => {
                    let found = find_key(app, &reference).await?;
                    // To an agent a key that is not there looks like one beyond its grant.
                    let found = found.ok_or_else(|| match facts.chain.is_empty() {
                        true => Error::invalid("scope", format!("no such key: {reference}")),
                        false => beyond(Reason::GrantWidening),
                    })?;
                    let id = found.id.clone();
                    keys.insert(id.clone(), found);
                    Selector::Key(id)
                }
            });
        }
        entries.push(Entry { r#type: entry.r#type, keys: selectors, actions: entry.actions });
    }
    let scope = Scope(entries);
    let within = |own: &Scope<KeyId>| own.covers(&scope, |id| keys.get(id));
    let parent_holds = facts.chain.iter().all(|agent| within(&agent.value.grant.scope))
        && facts.claims.authorization_details.as_ref().is_none_or(within);
    if !parent_holds {
        return Err(beyond(Reason::GrantWidening));
    }
    // What the human may not do herself she cannot grant.
    let actions = |id: &KeyId| {
        let named = scope.0.iter().filter(|entry| entry.keys.contains(&Selector::Key(id.clone())));
        named.flat_map(|entry| entry.actions.iter().copied()).collect::<Vec<_>>()
    };
    for (id, key) in keys.iter().filter(|_| facts.chain.is_empty()) {
        for operation in Operation::ALL.iter().filter(|op| op.action().is_some_and(|a| actions(id).contains(&a))) {
            facts.decide(*operation, &Resource::Key(key), now).map_err(beyond)?;
        }
    }
    Ok(scope)
}

async fn find_key(app: &App, reference: &KeyRef) -> Result<Option<Key>, Error> {
    let Some(id) = resolve(app, reference).await? else { return Ok(None) };
    let found: Option<Loaded<KeyRecord>> = repository::load(app.store.as_ref(), &repository::key_item(&id)).await?;
    Ok(found.map(|found| found.value.key))
}

/// Refuses a sub-agent below the third, or beside 64 that live.
async fn check_room_below(app: &App, parent: &AgentId, depth: usize, now: Timestamp) -> Result<(), Error> {
    if depth >= MAX_DEPTH {
        return Err(Error::State { kind: "agent", state: "at the greatest depth" });
    }
    let mut live: usize = 0;
    let mut after = None;
    loop {
        let partition = repository::agents_under(parent);
        let page = repository::list::<Agent>(app.store.as_ref(), Index::Third, partition, 200, after).await?;
        let counts = |agent: &&Agent| agent.state != AgentState::Revoked && now < agent.grant.not_after;
        live = live.saturating_add(page.items.iter().filter(counts).count());
        if live >= MAX_CHILDREN {
            return Err(Error::State { kind: "agent", state: "at its 64 live sub-agents" });
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn check_window(grant: &Grant, now: Timestamp) -> Result<(), Error> {
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
