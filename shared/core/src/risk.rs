//! The risk of a request: 0..1, with the reasons it is made of. Pure: no clock, no I/O, no randomness.
//!
//! Two parts add up: how unusual the request is for its actor (`evidence`, from the actor's [`Baseline`]), and what is
//! known of it without any history (how broad the scope is, how old the credential, what hangs on the key).

pub mod baseline;
mod codec;
pub mod evidence;
pub mod pool;
pub mod sighting;
pub mod state;
pub mod stats;
pub mod table;
pub mod used;
pub mod weigh;
pub mod window;

use crate::ambient::Timestamp;
use crate::heartbeat::MAX_DETECTION_LAG;
use crate::key::{Environment, Tier};
pub use baseline::{Accepted, Baseline};
pub use codec::{MOST_BYTES, UnknownBaseline};
use evidence::Channel;
pub use evidence::{Evidence, Surroundings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use sighting::Sighting;
pub use state::State;

/// The score is the sum of the factors' weights, at most 1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Risk {
    #[schemars(range(min = 0.0, max = 1.0))]
    pub score: f64,
    pub factors: Vec<Factor>,
}

/// One reason for a score.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Factor {
    pub factor: FactorName,
    pub observed: f64,
    /// What would add nothing.
    pub expected: f64,
    /// What this adds to the score.
    pub weight: f64,
    /// Whole seconds within which `observed` was counted, of a burst and a volume; of those that count the one that weighs most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<u32>,
}

impl Factor {
    pub fn new(factor: FactorName, observed: f64, expected: f64, weight: f64) -> Self {
        Self { factor, observed, expected, weight, within_seconds: None }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorName {
    /// Requests in a second, ten seconds or a minute.
    Burst,
    /// Seconds since the credential was issued.
    CredentialAge,
    /// Seconds that detection lies behind, where that is too much.
    DetectionBlind,
    /// How much hangs on the key's environment: development 0, staging 1, production 2.
    Environment,
    /// The key's environment, beside the one that the agent is for, in the same numbers.
    EnvironmentMismatch,
    /// Decades by which all agents of the human together exceed what is usual.
    Fleet,
    /// The hour of the day, UTC; expected is the chance of activity in it.
    HourOfDay,
    /// Distinct keys within the hour.
    KeySet,
    /// Whether others can use the key at its back end without Aegis: no 0, yes 1.
    KeyShared,
    /// The key's tier: standard 0, high 1.
    KeyTier,
    /// Clients of the day that the actor has not used before.
    NewClient,
    /// Keys of the day that the actor has not used before.
    NewKey,
    /// Operations of the day that the actor has not used before.
    NewOperation,
    /// Networks of the day that the actor has not come from before.
    NewSource,
    /// Operations of the day on keys that the actor has not used them on before.
    NewUse,
    /// Operations of one sort, to make something or to take something out, in an hour or a day.
    OperationMix,
    /// Keys of the day that the actor was refused and never allowed.
    Refusals,
    /// Keys and labels the scope names.
    ScopeBreadth,
    /// Hourly excess over the profile, summed up, in standard deviations.
    SustainedExcess,
    /// How often a new network and a known one took turns.
    TwoPlaces,
    /// Requests in ten minutes, an hour or a day.
    Volume,
}

/// Minutes in a day.
pub const DAY: u32 = 1_440;

/// What is known of a request when it is scored. What is not known adds nothing.
#[derive(Clone, Debug, Default)]
pub struct Observation<'a> {
    /// `None` for a human, who has no scope.
    pub scope_breadth: Option<usize>,
    pub credential_issued_at: Timestamp,
    /// Which environment the agent is for, where that is said.
    pub environment: Option<Environment>,
    /// `None` where no existing key is used.
    pub key: Option<OfKey>,
    pub now: Timestamp,
    /// Seconds that detection lies behind, where that is too much.
    pub detection_lag: Option<i64>,
    /// The request as behaviour, and whose behaviour it is held against.
    pub behaviour: Option<Behaviour<'a>>,
}

/// What hangs on a key, and who else has it.
#[derive(Clone, Copy, Debug)]
pub struct OfKey {
    pub environment: Environment,
    pub tier: Tier,
    pub shared: bool,
}

/// A request, and what is known of its actor. A snapshot may lag behind the stream; the live counts make up for it.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour<'a> {
    pub sighting: &'a Sighting,
    pub state: &'a State,
    /// Of the agents with the same parent and purpose, or of the nearest agent above that has a history: stands in while the
    /// actor has too little of its own.
    pub template: Option<&'a State>,
    /// All agents of the human together, and their live counts: a burst that is split over sub-agents is one burst.
    pub fleet: Option<(&'a State, Live)>,
    pub surroundings: Surroundings,
    pub live: Live,
}

/// What the live counters of an actor hold, this request included; 0 where there are none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Live {
    pub second: u32,
    pub ten_seconds: u32,
    pub minute: u32,
}

