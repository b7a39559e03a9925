//! What evidence amounts to: a grade, and the detectors that fire.

use aegis_core::risk::evidence::{Channel, Evidence, Familiar};
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

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    AgentSpawnRate,
    AgentsInConcert,
    CredentialShared,
    HumanMachineRate,
    KeySet,
    LowAndSlow,
    NewOperation,
    NewSource,
    OffHours,
    ScopeProbe,
    ScopeViolation,
    UsageSpike,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub evidence: Evidence,
    pub grade: Grade,
    /// What fired, the strongest first.
    pub detectors: Vec<Detector>,
}

/// Evidence of one sort, added up, and from where on it alerts and responds: for machines, for humans.
///
/// Each sort has its own threshold, so that a quiet sort is not held to the noise of another. They are the 99.8th and
/// the 99.99th percentiles of healthy agent-days on the train seeds of `aegis-bench-detect`.
const FAMILIES: [(fn(&Evidence) -> f64, [f64; 2], [f64; 2]); 5] = [
    (Evidence::of_keys, [4.4, 9.0], [4.0, 9.0]),
    (Evidence::of_operations, [3.4, 6.5], [3.4, 7.0]),
    (Evidence::of_places, [2.8, 6.0], [3.8, 7.5]),
    (Evidence::of_pace, [3.2, 7.5], [3.5, 8.0]),
    (Evidence::of_volume, [5.6, 20.0], [5.6, 20.0]),
];

pub(super) fn judge(evidence: Evidence, alert: f64, burn_in: bool, human: bool) -> Judgement {
    let total = evidence.total();
    let mut statistical = match total {
        _ if total >= 10.0 => Grade::Automatic,
        _ if total >= alert => Grade::Alert,
        _ => Grade::None,
    };
    for (of, machines, humans) in FAMILIES {
        let (sum, [alert, automatic]) = (of(&evidence), if human { humans } else { machines });
        let grade = match sum {
            _ if sum >= automatic => Grade::Automatic,
            _ if sum >= alert => Grade::Alert,
            _ => Grade::None,
        };
        statistical = statistical.max(grade);
    }
    if burn_in {
        statistical = if total >= 9.0 { Grade::Alert } else { Grade::None };
    }
    let strange = evidence.refused_of != Familiar::Fleet;
    let policy = match (evidence.refused_now, evidence.refused_keys, evidence.refused_times) {
        (true, 2.., _) => Grade::Automatic,
        (true, _, 3..) if strange => Grade::Automatic,
        (true, _, 2..) => Grade::Alert,
        _ => Grade::None,
    };
    let grade = statistical.max(policy);
    let detectors = if grade == Grade::None { Vec::new() } else { fired(&evidence) };
    Judgement { evidence, grade, detectors }
}

fn fired(evidence: &Evidence) -> Vec<Detector> {
    let mut by_strength: Vec<_> = evidence.iter().filter(|(_, reading)| reading.decades >= 1.0).collect();
    by_strength.sort_by(|(_, a), (_, b)| b.decades.total_cmp(&a.decades));
    let mut detectors: Vec<Detector> = Vec::new();
    for (channel, _) in by_strength {
        let detector = match channel {
            Channel::Key | Channel::KeySet => Detector::KeySet,
            Channel::Use | Channel::Operation => Detector::NewOperation,
            Channel::Network | Channel::Client => Detector::NewSource,
            Channel::Burst | Channel::Volume => Detector::UsageSpike,
            Channel::Excess => Detector::LowAndSlow,
            Channel::Hour => Detector::OffHours,
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
