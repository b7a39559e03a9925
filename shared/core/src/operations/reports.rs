//! Reports: what a human and her agents did, or one agent, from the journal and the facts that are counted of it.
//! Reading one is on record as any request is.

use super::listing::MAX_LIMIT;
use crate::agent::{Agent, AgentState};
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, KeyId, RecordId};
use crate::journal::{self, MAX_EXAMINED, Search};
use crate::key::KeyRecord;
use crate::name::{AgentLabel, HumanId};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Found, Permit};
use crate::reason::Reason;
use crate::recommendation::{Detector, ResponseAction, Severity};
use crate::record::AuditRecord;
use crate::repository;
use crate::usage::{AgentUsage, Uses, load_all, usage_item};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

mod tally;

use tally::Tally;

/// Most pages of the journal that one report reads: 16,000 records, or three years of silence.
const MAX_PAGES: usize = 16;
/// Most agents in a report: those that did most.
const MAX_ACTORS: usize = MAX_LIMIT;
/// How far back a report reaches where nothing is asked for, in seconds: a week.
const DEFAULT_SPAN: i64 = 7 * 86_400;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportQuery {
    /// A week ago if absent.
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
}

/// What was done in a time, by whom.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Report {
    /// The human it is about, or who is behind the agent it is about.
    pub human: HumanId,
    #[schemars(with = "DateTime")]
    pub since: Timestamp,
    #[schemars(with = "DateTime")]
    pub until: Timestamp,
    /// How many records it rests on.
    pub records: usize,
    /// Set where there was more than a report reads: it holds everything from this moment on, and nothing before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub complete_since: Option<Timestamp>,
    /// The human herself first, then the agents, those that did most first; at most 200.
    pub actors: Vec<ActorReport>,
    /// How many actors are left out.
    pub more_actors: usize,
}

/// What one actor did.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ActorReport {
    /// Absent for the human herself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<AgentLabel>,
    /// As it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AgentState>,
    pub requests: u64,
    #[schemars(with = "DateTime")]
    pub first_at: Timestamp,
    #[schemars(with = "DateTime")]
    pub last_at: Timestamp,
    /// The most frequent first, at most 100.
    pub uses: Vec<UseCount>,
    /// Uses of keys beyond those listed.
    pub other_uses: u64,
    /// What else was done.
    pub operations: Vec<OperationCount>,
    pub denials: Vec<DenialCount>,
    pub errors: u64,
    /// The newest first, at most 100.
    pub recommendations: Vec<FindingLine>,
    /// The newest first, at most 100.
    pub responses: Vec<ResponseLine>,
    /// The hour with the most requests.
    pub busiest_hour: BusiestHour,
    pub risk: RiskSummary,
    /// Counted over its whole life, not only the time of the report; absent for a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Uses>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct UseCount {
    pub operation: Operation,
    pub key: KeyId,
    /// What the key is called now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    pub count: u64,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct OperationCount {
    pub operation: Operation,
    pub count: u64,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct DenialCount {
    pub reason: Reason,
    pub count: u64,
}

#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct FindingLine {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub detector: Detector,
    pub severity: Severity,
    pub record: RecordId,
}

#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ResponseLine {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub action: ResponseAction,
    /// Whom it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    pub record: RecordId,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct BusiestHour {
    /// Its beginning.
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub requests: u64,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct RiskSummary {
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: f64,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mean: f64,
}

/// What a human and all her agents did.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn human_report(app: &App, permit: &Permit, query: &ReportQuery) -> Result<Done<Report>, Error> {
    let Found::Human { id, .. } = permit.found() else { return Err(Error::NotFound { kind: "human" }) };
    let search = Search { human: Some(id.clone()), ..Search::default() };
    report(app, permit, id, search, query).await
}

/// What one agent did; its sub-agents have reports of their own.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn agent_report(app: &App, permit: &Permit, query: &ReportQuery) -> Result<Done<Report>, Error> {
    let agent = permit.agent()?;
    let search = Search { agent: Some(agent.id.clone()), ..Search::default() };
    report(app, permit, &agent.sponsor, search, query).await
}

