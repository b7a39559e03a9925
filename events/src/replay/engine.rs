//! The engine of a replay: events in, verdicts out, by nothing but what came before.

use super::event::{Event, Kind, Outcome};
use crate::detect::{
    Calibration, Detector, FAMILIES, Grade, Judgement, Subject, Thresholds, USUAL_HUMANS, USUAL_MACHINES, Watch,
    fired_of_fleet, judge, sums,
};
use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::key::Tier;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::evidence::{Evidence, score_of};
use aegis_core::risk::sighting::{Class, Network, Seen, Sighting, client_hash, hash, hash_of_name, operation_hash};
use aegis_core::risk::stats::whole;
use aegis_core::risk::weigh::history;
use aegis_core::risk::{DAY, Factor, Observation, OfKey, Risk, score};
use std::collections::HashMap;
use std::fmt::Write;

/// Days before statistics are believed.
const BURN_IN: u32 = 7;
/// Minutes for which an alert is not told again, unless there is more to it.
const TOLD: u32 = 60;

/// Replays events in the order of their time.
#[derive(Debug, Default)]
pub struct Engine {
    watch: Watch,
    /// The human behind each actor, as far as seen.
    fleets: HashMap<u64, u64>,
    machines: Calibration,
    humans: Calibration,
    told: HashMap<u64, [(u32, f64); FAMILIES]>,
    began: Option<u32>,
    line: u32,
}

/// What one event amounts to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// 0 to 1: how unusual it is for its actor.
    pub risk: f64,
    pub grade: Grade,
    /// The reasons, the weightiest first; without commas.
    pub reason: String,
    /// What fired, the strongest first; empty where it was told within the hour.
    pub detectors: Vec<Detector>,
    pub evidence: Evidence,
    /// What the environment, the credential's age and the breadth of its scope add.
    pub context: Risk,
    /// What all agents of the human show together. It grades no event: none of them alone is the reason.
    pub fleet: Vec<OfFleet>,
}

/// A detector that fired for all agents of a human.
#[derive(Clone, Debug)]
pub struct OfFleet {
    pub detector: Detector,
    pub decades: f64,
    pub evidence: Evidence,
}

impl Verdict {
    /// As the server scores it.
    pub fn risk_in_context(&self) -> f64 {
        (self.risk + self.context.score).min(1.0)
    }

    /// The reasons of the risk in its context.
    pub fn factors(&self) -> impl Iterator<Item = Factor> {
        self.evidence.factors().chain(self.context.factors.iter().cloned())
    }
}

impl Engine {
    pub fn observe(&mut self, event: &Event) -> Verdict {
        self.line = self.line.wrapping_add(1);
        let subject = self.subject(event);
        let s = sighting(event, self.line);
        let day = minute_of(s.at) / DAY;
        let began = *self.began.get_or_insert(day);
        self.watch.take(&subject, &s);
        let mut evidence = self.watch.weigh(&subject, &s);
        let believed = day >= began.saturating_add(BURN_IN);
        let mut of_fleet = Vec::new();
        if let Some((state, s, fleet)) = self.watch.weigh_fleet(&subject, &s) {
            evidence.join_fleet(&fleet);
            let of = |(detector, decades)| OfFleet { detector, decades, evidence: fleet };
            of_fleet.extend(fired_of_fleet(state, &s, &fleet).filter(|_| believed).map(of));
        }
        let has_history = self.watch.actors.get(&subject.actor).is_some_and(|state| history(state.baseline()) >= 1.0);
        let (calibration, usual) = match subject.human {
            true => (&mut self.humans, USUAL_HUMANS),
            false => (&mut self.machines, USUAL_MACHINES),
        };
        calibration.learn(subject.actor, day, &evidence, has_history);
        let thresholds = Thresholds::of(subject.human).scaled(calibration.factors(day, usual));
        let judgement = judge(&evidence, &thresholds, believed);
        let is_news = self.is_news(&subject, minute_of(s.at), &judgement, &evidence);
        let context = context(event);
        Verdict {
            risk: score_of(evidence.total()),
            grade: judgement.grade,
            reason: reason(&evidence),
            detectors: if is_news { judgement.detectors } else { Vec::new() },
            evidence,
            context,
            fleet: of_fleet,
        }
    }

