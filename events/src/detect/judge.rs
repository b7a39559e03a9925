//! What evidence amounts to: a grade, and the detectors that fire.

use aegis_core::recommendation::Detector;
use aegis_core::risk::evidence::{Channel, Evidence};
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    #[default]
    None,
    /// An alert, or a step-up: somebody is asked.
    Alert,
    /// A response that waits for nobody.
    Automatic,
}

impl From<Grade> for u8 {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::None => 0,
            Grade::Alert => 1,
            Grade::Automatic => 2,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub grade: Grade,
    /// Which families are above their thresholds.
    pub families: [bool; FAMILIES],
    /// What fired, the strongest first.
    pub detectors: Vec<Detector>,
}

/// Sorts of evidence with a threshold each, so that a quiet sort is not held to the noise of another: keys, operations,
/// places, pace, volume, hours, keys together with operations, all of it, and operations together with how many.
pub const FAMILIES: usize = 9;

pub fn sums(evidence: &Evidence) -> [f64; FAMILIES] {
    [
        evidence.of_keys(),
        evidence.of_operations(),
        evidence.of_places(),
        evidence.of_pace(),
        evidence.of_volume(),
        evidence.of_hours(),
        evidence.of_exploring(),
        evidence.total(),
        evidence.of_turning(),
    ]
}

/// From where on evidence alerts, and responds by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub alert: [f64; FAMILIES],
    pub automatic: [f64; FAMILIES],
}

/// Chosen on the train seeds of `aegis-bench-detect`, for five alerts in 1000 healthy agent-days and an automatic response
/// in 10,000. Those of keys, of keys with operations and of all of it stop machines a tenth and more later than the train
/// seeds ask for: there, each lay just above a healthy agent. How much alone, and the hour alone, never stop anybody.
const MACHINES: Thresholds = Thresholds {
    alert: [5.95, 3.5, 4.0, 4.8, 5.5, NEVER, 5.35, 5.95, 5.0],
    automatic: [6.8, 5.6, 5.6, 7.5, NEVER, NEVER, 6.2, 10.5, 6.0],
};
const HUMANS: Thresholds = Thresholds {
    alert: [4.4, 3.5, 3.2, 4.0, 5.2, 2.8, 4.3, 5.75, NEVER],
    automatic: [6.5, 8.5, 7.5, 8.0, NEVER, NEVER, 6.5, 9.5, NEVER],
};
const NEVER: f64 = f64::INFINITY;
/// About the 98th percentiles there.
pub const USUAL_MACHINES: [f64; FAMILIES] = [1.0, 0.55, 0.9, 1.55, 3.0, 1.0, 1.0, 3.3, 1.3];
pub const USUAL_HUMANS: [f64; FAMILIES] = [2.5, 1.8, 2.35, 1.5, 2.3, 2.0, 2.5, 4.4, 2.0];

/// More than one new key amounts to.
const SEVERAL_KEYS: f64 = 3.6;
/// Where they stand among the families.
const PLACES: usize = 2;
const PACE: usize = 3;
const ALL: usize = 7;
/// Requests in one second below which pace alone stops nobody.
const LEAST_BURST: u32 = 30;

impl Thresholds {
    pub fn of(human: bool) -> Self {
        if human { HUMANS } else { MACHINES }
    }

    /// As they are where healthy days are noisier, or quieter.
    #[must_use]
    pub fn scaled(mut self, factors: [f64; FAMILIES]) -> Self {
        for ((alert, automatic), factor) in self.alert.iter_mut().zip(&mut self.automatic).zip(factors) {
            *alert *= factor;
            *automatic *= factor;
        }
        self
    }
}

