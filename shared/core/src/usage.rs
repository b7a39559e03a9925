//! How keys and agents are used: facts counted from the journal, without a model. Pure; `consumer` keeps them.
//!
//! Successful uses count as uses, refusals are counted apart, and whatever else is on record counts as neither.

pub(crate) mod breadth;
pub mod consumer;
pub mod pace;

use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{AgentId, KeyId};
use crate::name::HumanId;
use crate::record::{AuditRecord, Outcome};
use crate::repository::{self, Document};
use crate::scope::Action;
use crate::store::{ItemKey, MAX_BATCH, Store};
use pace::{Crowded, Pace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Days, today included, that recent uses are counted over.
pub const WINDOW: i64 = 30;
/// Most agents of a key, and keys of an agent, that are told apart: the largest document is then some 40 KiB, of the 64
/// that an item holds.
pub const TOLD_APART: usize = 256;

/// What one record adds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    Denied(u64),
    Used(Action),
}

impl Event {
    fn of(record: &AuditRecord) -> Option<Self> {
        match (record.outcome, record.operation.action()) {
            (Outcome::Ok, Some(action)) => Some(Self::Used(action)),
            (Outcome::Denied, _) => Some(Self::Denied(record.count.unwrap_or(1))),
            _ => None,
        }
    }
}

/// The key and the agent that a record says something of.
pub(crate) fn subjects(record: &AuditRecord) -> (Option<&KeyId>, Option<&AgentId>) {
    match Event::of(record) {
        Some(_) => (record.key.as_ref(), record.agents.first()),
        None => (None, None),
    }
}

/// How often and when, of one key or one agent.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    first_seen: Option<Timestamp>,
    last_use: Option<Timestamp>,
    uses: u64,
    denied: u64,
    /// Uses by day, of the last [`WINDOW`] days that had any.
    days: BTreeMap<i64, u64>,
}

impl Counts {
    fn add(&mut self, event: Event, at: Timestamp) {
        self.first_seen = self.first_seen.into_iter().chain([at]).min();
        match event {
            Event::Denied(count) => self.denied = self.denied.saturating_add(count),
            Event::Used(_) => {
                self.uses = self.uses.saturating_add(1);
                self.last_use = self.last_use.max(Some(at));
                let uses = self.days.entry(day(at)).or_default();
                *uses = uses.saturating_add(1);
                let newest = self.days.last_key_value().map_or(0, |(day, _)| *day);
                self.days.retain(|day, _| in_window(*day, newest));
            }
        }
    }

    pub fn last_use(&self) -> Option<Timestamp> {
        self.last_use
    }

    pub fn uses(&self) -> u64 {
        self.uses
    }

    /// As they stand at `now`.
    pub fn shown(&self, now: Timestamp) -> Uses {
        let recent = self.days.iter().filter(|(then, _)| in_window(**then, day(now)));
        Uses {
            first_seen: self.first_seen,
            last_use: self.last_use,
            uses: self.uses,
            uses_30d: recent.map(|(_, uses)| uses).sum(),
            denied: self.denied,
        }
    }
}

/// How often and when something was used.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
pub struct Uses {
    /// The first use or refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub first_seen: Option<Timestamp>,
    /// The last successful use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub last_use: Option<Timestamp>,
    /// Successful uses since ever.
    pub uses: u64,
    /// Those of today and the 29 days before, in UTC.
    pub uses_30d: u64,
    /// Refused requests.
    pub denied: u64,
}

/// What is kept of one key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyUsage {
    pub key: KeyId,
    pub counts: Counts,
    /// Who used it, and on which day last: those of the last [`WINDOW`] days, at most [`TOLD_APART`].
    agents: BTreeMap<AgentId, i64>,
    /// The last day on which there was an agent more.
    more_agents: Option<i64>,
    #[serde(default)]
    pace: Pace,
}