/// Scores an observation.
pub fn score(observation: &Observation<'_>) -> Risk {
    let age = observation.now.as_second().saturating_sub(observation.credential_issued_at.as_second());
    let age = f64::from(i32::try_from(age).unwrap_or(i32::MAX));
    let breadth = observation.scope_breadth.map(|keys| f64::from(u16::try_from(keys).unwrap_or(u16::MAX)));
    let of_key = observation.key.map(|key| {
        let rank = |environment: Environment| f64::from(environment.rank());
        let environment = rank(key.environment);
        let meant = observation.environment.map_or(environment, rank);
        let tier = if key.tier == Tier::High { 1.0 } else { 0.0 };
        let shared = if key.shared { 1.0 } else { 0.0 };
        let factor = |factor, observed, weight| Factor::new(factor, observed, 0.0, observed * weight);
        [
            factor(FactorName::Environment, environment, 0.01),
            Factor::new(FactorName::EnvironmentMismatch, environment, meant, (environment - meant).abs() * 0.1),
            factor(FactorName::KeyTier, tier, 0.05),
            factor(FactorName::KeyShared, shared, 0.03),
        ]
    });
    let context = [
        Some(Factor::new(FactorName::CredentialAge, age, 3_600.0, ramp(age, 3_600.0, 86_400.0) * 0.1)),
        breadth.map(|keys| Factor::new(FactorName::ScopeBreadth, keys, 4.0, ramp(keys, 4.0, 64.0) * 0.1)),
        observation.detection_lag.map(|lag| {
            let [lag, most] = [lag, MAX_DETECTION_LAG].map(|lag| f64::from(i32::try_from(lag).unwrap_or(i32::MAX)));
            Factor::new(FactorName::DetectionBlind, lag, most, 0.1)
        }),
    ];
    let context = context.into_iter().flatten().chain(of_key.into_iter().flatten());
    let mut factors: Vec<Factor> = context.filter(|factor| factor.weight > 0.0).collect();
    if let Some(behaviour) = &observation.behaviour {
        factors.extend(behaviour.evidence().factors());
    }
    // To thousandths, so that what is shown of them adds up.
    factors.iter_mut().for_each(|factor| factor.weight = (factor.weight * 1_000.0).round() / 1_000.0);
    factors.retain(|factor| factor.weight != 0.0);
    // Folded from 0: the sum of nothing is -0.
    let sum = factors.iter().fold(0.0, |sum, factor| sum + factor.weight);
    // Thousandths do not add up in binary: the sum is one again.
    let sum = (sum * 1_000.0).round() / 1_000.0;
    Risk { score: sum.clamp(0.0, 1.0), factors }
}