async fn report(
    app: &App,
    permit: &Permit,
    human: &HumanId,
    mut search: Search,
    query: &ReportQuery,
) -> Result<Done<Report>, Error> {
    let until = app.clock.now();
    let since = query.since.unwrap_or_else(|| after_seconds(until, -DEFAULT_SPAN));
    search.since = Some(since);
    let beginning = permit.facts().deployment.created_at;
    let mut tallies: HashMap<Option<AgentId>, Tally> = HashMap::new();
    let (mut records, mut complete_since) = (0_usize, None);
    for page in 1..=MAX_PAGES {
        let found = journal::search(app.store.as_ref(), &search, beginning, until, MAX_EXAMINED).await?;
        records = records.saturating_add(found.records.len());
        for record in &found.records {
            tallies.entry(actor(record)).or_insert_with(|| Tally::new(record)).add(record);
        }
        match found.next {
            None => break,
            // That record is in it, and of its millisecond perhaps not all.
            Some(next) if page == MAX_PAGES => complete_since = Some(next.at()),
            next => search.before = next,
        }
    }
    let mut actors: Vec<(Option<AgentId>, Tally)> = tallies.into_iter().collect();
    actors.sort_by(|(a, did), (b, other)| (a.is_some(), other.requests, a).cmp(&(b.is_some(), did.requests, b)));
    let more_actors = actors.len().saturating_sub(MAX_ACTORS);
    actors.truncate(MAX_ACTORS);
    let known = Known::read(app, &actors).await?;
    let actors = actors.into_iter().map(|(agent, tally)| known.report(agent, tally, until)).collect();
    let human = human.clone();
    Ok(Done::read(Report { human, since, until, records, complete_since, actors, more_actors }))
}

fn actor(record: &AuditRecord) -> Option<AgentId> {
    record.agents.first().cloned()
}

/// What is there now of those that a report names.
struct Known {
    agents: HashMap<AgentId, Agent>,
    usages: HashMap<AgentId, AgentUsage>,
    names: BTreeMap<KeyId, String>,
}

impl Known {
    async fn read(app: &App, actors: &[(Option<AgentId>, Tally)]) -> Result<Self, Error> {
        let store = app.store.as_ref();
        let ids: Vec<&AgentId> = actors.iter().filter_map(|(agent, _)| agent.as_ref()).collect();
        let items: Vec<_> = ids.iter().map(|id| repository::agent_item(id)).collect();
        let agents: Vec<Agent> = load_all(store, &items).await?;
        let items: Vec<_> = ids.iter().map(|id| usage_item(id.as_str())).collect();
        let usages: Vec<AgentUsage> = load_all(store, &items).await?;
        let mut keys: Vec<&KeyId> = actors.iter().flat_map(|(_, tally)| tally.keys()).collect();
        keys.sort();
        keys.dedup();
        let items: Vec<_> = keys.into_iter().map(repository::key_item).collect();
        let keys: Vec<KeyRecord> = load_all(store, &items).await?;
        let name = |record: KeyRecord| {
            let name = record.key.aliases.first()?.to_string();
            Some((record.key.id, name))
        };
        Ok(Self {
            agents: agents.into_iter().map(|agent| (agent.id.clone(), agent)).collect(),
            usages: usages.into_iter().map(|usage| (usage.agent.clone(), usage)).collect(),
            names: keys.into_iter().filter_map(name).collect(),
        })
    }

    fn report(&self, agent: Option<AgentId>, tally: Tally, now: Timestamp) -> ActorReport {
        let found = agent.as_ref().and_then(|agent| self.agents.get(agent));
        let (label, state) = (found.map(|agent| agent.label.clone()), found.map(|agent| agent.state));
        let usage = agent.as_ref().and_then(|agent| self.usages.get(agent)).map(|usage| usage.counts.shown(now));
        ActorReport { agent, label, state, usage, ..tally.report(|key| self.names.get(key).cloned()) }
    }
}