impl KeyUsage {
    pub fn new(key: KeyId) -> Self {
        Self { key, counts: Counts::default(), agents: BTreeMap::new(), more_agents: None, pace: Pace::default() }
    }

    /// Adds a record of this key.
    pub fn add(&mut self, record: &AuditRecord) {
        let Some(event) = Event::of(record) else { return };
        self.counts.add(event, record.at);
        let Event::Used(_) = event else { return };
        let human = || record.human.as_ref().map(HumanId::as_str);
        self.pace.add(record.agents.first().map(AgentId::as_str).or_else(human).unwrap_or_default(), record.at);
        let Some(agent) = record.agents.first() else { return };
        let today = day(record.at);
        let newest = self.agents.values().copied().max().unwrap_or(today).max(today);
        self.agents.retain(|_, last| in_window(*last, newest));
        let room = self.agents.len() < TOLD_APART;
        match self.agents.get_mut(agent) {
            Some(last) => *last = today.max(*last),
            None if room => {
                self.agents.insert(agent.clone(), today);
            }
            None => self.more_agents = self.more_agents.max(Some(today)),
        }
    }

    /// Whether it was used far more than ever in its last days, by several together, in the hour or on the day of `at`.
    fn crowded(&self, at: Timestamp) -> Option<Crowded> {
        self.pace.crowded(at, &self.counts.days)
    }

    /// How many agents used it in the days that count now, and whether there were more.
    pub fn agents(&self, now: Timestamp) -> (usize, bool) {
        let recent = |last: &i64| in_window(*last, day(now));
        (self.agents.values().filter(|last| recent(last)).count(), self.more_agents.as_ref().is_some_and(recent))
    }
}

/// What is kept of one agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AgentUsage {
    pub agent: AgentId,
    pub counts: Counts,
    /// What it ever used of its scope: at most [`TOLD_APART`] keys.
    pub used: BTreeMap<KeyId, BTreeSet<Action>>,
    /// Whether there were more.
    pub more_keys: bool,
}

impl AgentUsage {
    pub fn new(agent: AgentId) -> Self {
        Self { agent, counts: Counts::default(), used: BTreeMap::new(), more_keys: false }
    }

    /// Adds a record of this agent.
    pub fn add(&mut self, record: &AuditRecord) {
        let Some(event) = Event::of(record) else { return };
        self.counts.add(event, record.at);
        let (Event::Used(action), Some(key)) = (event, &record.key) else { return };
        let room = self.used.len() < TOLD_APART;
        match self.used.get_mut(key) {
            Some(actions) => {
                actions.insert(action);
            }
            None if room => {
                self.used.insert(key.clone(), [action].into());
            }
            None => self.more_keys = true,
        }
    }
}

/// Where the facts about a key, or an agent, lie.
pub fn usage_item(subject: &str) -> ItemKey {
    ItemKey::state(format!("usage/{subject}"), "usage")
}

impl Document for KeyUsage {
    fn item_key(&self) -> ItemKey {
        usage_item(self.key.as_str())
    }
}

impl Document for AgentUsage {
    fn item_key(&self) -> ItemKey {
        usage_item(self.agent.as_str())
    }
}

/// The documents found of these, in no order.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn load_all<D: Document>(store: &dyn Store, items: &[ItemKey]) -> Result<Vec<D>, Error> {
    let mut found = Vec::with_capacity(items.len());
    for some in items.chunks(MAX_BATCH) {
        for stored in store.batch_get(some).await?.0 {
            found.push(repository::decode(&stored)?.value);
        }
    }
    Ok(found)
}

/// Days since 1970, UTC.
fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

