//! What the detectors of a replay recommend, and what rules would have done about it: the same plan and the same ledger as
//! in the server. Nobody is stopped: what came after is what came after.

use super::engine::Verdict;
use super::event::{Event, Kind};
use crate::detect::{Detector, Grade, severity, suggested};
use aegis_core::ambient::Timestamp;
use aegis_core::id::{AgentId, KeyId, RecommendationId, RecordId};
use aegis_core::key::Tier;
use aegis_core::name::HumanId;
use aegis_core::operation::Operation;
use aegis_core::recommendation::{AgentRecommendation, Evidence, Severity};
use aegis_core::risk::Factor;
use aegis_core::risk::evidence::score_of;
use aegis_core::risk::sighting::{hash_of_name, operation_hash};
use aegis_core::rules::{Admission, ResponseLedger, RuleName, RuleSet, Subject, Trigger, VIOLATION};
use std::collections::{HashMap, HashSet};

const HOUR: i64 = 3_600;
/// Longest name of a human.
const MAX_NAME: usize = 128;

/// Recommends, and answers, in the order of the events.
#[derive(Debug)]
pub struct Responder {
    rules: RuleSet,
    ledger: ResponseLedger,
    /// The human behind each agent, as far as seen.
    sponsors: HashMap<String, String>,
    raised: HashSet<RecommendationId>,
}

/// A recommendation, and what the rules order about it.
#[derive(Debug)]
pub struct Raised {
    pub recommendation: AgentRecommendation,
    pub grade: Grade,
    /// Absent where no rule fits.
    pub rule: Option<RuleName>,
    pub admission: Admission,
}

impl Responder {
    pub fn new(rules: RuleSet) -> Self {
        Self { rules, ledger: ResponseLedger::default(), sponsors: HashMap::new(), raised: HashSet::new() }
    }

    /// What is raised of an event. Of one detector and actor once an hour, and once more when it becomes graver. `record` is
    /// the audit record that the event stands for, where it is one of ours.
    pub fn take(&mut self, event: &Event, record: Option<&RecordId>, verdict: &Verdict) -> Vec<Raised> {
        self.learn_sponsor(event);
        let of_actor = verdict.detectors.iter().map(|detector| Finding {
            detector: *detector,
            of_fleet: false,
            grade: verdict.grade,
            score: score_of(verdict.evidence.total()),
        });
        let of_fleet = verdict.fleet.iter().map(|fleet| Finding {
            detector: fleet.detector,
            of_fleet: true,
            grade: Grade::Alert,
            score: score_of(fleet.decades),
        });
        let found: Vec<Finding> = of_actor.chain(of_fleet).collect();
        found.iter().filter_map(|finding| self.raise(event, record, verdict, finding)).collect()
    }

    fn raise(
        &mut self,
        event: &Event,
        record: Option<&RecordId>,
        verdict: &Verdict,
        finding: &Finding,
    ) -> Option<Raised> {
        let at = Timestamp::from_millisecond(event.millis()).ok()?;
        let sponsor = self.sponsor(event)?;
        let is_agent = event.kind != Kind::Human && !finding.of_fleet;
        let agent = is_agent.then(|| agent(&event.actor)).flatten();
        let severity = finding.severity();
        let detector = finding.detector.as_str();
        let subject = agent.as_ref().map_or(sponsor.as_str(), AgentId::as_str).to_string();
        let hour = at.as_second().div_euclid(HOUR);
        let words = format!("{detector}/{subject}/{hour}/{}", severity.as_str());
        let begins = Timestamp::from_second(hour.saturating_mul(HOUR)).ok()?;
        let id = RecommendationId::derived(begins, &words);
        if !self.raised.insert(id.clone()) {
            return None;
        }
        let trigger = Trigger {
            detector: finding.detector,
            severity,
            subject: match event.kind {
                _ if agent.is_none() => Subject::Human,
                Kind::Service => Subject::Service,
                Kind::Agent | Kind::Human => Subject::Interactive,
            },
            // Of no event is it known that its key is dearer than others.
            tier: event.resource.as_ref().map(|_| Tier::Standard),
        };
        let plan = self.rules.plan(&trigger);
        let admission = plan.as_ref().map(|plan| self.ledger.admit(plan, &subject, at)).unwrap_or_default();
        let recommendation = AgentRecommendation {
            id,
            at,
            detector: finding.detector,
            severity,
            sponsor,
            evidence: Evidence {
                records: record.into_iter().cloned().collect(),
                operation: operation(&event.op),
                requested: None,
                key: event.resource.as_deref().and_then(key),
                credential: None,
                factors: finding.factors(verdict),
            },
            suggested_actions: suggested(severity, agent.is_some()),
            agent,
        };
        Some(Raised { recommendation, grade: finding.grade, rule: plan.map(|plan| plan.rule), admission })
    }

    fn learn_sponsor(&mut self, event: &Event) {
        let Some(parent) = event.parent.as_ref().filter(|_| event.kind != Kind::Human) else { return };
        if !self.sponsors.contains_key(&event.actor) {
            let human = self.sponsors.get(parent).unwrap_or(parent).clone();
            self.sponsors.insert(event.actor.clone(), human);
        }
    }

    fn sponsor(&self, event: &Event) -> Option<HumanId> {
        let name = match event.kind {
            Kind::Human => Some(&event.actor),
            Kind::Agent | Kind::Service => self.sponsors.get(&event.actor),
        };
        human(name.map_or("unknown", String::as_str))
    }
}

struct Finding {
    detector: Detector,
    of_fleet: bool,
    grade: Grade,
    score: f64,
}

impl Finding {
    /// What was refused is as good as a fact, as in the server.
    fn severity(&self) -> Severity {
        match self.detector {
            Detector::ScopeProbe | Detector::ScopeViolation => VIOLATION,
            _ => severity(self.grade, self.score),
        }
    }

    fn factors(&self, verdict: &Verdict) -> Vec<Factor> {
        match verdict.fleet.iter().find(|fleet| self.of_fleet && fleet.detector == self.detector) {
            Some(fleet) => fleet.evidence.factors().collect(),
            None => verdict.factors().collect(),
        }
    }
}

/// The id, where the name is one; else one that is the same for the same name.
fn agent(name: &str) -> Option<AgentId> {
    let derived = || AgentId::try_from(format!("agt_{:032x}", hash_of_name(name)));
    AgentId::try_from(name.to_string()).or_else(|_| derived()).ok()
}

fn key(name: &str) -> Option<KeyId> {
    let derived = || KeyId::try_from(format!("key_{:032x}", hash_of_name(name)));
    KeyId::try_from(name.to_string()).or_else(|_| derived()).ok()
}

/// The name as far as it is one.
fn human(name: &str) -> Option<HumanId> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._@+:|-".contains(c);
    let kept: String = name.chars().take(MAX_NAME).map(|c| if allowed(c) { c } else { '-' }).collect();
    kept.parse().ok()
}

fn operation(name: &str) -> Option<Operation> {
    let of_key = Operation::ALL.iter().filter(|operation| operation.as_str().starts_with("key."));
    let hash = operation_hash(&name.to_ascii_lowercase());
    of_key.copied().find(|operation| operation_hash(operation.as_str()) == hash)
}

#[cfg(test)]
mod tests;