/// Judges evidence. While statistics are not believed yet, only what is extreme alerts, and only refusals stop anybody.
pub fn judge(evidence: &Evidence, thresholds: &Thresholds, believed: bool) -> Judgement {
    let sums = sums(evidence);
    let mut families = [false; FAMILIES];
    let mut grade = Grade::None;
    let limits = thresholds.alert.into_iter().zip(thresholds.automatic);
    for ((family, sum), (alert, automatic)) in families.iter_mut().zip(sums).zip(limits) {
        *family = sum >= alert;
        grade = grade.max(match sum {
            _ if sum >= automatic => Grade::Automatic,
            _ if sum >= alert => Grade::Alert,
            _ => Grade::None,
        });
    }
    // A single refusal may be a slip, however new the key is, and what asks for one wrong key over and over is a mistake more
    // often than not: what else is odd about the request decides.
    let [_, operations, places, pace, ..] = families;
    let refusal = evidence.of(Channel::Denied).weighed;
    // Whoever comes from where she never was is stopped whatever she asks for.
    let elsewhere = sums.into_iter().zip(thresholds.automatic).nth(PLACES).is_some_and(|(sum, limit)| sum >= limit);
    let in_all = thresholds.alert.get(ALL).is_some_and(|limit| evidence.total() - refusal >= *limit);
    let others = in_all || evidence.of_keys() - refusal >= SEVERAL_KEYS;
    if evidence.refused_now && evidence.refused_times < 2 && !(operations || places || pace || others) {
        grade = Grade::None;
    } else if evidence.refused_now && evidence.refused_keys < 2 && !elsewhere {
        grade = grade.min(Grade::Alert);
    }
    // Backfills and load tests are fast as well; a burst that stops somebody is beyond what one does by hand.
    let limits = sums.into_iter().zip(thresholds.automatic).enumerate();
    let only_pace = limits.into_iter().all(|(family, (sum, limit))| family == PACE || sum < limit);
    if grade == Grade::Automatic && only_pace && evidence.most_in_a_second < LEAST_BURST {
        grade = Grade::Alert;
    }
    // Who began only lately takes up what is new, and to itself nothing of it is.
    if evidence.borrowed {
        grade = grade.min(Grade::Alert);
    }
    // To look over which keys there are is part of the work of people, not of agents.
    if evidence.is_human() && evidence.looks && !evidence.refused_now && !elsewhere {
        grade = grade.min(Grade::Alert);
    }
    if !believed {
        grade = if evidence.total() >= 9.0 { Grade::Alert } else { Grade::None };
    }
    let policy = match (evidence.refused_now, evidence.refused_keys, evidence.refused_times) {
        (true, 2.., _) if evidence.refused_surely => Grade::Automatic,
        (true, 3.., _) => Grade::Automatic,
        (true, _, 2..) => Grade::Alert,
        _ => Grade::None,
    };
    let grade = grade.max(policy);
    let detectors = if grade == Grade::None { Vec::new() } else { fired(evidence) };
    Judgement { grade, families, detectors }
}

fn fired(evidence: &Evidence) -> Vec<Detector> {
    let mut by_strength: Vec<_> = evidence.iter().filter(|(_, reading)| reading.weighed >= 1.0).collect();
    by_strength.sort_by(|(_, a), (_, b)| b.weighed.total_cmp(&a.weighed));
    let mut detectors: Vec<Detector> = Vec::new();
    for (channel, _) in by_strength {
        let detector = match channel {
            Channel::Key | Channel::KeySet => Detector::KeySet,
            Channel::Use | Channel::Operation => Detector::NewOperation,
            Channel::Network | Channel::Client => Detector::NewSource,
            Channel::Burst | Channel::Volume if evidence.is_human() => Detector::HumanMachineRate,
            Channel::Burst | Channel::Volume | Channel::Mix => Detector::UsageSpike,
            Channel::Excess => Detector::LowAndSlow,
            Channel::Hour => Detector::OffHours,
            Channel::Denied if evidence.refused_keys >= 3 => Detector::ScopeProbe,
            Channel::Denied => Detector::ScopeViolation,
            Channel::Places => Detector::CredentialShared,
            Channel::Fleet => Detector::AgentsInConcert,
        };
        if !detectors.contains(&detector) {
            detectors.push(detector);
        }
    }
    detectors
}