fn in_window(day: i64, newest: i64) -> bool {
    newest.saturating_sub(day) < WINDOW
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ambient::Entropy;
    use crate::id::{RecordId, RequestId};
    use crate::operation::Operation;
    use crate::record::Plane;

    const DAY: i64 = 86_400;

    pub(crate) fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + day * DAY).unwrap()
    }

    /// The n-th id of its kind.
    pub(crate) fn id<I: TryFrom<String>>(prefix: &str, n: usize) -> I
    where
        I::Error: std::fmt::Debug,
    {
        format!("{prefix}_{n:032x}").try_into().unwrap()
    }

    pub(crate) fn record(day: i64, operation: Operation, outcome: Outcome, key: usize, agent: usize) -> AuditRecord {
        let (entropy, at) = (Entropy::system(), at(day));
        let (id_, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
        AuditRecord {
            outcome,
            key: Some(id("key", key)),
            agents: vec![id("agt", agent)],
            ..AuditRecord::new(id_, at, operation, Plane::Rest, request)
        }
    }

    fn use_of(day: i64, key: usize, agent: usize) -> AuditRecord {
        record(day, Operation::KeySign, Outcome::Ok, key, agent)
    }

    #[test]
    fn uses_count_as_uses_and_refusals_apart() {
        let mut usage = AgentUsage::new(id("agt", 1));
        for (operation, outcome) in [
            (Operation::KeySign, Outcome::Ok),
            (Operation::KeySign, Outcome::Denied),
            (Operation::KeyRotate, Outcome::Denied),
            (Operation::KeySign, Outcome::Error),
            (Operation::KeyGet, Outcome::Ok),
            (Operation::KeyList, Outcome::Ok),
            (Operation::KeyVerify, Outcome::Ok),
        ] {
            usage.add(&record(0, operation, outcome, 1, 1));
        }
        let shown = usage.counts.shown(at(0));
        assert_eq!((shown.uses, shown.uses_30d, shown.denied), (2, 2, 2));
        assert_eq!(usage.used, [(id("key", 1), [Action::Sign, Action::Verify].into())].into());
    }

    #[test]
    fn thirty_days_are_today_and_the_29_before_whatever_the_order_of_the_records() {
        let mut days = [0, 1, 29, 30, 31, 31];
        for turn in 0..2 {
            let mut usage = KeyUsage::new(id("key", 1));
            days.iter().for_each(|day| usage.add(&use_of(*day, 1, 1)));
            let seen = |now| usage.counts.shown(at(now)).uses_30d;
            // What had left the window when the last record came is not counted again.
            assert_eq!((seen(31), seen(58), seen(60), seen(61)), (4, 4, 2, 0), "{turn}");
            let shown = usage.counts.shown(at(31));
            assert_eq!((shown.uses, shown.first_seen, shown.last_use), (6, Some(at(0)), Some(at(31))));
            days.reverse();
        }
    }

    #[test]
    fn distinct_agents_are_exact_up_to_a_bound_and_said_to_be_more_beyond_it() {
        let mut usage = KeyUsage::new(id("key", 1));
        for agent in (0..TOLD_APART).chain(0..TOLD_APART) {
            usage.add(&use_of(0, 1, agent));
        }
        assert_eq!(usage.agents(at(0)), (TOLD_APART, false));
        usage.add(&use_of(1, 1, TOLD_APART));
        assert_eq!(usage.agents(at(1)), (TOLD_APART, true));
        // Those of long ago make room.
        usage.add(&use_of(40, 1, TOLD_APART));
        assert_eq!(usage.agents(at(40)), (1, false));
    }

    #[test]
    fn the_largest_document_fits_into_an_item() {
        let mut usage = AgentUsage::new(id("agt", 1));
        for operation in Operation::ALL.iter().filter(|operation| operation.action().is_some()) {
            (0..=TOLD_APART).for_each(|key| usage.add(&record(0, *operation, Outcome::Ok, key, 1)));
        }
        (0..40).for_each(|day| usage.add(&use_of(day, 1, 1)));
        assert!(usage.more_keys);
        let length = serde_json::to_string(&usage).unwrap().len();
        assert!(length < 40_000, "{length}");
    }
}
