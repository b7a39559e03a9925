//! What rules would have done about the recorded past: the recommendations of the journal, put through the same plan and
//! the same ledger, beside what was done. Changes nothing.

mod stops;

use crate::agent::{Agent, Credential};
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, CredentialId, KeyId, RecommendationId};
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
use stops::{Case, Span, Stops};

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
    /// What the rule orders besides, and would have changed nothing: whom or what it is about was stopped for good already.
    pub unneeded: Vec<RuleAction>,
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
    let mut past = Past::read(app, from, deployment.created_at).await?;
    let known = Known::load(app, &mut past).await?;
    let mut ledger = ResponseLedger::default();
    let since = since.max(past.since);
    let judged = past.cases.iter().map(|(recommendation, span)| {
        let did = past.responses.get(&recommendation.id).cloned().unwrap_or_default();
        // What held it back then lies before what is read here, and so does why: it began nothing itself.
        let held_back = span.from < since && past.held_back.contains(&recommendation.id);
        let ledger = (!held_back).then_some(&mut ledger);
        judge(&rules, ledger, &known, (recommendation, span.from), did)
    });
    let mut items: Vec<DryRunItem> = judged.collect();
    compare(&mut items, &past.cases, past.stops, &known);
    items.retain(|item| item.at >= since);
    Ok(Done::read(RulesDryRun { since, complete: past.is_complete, items }))
}

fn judge(
    rules: &RuleSet,
    ledger: Option<&mut ResponseLedger>,
    known: &Known,
    (recommendation, at): (&AgentRecommendation, Timestamp),
    did: Vec<Response>,
) -> DryRunItem {
    let plan = rules.plan(&known.trigger(recommendation));
    let admission = plan.as_ref().zip(ledger);
    let admission = admission.map(|(plan, ledger)| ledger.admit(plan, recommendation.subject(), recommendation.at));
    let Admission { carried_out, suppressed } = admission.unwrap_or_default();
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
        unneeded: Vec::new(),
        did,
        differs: false,
    }
}

/// Sets apart what would have changed nothing; the rest is held against what was done.
fn compare(items: &mut [DryRunItem], cases: &[(AgentRecommendation, Span)], mut stops: Stops, known: &Known) {
    let did: Vec<_> = items.iter().map(did_to_itself).collect();
    let mut compared: Vec<(&mut DryRunItem, Case<'_>)> = Vec::new();
    for ((item, (recommendation, span)), did) in items.iter_mut().zip(cases).zip(&did) {
        let made = item.agent.as_ref().and_then(|agent| known.made.get(agent)).copied();
        let case = Case { recommendation, span: *span, made, did };
        stops.take_agreed(case, &item.would);
        compared.push((item, case));
    }
    // In the order in which they were raised, which is not that of what they are about.
    compared.sort_by_key(|(item, _)| item.at);
    for (item, case) in compared {
        let ordered = std::mem::take(&mut item.would).into_iter();
        (item.would, item.unneeded) = ordered.partition(|action| stops.is_changed(case, *action));
        let would = item.would.iter().map(|action| action.kind()).filter(|kind| *kind != ResponseAction::Alert);
        item.differs = would.collect::<BTreeSet<_>>() != *case.did;
    }
}

/// What befell others with it, as the agent above it, follows from what befell the agent itself; but for a fleet, which is
/// what the rule ordered, and is told of each of its agents.
fn did_to_itself(item: &DryRunItem) -> BTreeSet<ResponseAction> {
    let to_itself = |response: &&Response| {
        let fleet = response.action == ResponseAction::RevokeFleet;
        fleet || response.agent.is_none() || response.agent == item.agent
    };
    let did = item.did.iter().filter(to_itself).map(|response| response.action);
    did.filter(|kind| *kind != ResponseAction::Alert).collect()
}

/// The recommendations of the journal, the oldest first, and the responses to each.
struct Past {
    since: Timestamp,
    is_complete: bool,
    /// With when each was raised.
    cases: Vec<(AgentRecommendation, Span)>,
    responses: BTreeMap<RecommendationId, Vec<Response>>,
    /// What a cooldown or the budget held back.
    held_back: BTreeSet<RecommendationId>,
    stops: Stops,
}

impl Past {
    async fn read(app: &App, since: Timestamp, beginning: Timestamp) -> Result<Self, Error> {
        let mut past = Self {
            since,
            is_complete: false,
            cases: Vec::new(),
            responses: BTreeMap::new(),
            held_back: BTreeSet::new(),
            stops: Stops::default(),
        };
        let mut search = Search { since: Some(since), is_response: true, ..Search::default() };
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
    fn take(&mut self, mut record: AuditRecord) {
        self.stops.take(&record);
        let (span, recommendation) = (Span::of(&record), record.recommendation.take());
        for response in record.responses {
            self.responses.entry(response.cause.clone()).or_default().push(response);
        }
        if let Some(recommendation) = recommendation {
            if record.suppressed.iter().any(|held| held.because != Because::Observe) {
                self.held_back.insert(recommendation.id.clone());
            }
            self.cases.push((recommendation, span));
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
    made: BTreeMap<AgentId, Timestamp>,
}

impl Known {
    async fn load(app: &App, past: &mut Past) -> Result<Self, Error> {
        let cases = || past.cases.iter().map(|(case, _)| case);
        let agents: BTreeSet<&AgentId> = cases().filter_map(|case| case.agent.as_ref()).collect();
        let credentials: BTreeSet<&CredentialId> =
            cases().filter_map(|case| case.evidence.credential.as_ref()).collect();
        let keys: BTreeSet<&KeyId> = cases().filter_map(|case| case.evidence.key.as_ref()).collect();
        let agents: Vec<ItemKey> = agents.into_iter().map(repository::agent_item).collect();
        let credentials: Vec<ItemKey> = credentials.into_iter().map(repository::credential_item).collect();
        let keys: Vec<ItemKey> = keys.into_iter().map(repository::key_item).collect();
        let agents = load_all::<Agent>(app, &agents).await?;
        agents.iter().for_each(|agent| past.stops.take_agent(agent));
        load_all(app, &credentials).await?.iter().for_each(|found: &Credential| past.stops.take_credential(found));
        let keys = load_all::<KeyRecord>(app, &keys).await?;
        keys.iter().for_each(|record| past.stops.take_key(record));
        Ok(Self {
            made: agents.iter().map(|agent| (agent.id.clone(), agent.created_at)).collect(),
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
