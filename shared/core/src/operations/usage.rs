//! Showing how keys and agents are used.

use super::agents::listed;
use super::listing::{MAX_LIMIT, PageOf, PageQuery, cursor_at};
use crate::agent::{Agent, AgentState, Purpose};
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::feed::Place;
use crate::id::{AgentId, KeyId};
use crate::key::{Key, KeyRecord};
use crate::name::{AgentLabel, HumanId};
use crate::pipeline::{App, Done, Permit};
use crate::reason::Reason;
use crate::repository::{self, ALL_KEYS};
use crate::store::{Index, Order, Position};
use crate::usage::breadth::{Breadth, Keyring};
use crate::usage::{AgentUsage, KeyUsage, Uses, consumer, load_all, usage_item};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Most things one page looks at; a filter may leave it short.
const MAX_EXAMINED: usize = 1_000;

/// How one key is used.
#[derive(Debug, JsonSchema, Serialize)]
pub struct KeyUsageReply {
    pub key: KeyId,
    #[serde(flatten)]
    pub uses: Uses,
    /// Agents that used it on those 30 days; at most 256 are told apart.
    pub agents_30d: usize,
    /// Whether there were more.
    pub more_agents: bool,
    /// Up to when uses are counted: some seconds ago while the server works.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub counted_until: Option<Timestamp>,
}

/// Shows how a key is used.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn key_usage(app: &App, permit: &Permit) -> Result<Done<KeyUsageReply>, Error> {
    let key = &permit.key()?.key.id;
    let now = app.clock.now();
    let found = repository::load::<KeyUsage>(app.store.as_ref(), &usage_item(key.as_str())).await?;
    let usage = found.map_or_else(|| KeyUsage::new(key.clone()), |found| found.value);
    let (agents_30d, more_agents) = usage.agents(now);
    let (place, _) = Place::of(app.store.as_ref(), consumer::CONSUMER).await?;
    Ok(Done::read(KeyUsageReply {
        key: key.clone(),
        uses: usage.counts.shown(now),
        agents_30d,
        more_agents,
        counted_until: place.last.map(|last| last.at()),
    }))
}

/// Which keys to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyQuery {
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
    /// Only keys that nobody used for so many seconds, of those that are not destroyed; a key that was never used counts
    /// from when it was made. Pages may be short. Not for agents.
    pub unused_for: Option<u32>,
}

