//! What rules would have done about the recorded past: the recommendations of the journal, put through the same plan and
//! the same ledger, beside what was done. Changes nothing.

use crate::agent::Agent;
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, KeyId, RecommendationId};
use crate::journal::{self, Search};
use crate::key::{KeyRecord, Tier};
use crate::name::HumanId;
use crate::pipeline::{App, Done, Permit, load_rules};
use crate::recommendation::{AgentRecommendation, Detector, Response, ResponseAction, Severity};
use crate::record::AuditRecord;
use crate::repository::{self, Document, decode};
use crate::rules::{Admission, Because, ResponseLedger, RuleAction, RuleName, RuleSet, Subject, Suppressed, Trigger};
use crate::store::{ItemKey, MAX_BATCH};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most pages of the journal that one dry run reads: 50,000 records.
const MAX_PAGES: usize = 50;
/// Most recommendations it answers.
const MAX_CASES: usize = 1_000;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DryRunRules {
    /// The rules to try; those in force if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub toml: Option<String>,
    #[schemars(with = "DateTime")]
    pub since: Timestamp,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct RulesDryRun {
    /// From when on recommendations were found: later than what was asked for where that is more than 50,000 records or
    /// 1,000 recommendations ago.
    #[schemars(with = "DateTime")]
    pub since: Timestamp,
    /// Whether that is all that was asked for.
    pub complete: bool,
    /// The oldest first.
    pub items: Vec<DryRunItem>,
}

/// What would have been done about one recommendation, and what was done.
#[derive(Debug, JsonSchema, Serialize)]
pub struct DryRunItem {
    pub recommendation: RecommendationId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub detector: Detector,
    pub severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    pub sponsor: HumanId,
    /// The rule that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleName>,
    pub would: Vec<RuleAction>,
    pub suppressed: Vec<Suppressed>,
    pub did: Vec<Response>,
    /// Whether what would have been done to the actor or the key differs from what was done. Alerts do not count.
    pub differs: bool,
}

/// Tries rules on what happened since a moment. An agent's purpose and a key's tier are those of today.
///
/// # Errors
/// [`Error::Invalid`] for rules that cannot be.
pub async fn dry_run_rules(app: &App, permit: &Permit, asked: &DryRunRules) -> Result<Done<RulesDryRun>, Error> {
    let deployment = &permit.facts().deployment;
    let rules = match &asked.toml {
        Some(toml) => RuleSet::parse(toml)?,
        None => load_rules(app.store.as_ref(), deployment.rules_version).await?,
    };
    let since = asked.since.max(deployment.created_at);
    // What was done shortly before bears on what was held back then.
    let from = after_seconds(since, -i64::from(rules.lead_minutes()) * 60).max(deployment.created_at);
    let past = Past::read(app, from, deployment.created_at).await?;
    let known = Known::load(app, &past.cases).await?;
    let mut ledger = ResponseLedger::default();
    let since = since.max(past.since);
    let mut items = Vec::new();
    for (recommendation, at) in &past.cases {
        // What held it back then lies before what is read here, and so does why: it began nothing itself.
        if *at < since && past.held_back.contains(&recommendation.id) {
            continue;
        }
        let did = past.responses.get(&recommendation.id).cloned().unwrap_or_default();
        let item = judge(&rules, &mut ledger, &known, (recommendation, *at), did);
        items.extend(Some(item).filter(|item| item.at >= since));
    }
    Ok(Done::read(RulesDryRun { since, complete: past.is_complete, items }))
}

fn judge(
    rules: &RuleSet,
    ledger: &mut ResponseLedger,
    known: &Known,
    (recommendation, at): (&AgentRecommendation, Timestamp),
    did: Vec<Response>,
) -> DryRunItem {
    let plan = rules.plan(&known.trigger(recommendation));
    let admission = plan.as_ref().map(|plan| ledger.admit(plan, recommendation.subject(), recommendation.at));
    let Admission { carried_out, suppressed } = admission.unwrap_or_default();
    // What befell others with it, as the agent above it, follows from what befell the agent itself; but for a fleet, which is
    // what the rule ordered, and is told of each of its agents.
    let to_itself = |response: &&Response| {
        let fleet = response.action == ResponseAction::RevokeFleet;
        fleet || response.agent.is_none() || response.agent == recommendation.agent
    };
    let planned = carried_out.iter().map(|action| action.kind());
    let done = did.iter().filter(to_itself).map(|response| response.action);
    let changing = |kind: &ResponseAction| *kind != ResponseAction::Alert;
    let differs = planned.filter(changing).collect::<BTreeSet<_>>() != done.filter(changing).collect();
    DryRunItem {
        recommendation: recommendation.id.clone(),
        at,
        detector: recommendation.detector,
        severity: recommendation.severity,
        agent: recommendation.agent.clone(),
        sponsor: recommendation.sponsor.clone(),
        rule: plan.map(|plan| plan.rule),
        would: carried_out,
        suppressed,
        did,
        differs,
    }
}

/// The recommendations of the journal, the oldest first, and the responses to each.
struct Past {
    since: Timestamp,
    is_complete: bool,
    cases: Vec<(AgentRecommendation, Timestamp)>,
    responses: BTreeMap<RecommendationId, Vec<Response>>,
    /// What a cooldown or the budget held back.
    held_back: BTreeSet<RecommendationId>,
}

impl Past {
    async fn read(app: &App, since: Timestamp, beginning: Timestamp) -> Result<Self, Error> {
        let mut past = Self {
            since,
            is_complete: false,
            cases: Vec::new(),
            responses: BTreeMap::new(),
            held_back: BTreeSet::new(),
        };
        let mut search = Search { since: Some(since), is_answer: true, ..Search::default() };
        for _ in 0..MAX_PAGES {
            let (now, most) = (app.clock.now(), journal::MAX_EXAMINED);
            let page = journal::search(app.store.as_ref(), &search, beginning, now, most).await?;
            for record in page.records {
                if past.cases.len() >= MAX_CASES {
                    return Ok(past.reversed());
                }
                past.since = record.at;
                past.take(record);
            }
            let Some(next) = page.next else {
                (past.is_complete, past.since) = (true, since);
                break;
            };
            past.since = next.at();
            search.before = Some(next);
        }
        Ok(past.reversed())
    }

    /// Newest first.
    fn take(&mut self, record: AuditRecord) {
        for response in record.responses {
            self.responses.entry(response.cause.clone()).or_default().push(response);
        }
        if let Some(recommendation) = record.recommendation {
            if record.suppressed.iter().any(|held| held.because != Because::Observe) {
                self.held_back.insert(recommendation.id.clone());
            }
            self.cases.push((recommendation, record.at));
        }
    }

    fn reversed(mut self) -> Self {
        self.cases.reverse();
        self
    }
}

/// The agents and keys that recommendations are about.
#[derive(Default)]
struct Known {
    purposes: BTreeMap<AgentId, Subject>,
    tiers: BTreeMap<KeyId, Tier>,
}

impl Known {
    async fn load(app: &App, cases: &[(AgentRecommendation, Timestamp)]) -> Result<Self, Error> {
        let agents: BTreeSet<&AgentId> = cases.iter().filter_map(|(case, _)| case.agent.as_ref()).collect();
        let keys: BTreeSet<&KeyId> = cases.iter().filter_map(|(case, _)| case.evidence.key.as_ref()).collect();
        let agents: Vec<ItemKey> = agents.into_iter().map(repository::agent_item).collect();
        let keys: Vec<ItemKey> = keys.into_iter().map(repository::key_item).collect();
        let agents = load_all::<Agent>(app, &agents).await?;
        let keys = load_all::<KeyRecord>(app, &keys).await?;
        Ok(Self {
            purposes: agents.into_iter().map(|agent| (agent.id, agent.purpose.into())).collect(),
            tiers: keys.into_iter().map(|record| (record.key.id, record.key.tier)).collect(),
        })
    }

    fn trigger(&self, recommendation: &AgentRecommendation) -> Trigger {
        let of_agent = |agent: &AgentId| self.purposes.get(agent).copied().unwrap_or(Subject::Interactive);
        Trigger {
            detector: recommendation.detector,
            severity: recommendation.severity,
            subject: recommendation.agent.as_ref().map_or(Subject::Human, of_agent),
            tier: recommendation.evidence.key.as_ref().and_then(|key| self.tiers.get(key).copied()),
        }
    }
}

async fn load_all<D: Document>(app: &App, keys: &[ItemKey]) -> Result<Vec<D>, Error> {
    let mut found = Vec::new();
    for some in keys.chunks(MAX_BATCH) {
        for stored in app.store.batch_get(some).await?.0 {
            found.push(decode(&stored)?.value);
        }
    }
    Ok(found)
}