impl Behaviour<'_> {
    /// How unusual the request is for its actor.
    pub fn evidence(&self) -> Evidence {
        let minute = baseline::minute_of(self.sighting.at);
        let own = self.state.baseline_at(minute);
        let mut evidence = self.state.weigh(self.sighting, &self.surroundings);
        evidence.raise_pace(own, self.live);
        let young = 1.0 - weigh::history(own);
        // Who splits a burst takes new agents for it, or is faster than ever with each. One that goes on as it always did
        // is not held against what its siblings do.
        let takes_part = young > 0.0 || evidence.of(Channel::Burst).decades > 0.0;
        if let Some((fleet, live)) = self.fleet.filter(|_| takes_part) {
            evidence.raise_pace(fleet.baseline_at(minute), live);
        }
        let template = self.template.map(|template| template.baseline_at(minute));
        match template.filter(|template| weigh::history(template) >= 1.0) {
            _ if young <= 0.0 => {}
            Some(template) => evidence.blend(&self.state.weigh_by(template, self.sighting, &self.surroundings), young),
            None => evidence.blend_organisation(own, self.sighting, &self.surroundings, young),
        }
        evidence
    }
}

/// 0 up to `from`, 1 from `to` on, straight between.
fn ramp(x: f64, from: f64, to: f64) -> f64 {
    ((x - from) / (to - from)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fresh_narrow_credential_has_no_risk() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let observation =
            Observation { scope_breadth: Some(1), credential_issued_at: now, now, ..Observation::default() };
        assert_eq!(serde_json::to_string(&score(&observation)).unwrap(), r#"{"score":0.0,"factors":[]}"#);
    }

    #[test]
    fn what_hangs_on_the_key_counts() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let table = [
            (Environment::Development, Tier::Standard, false, 0.0),
            (Environment::Staging, Tier::Standard, false, 0.01),
            (Environment::Production, Tier::Standard, false, 0.02),
            (Environment::Production, Tier::High, false, 0.07),
            (Environment::Production, Tier::High, true, 0.1),
            (Environment::Development, Tier::Standard, true, 0.03),
        ];
        for (environment, tier, shared, expected) in table {
            let key = Some(OfKey { environment, tier, shared });
            let observation = Observation { credential_issued_at: now, key, now, ..Observation::default() };
            assert_eq!(score(&observation).score, expected, "{key:?}");
        }
    }

    #[test]
    fn a_key_of_another_environment_than_the_agent_is_for_counts() {
        use Environment::{Development, Production, Staging};
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let table = [
            (Some(Staging), Production, 0.1, 0.12),
            (Some(Development), Production, 0.2, 0.22),
            (Some(Development), Staging, 0.1, 0.11),
            (Some(Production), Development, 0.2, 0.2),
            (Some(Production), Production, 0.0, 0.02),
            (None, Production, 0.0, 0.02),
        ];
        for (environment, of_key, weight, score_) in table {
            let key = Some(OfKey { environment: of_key, tier: Tier::Standard, shared: false });
            let risk =
                score(&Observation { credential_issued_at: now, environment, key, now, ..Observation::default() });
            let found = risk.factors.iter().find(|factor| factor.factor == FactorName::EnvironmentMismatch);
            assert_eq!(found.map_or(0.0, |found| found.weight), weight, "{environment:?} {of_key:?}");
            assert_eq!(risk.score, score_, "{environment:?} {of_key:?}");
        }
    }

    proptest! {
        #[test]
        fn the_score_is_the_sum_of_its_factors_and_within_bounds(
            breadth in 0..5_000_usize,
            age in 0..10_000_000_i64,
            high in any::<bool>(),
            blind in any::<bool>(),
            meant in proptest::option::of(Just(Environment::Development)),
        ) {
            let now = Timestamp::from_second(1_790_000_000).unwrap();
            let issued = Timestamp::from_second(1_790_000_000 - age).unwrap();
            let tier = if high { Tier::High } else { Tier::Standard };
            let key = Some(OfKey { environment: Environment::Production, tier, shared: high });
            let observation = Observation {
                scope_breadth: Some(breadth),
                credential_issued_at: issued,
                environment: meant,
                key,
                now,
                detection_lag: blind.then_some(400),
                behaviour: None,
            };
            let risk = score(&observation);
            prop_assert!((0.0..=1.0).contains(&risk.score));
            let sum: f64 = risk.factors.iter().map(|factor| factor.weight).sum();
            prop_assert!((sum - risk.score).abs() < 1e-9);
        }
    }
}