    /// Whether it is to be told: not what was told within the hour, unless there is more to it. Pace is told of each time,
    /// since what goes on is what it is about; so is a refusal.
    fn is_news(&mut self, subject: &Subject, minute: u32, judgement: &Judgement, evidence: &Evidence) -> bool {
        match judgement.grade {
            Grade::None => return false,
            Grade::Alert if !evidence.refused_now && evidence.of_pace() < 3.0 => {}
            Grade::Alert | Grade::Automatic => return true,
        }
        let told = self.told.entry(subject.actor).or_insert([(0, 0.0); FAMILIES]);
        let mut news = false;
        for (((at, most), sum), above) in told.iter_mut().zip(sums(evidence)).zip(judgement.families) {
            if above && (minute.saturating_sub(*at) >= TOLD || sum >= *most + 1.0) {
                (*at, *most) = (minute, sum);
                news = true;
            }
        }
        news
    }

    fn subject(&mut self, event: &Event) -> Subject {
        let actor = hash_of_name(&event.actor);
        let parent = event.parent.as_ref().map(|parent| hash_of_name(parent));
        let fleet = match (event.kind, parent) {
            (Kind::Human, _) => actor,
            // An agent's agent belongs to the human behind both.
            (_, Some(parent)) => self.fleets.get(&parent).copied().unwrap_or(parent),
            (_, None) => 0,
        };
        if fleet != 0 {
            self.fleets.insert(actor, fleet);
        }
        // Of what purpose an agent is, an event does not say.
        let template = parent.unwrap_or(0);
        Subject { actor, human: event.kind == Kind::Human, fleet, template, of_human: template == fleet }
    }
}

pub(super) fn sighting(event: &Event, line: u32) -> Sighting {
    let of = |text: &Option<String>| text.as_ref().filter(|text| !text.is_empty()).map(|text| hash(text.as_bytes()));
    let address = event.source_ip.as_ref().and_then(|text| text.parse().ok());
    let elsewhere = || of(&event.source_ip).map(|near| Network { near, wide: near }).unwrap_or_default();
    let operation = event.op.to_ascii_lowercase();
    Sighting {
        id: line,
        at: event.millis(),
        key: of(&event.resource).unwrap_or(0),
        operation: operation_hash(&operation),
        class: Class::of(&operation),
        network: address.map(Network::of).unwrap_or_else(elsewhere),
        client: event.user_agent.as_ref().filter(|text| !text.is_empty()).map_or(0, |text| client_hash(text)),
        outcome: match event.outcome {
            Outcome::Ok => Seen::Ok,
            Outcome::Error => Seen::Error,
            Outcome::Denied => Seen::Denied,
            Outcome::Refused => Seen::Refused,
        },
        scope: event.scope.unwrap_or(0),
    }
}

/// What the server holds against a request whatever its actor did before; of it an event says what it says.
fn context(event: &Event) -> Risk {
    let environment = event.environment();
    if environment.is_none() && event.cred_age.is_none() && event.scope.is_none() {
        return Risk::default();
    }
    let now = Timestamp::from_millisecond(event.millis()).unwrap_or(Timestamp::UNIX_EPOCH);
    let age = i64::from(whole(event.cred_age.unwrap_or(0.0)));
    score(&Observation {
        scope_breadth: event.scope.map(|keys| usize::try_from(keys).unwrap_or(usize::MAX)),
        credential_issued_at: after_seconds(now, -age),
        key: environment.map(|environment| OfKey { environment, tier: Tier::Standard, shared: false }),
        now,
        ..Observation::default()
    })
}

fn reason(evidence: &Evidence) -> String {
    let mut factors: Vec<_> = evidence.factors().collect();
    factors.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut text = String::new();
    for factor in factors.iter().take(3).filter(|factor| factor.weight >= 0.02) {
        let _ = write!(text, "{}{:?} {:.2}", if text.is_empty() { "" } else { "; " }, factor.factor, factor.weight);
    }
    text
}
