//! What was done lately: cooldowns, and the budget of automatic stops. Pure; it is written in one transaction with what it
//! lets through, so that nothing is lost. That a recommendation is answered once, its own document sees to.

use super::plan::Plan;
use super::rule::{RuleAction, RuleName};
use crate::ambient::Timestamp;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most cooldowns remembered; beyond it the one that began first is forgotten. At their longest they, and the rest, stay
/// below the 64 KiB of an item.
const MAX_COOLDOWNS: usize = 128;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// One small document of a deployment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResponseLedger {
    /// When a rule last acted on a subject.
    #[serde(default)]
    cooldowns: BTreeMap<RuleName, BTreeMap<String, Cooldown>>,
    /// When somebody was stopped for what is merely unlikely.
    #[serde(default)]
    stops: Vec<Timestamp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Cooldown {
    since: Timestamp,
    minutes: u32,
}

/// What is carried out of a plan, and what is not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Admission {
    pub carried_out: Vec<RuleAction>,
    pub suppressed: Vec<Suppressed>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Suppressed {
    pub action: RuleAction,
    pub because: Because,
}

/// Why something that a rule orders is not done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Enough were stopped in this hour without a human.
    Budget,
    /// The rule acted on the same subject a short while ago.
    Cooldown,
    /// The rule, or all rules, only observe.
    Observe,
    /// What records tell that an older or a newer version wrote.
    #[serde(other)]
    Other,
}

impl Because {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Cooldown => "cooldown",
            Self::Observe => "observe",
            Self::Other => "other",
        }
    }
}

impl ResponseLedger {
    /// Decides what of `plan` is carried out about `subject`, the agent or the human where there is none, and remembers it.
    /// What the decision itself did ([`Plan::at_once`]) is in the answer, too: neither cooldown nor budget holds it back.
    pub fn admit(&mut self, plan: &Plan, subject: &str, now: Timestamp) -> Admission {
        self.forget_what_is_over(now);
        let cooling = self.is_cooling(plan, subject, now);
        let spent = plan.per_hour.is_some_and(|most| self.stops_within_an_hour(now) >= most);
        let mut admission = Admission::default();
        for action in plan.actions.iter().copied() {
            let because = match () {
                () if plan.observe && action != RuleAction::Alert => Some(Because::Observe),
                () if plan.is_at_once(action) => None,
                () if cooling => Some(Because::Cooldown),
                () if spent && action.stops() => Some(Because::Budget),
                () => None,
            };
            match because {
                None => admission.carried_out.push(action),
                Some(because) => admission.suppressed.push(Suppressed { action, because }),
            }
        }
        let withheld = admission.suppressed.iter().any(|suppressed| suppressed.because == Because::Budget);
        if withheld && !admission.carried_out.contains(&RuleAction::Alert) {
            admission.carried_out.push(RuleAction::Alert);
        }
        if plan.per_hour.is_some() && admission.carried_out.iter().any(|action| action.stops()) {
            self.stops.push(now);
        }
        // What the budget withheld is tried again with the next recommendation.
        if plan.cooldown_minutes > 0 && !cooling && !withheld {
            self.cool(plan, subject, now);
        }
        admission
    }

    /// Times may come out of order, and a clock may be set: what lies near in either direction counts, and is kept for
    /// twice as long as it is needed.
    fn forget_what_is_over(&mut self, now: Timestamp) {
        self.stops.retain(|at| distance(*at, now) < HOUR.saturating_mul(2));
        for cooling in self.cooldowns.values_mut() {
            cooling.retain(|_, cooldown| cooldown.holds(now));
        }
        self.cooldowns.retain(|_, cooling| !cooling.is_empty());
    }

    fn stops_within_an_hour(&self, now: Timestamp) -> u32 {
        let near = self.stops.iter().filter(|at| distance(**at, now) < HOUR).count();
        u32::try_from(near).unwrap_or(u32::MAX)
    }

    fn is_cooling(&self, plan: &Plan, subject: &str, now: Timestamp) -> bool {
        let cooldown = self.cooldowns.get(&plan.rule).and_then(|cooling| cooling.get(subject));
        cooldown.is_some_and(|cooldown| cooldown.holds(now))
    }

    fn cool(&mut self, plan: &Plan, subject: &str, now: Timestamp) {
        while self.cooldowns.values().map(BTreeMap::len).sum::<usize>() >= MAX_COOLDOWNS {
            let all = self.cooldowns.iter();
            let all =
                all.flat_map(|(rule, cooling)| cooling.iter().map(move |(whom, since)| (since.since, rule, whom)));
            let Some((_, rule, whom)) = all.min() else { break };
            let (rule, whom) = (rule.clone(), whom.clone());
            if let Some(cooling) = self.cooldowns.get_mut(&rule) {
                cooling.remove(&whom);
            }
        }
        let cooldown = Cooldown { since: now, minutes: plan.cooldown_minutes };
        self.cooldowns.entry(plan.rule.clone()).or_default().insert(subject.to_string(), cooldown);
    }
}

impl Cooldown {
    fn holds(self, now: Timestamp) -> bool {
        distance(self.since, now) < SignedDuration::from_mins(self.minutes.into())
    }
}

fn distance(a: Timestamp, b: Timestamp) -> SignedDuration {
    a.duration_since(b).abs()
}
