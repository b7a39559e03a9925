//! The engine of a replay: events in, verdicts out, by nothing but what came before.

use super::event::{Event, Kind, Outcome};
use crate::detect::{Detector, Grade, Subject, Watch};
use aegis_core::risk::evidence::{Evidence, score_of};
use aegis_core::risk::sighting::{Class, Network, Seen, Sighting, client_hash, hash, operation_hash, pair};
use aegis_core::risk::stats::whole;
use std::collections::HashMap;
use std::fmt::Write;

/// Replays events in the order of their time.
#[derive(Debug, Default)]
pub struct Engine {
    watch: Watch,
    /// The human behind each actor, as far as seen.
    fleets: HashMap<u32, u32>,
    line: u32,
}

/// What one event amounts to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// 0 to 1.
    pub risk: f64,
    pub grade: Grade,
    /// The reasons, the weightiest first; without commas.
    pub reason: String,
    pub detectors: Vec<Detector>,
    pub evidence: Evidence,
}

impl Engine {
    pub fn observe(&mut self, event: &Event) -> Verdict {
        self.line = self.line.wrapping_add(1);
        let subject = self.subject(event);
        let judgement = self.watch.observe(&subject, &sighting(event, self.line));
        Verdict {
            risk: score_of(judgement.evidence.total()),
            grade: judgement.grade,
            reason: reason(&judgement.evidence),
            detectors: judgement.detectors,
            evidence: judgement.evidence,
        }
    }

    fn subject(&mut self, event: &Event) -> Subject {
        let actor = hash(event.actor.as_bytes());
        let parent = event.parent.as_ref().map(|parent| hash(parent.as_bytes()));
        let fleet = match (event.kind, parent) {
            (Kind::Human, _) => actor,
            // An agent's agent belongs to the human behind both.
            (_, Some(parent)) => self.fleets.get(&parent).copied().unwrap_or(parent),
            (_, None) => 0,
        };
        if fleet != 0 {
            self.fleets.insert(actor, fleet);
        }
        let template = parent.map_or(0, |parent| pair(parent, 1));
        Subject { actor, human: event.kind == Kind::Human, fleet, template }
    }
}

fn sighting(event: &Event, line: u32) -> Sighting {
    let of = |text: &Option<String>| text.as_ref().filter(|text| !text.is_empty()).map(|text| hash(text.as_bytes()));
    let address = event.source_ip.as_ref().and_then(|text| text.parse().ok());
    let elsewhere = || of(&event.source_ip).map(|near| Network { near, wide: near }).unwrap_or_default();
    let operation = event.op.to_ascii_lowercase();
    Sighting {
        id: line,
        at: i64::from(whole(event.ts)) * 1_000 + i64::from(whole(event.ts.rem_euclid(1.0) * 1_000.0)),
        key: of(&event.resource).unwrap_or(0),
        operation: operation_hash(&operation),
        class: Class::of(&operation),
        network: address.map(Network::of).unwrap_or_else(elsewhere),
        client: event.user_agent.as_ref().filter(|text| !text.is_empty()).map_or(0, |text| client_hash(text)),
        outcome: match event.outcome {
            Outcome::Ok => Seen::Ok,
            Outcome::Error => Seen::Error,
            Outcome::Denied => Seen::Denied,
        },
        scope: event.scope.unwrap_or(0),
    }
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