impl KeyQuery {
    pub(super) fn page(&self) -> PageQuery {
        PageQuery { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// Lists keys that nobody used for `seconds`.
///
/// # Errors
/// [`Error::Denied`] for an agent; [`Error::Invalid`] for a bad limit or cursor.
pub(super) async fn unused_keys(
    app: &App,
    permit: &Permit,
    page: &PageQuery,
    seconds: u32,
) -> Result<Done<PageOf<Key>>, Error> {
    let (limit, mut after) = (page.limit()?, page.position()?);
    if !permit.facts().chain.is_empty() {
        return Err(Error::Denied { reason: Reason::Policy });
    }
    let since = before(app.clock.now(), seconds);
    let (mut items, mut examined): (Vec<Key>, usize) = (Vec::new(), 0);
    loop {
        let store = app.store.as_ref();
        let page = repository::list::<KeyRecord>(
            store,
            Index::First,
            ALL_KEYS.to_string(),
            Order::Ascending,
            MAX_LIMIT,
            after,
        )
        .await?;
        let places: Vec<_> = page.items.iter().map(|record| usage_item(record.key.id.as_str())).collect();
        let usages: Vec<KeyUsage> = load_all(store, &places).await?;
        let last_use: HashMap<&KeyId, Option<Timestamp>> =
            usages.iter().map(|usage| (&usage.key, usage.counts.last_use())).collect();
        for KeyRecord { key, .. } in page.items {
            examined = examined.saturating_add(1);
            let last = last_use.get(&key.id).copied().flatten().unwrap_or(key.created_at);
            if last <= since && !key.state.is_destroyed() {
                items.push(key);
            }
        }
        // One more than asked for tells whether there is another page.
        if items.len() > limit {
            items.truncate(limit);
            let last =
                items.last().map(|key| Position { sort: key.id.to_string(), key: repository::key_item(&key.id) });
            return Ok(Done::read(PageOf { items, next_cursor: last.as_ref().map(cursor_at) }));
        }
        after = page.next;
        if after.is_none() || examined >= MAX_EXAMINED {
            return Ok(Done::read(PageOf { items, next_cursor: after.as_ref().map(cursor_at) }));
        }
    }
}

/// Which agents to show the use of.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentUsageQuery {
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
    /// Only agents that could act and used nothing for so many seconds.
    pub stale_for: Option<u32>,
    /// Only agents that could act, used something, and used less than half of what they were granted.
    #[serde(default)]
    pub broad: bool,
}

/// What an agent was granted, and what of it it used.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AgentUsageReply {
    pub agent: AgentId,
    pub label: AgentLabel,
    pub sponsor: HumanId,
    pub purpose: Purpose,
    pub state: AgentState,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    #[serde(flatten)]
    pub uses: Uses,
    pub granted: Breadth,
    /// What it ever used of what it is granted now.
    pub used: Breadth,
    /// The scope it has, with keys by their names.
    pub scope: String,
    /// A narrower scope that would have sufficed for all it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sufficient_scope: Option<String>,
}

/// Shows which agents use what they were granted: all agents, for those who may see all; else the human's own.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor.
pub async fn agents_usage(
    app: &App,
    permit: &Permit,
    query: &AgentUsageQuery,
) -> Result<Done<PageOf<AgentUsageReply>>, Error> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let (limit, mut after) = (page.limit()?, page.position()?);
    let (store, now) = (app.store.as_ref(), app.clock.now());
    let (index, partition) = listed(app, permit);
    let keyring = Keyring::read(store).await?;
    let (mut items, mut examined) = (Vec::new(), 0_usize);
    loop {
        // No more than fit: where they end is where the next page begins.
        let room = limit.saturating_sub(items.len());
        let page = repository::list::<Agent>(store, index, partition.clone(), Order::Ascending, room, after).await?;
        let places: Vec<_> = page.items.iter().map(|agent| usage_item(agent.id.as_str())).collect();
        let usages: Vec<AgentUsage> = load_all(store, &places).await?;
        let usages: HashMap<&AgentId, &AgentUsage> = usages.iter().map(|usage| (&usage.agent, usage)).collect();
        examined = examined.saturating_add(page.items.len());
        for agent in page.items {
            let fresh = AgentUsage::new(agent.id.clone());
            let usage = usages.get(&agent.id).copied().unwrap_or(&fresh);
            let shown = shown(&keyring, &agent, usage, now);
            if query.fits(&agent, &shown, now) {
                items.push(shown);
            }
        }
        after = page.next;
        if after.is_none() || items.len() >= limit || examined >= MAX_EXAMINED {
            return Ok(Done::read(PageOf { items, next_cursor: after.as_ref().map(cursor_at) }));
        }
    }
}

impl AgentUsageQuery {
    fn fits(&self, agent: &Agent, shown: &AgentUsageReply, now: Timestamp) -> bool {
        let could_act = agent.state == AgentState::Active && agent.grant.includes(now);
        let since = shown.uses.last_use.unwrap_or(agent.created_at);
        let stale = self.stale_for.is_none_or(|seconds| could_act && since <= before(now, seconds));
        let (used, granted) = (shown.used.rights, shown.granted.rights);
        let broad = could_act && used > 0 && used.saturating_mul(2) < granted;
        stale && (broad || !self.broad)
    }
}

fn shown(keyring: &Keyring, agent: &Agent, usage: &AgentUsage, now: Timestamp) -> AgentUsageReply {
    let granted = keyring.rights(&agent.grant.scope);
    let used = granted.intersection(&usage.used);
    let sufficient = (!usage.more_keys && used != granted).then(|| keyring.scope(&used)).flatten();
    AgentUsageReply {
        agent: agent.id.clone(),
        label: agent.label.clone(),
        sponsor: agent.sponsor.clone(),
        purpose: agent.purpose,
        state: agent.state,
        created_at: agent.created_at,
        uses: usage.counts.shown(now),
        granted: granted.breadth(!keyring.complete),
        used: used.breadth(usage.more_keys),
        scope: keyring.named(&agent.grant.scope),
        sufficient_scope: sufficient,
    }
}

fn before(now: Timestamp, seconds: u32) -> Timestamp {
    crate::ambient::after_seconds(now, i64::from(seconds).saturating_neg())
}
