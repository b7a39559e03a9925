//! What a risk score leads to: allow, step-up, deny; by the key's tier, and for what destroys apart.

use crate::key::Tier;
use crate::record::Decision;
use serde::{Deserialize, Serialize};

/// From which score on a human is asked, and from which on a request is refused.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// 0 to 1; above 1: never.
    pub step_up: f64,
    /// At least as high.
    pub deny: f64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    pub standard: Threshold,
    /// Keys of tier high.
    pub high: Threshold,
    /// What takes a key out of use, whatever its tier: the lower of these and those of the tier.
    pub destructive: Threshold,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            standard: Threshold { step_up: 0.7, deny: 0.95 },
            high: Threshold { step_up: 0.5, deny: 0.9 },
            destructive: Threshold { step_up: 0.5, deny: 0.9 },
        }
    }
}

impl Thresholds {
    /// What a score leads to. `tier` is the key's, where there is one.
    pub fn decide(&self, score: f64, tier: Option<Tier>, destructive: bool) -> Decision {
        let by_tier = match tier {
            Some(Tier::High) => self.high,
            Some(Tier::Standard) | None => self.standard,
        };
        let threshold = match destructive {
            true => Threshold {
                step_up: by_tier.step_up.min(self.destructive.step_up),
                deny: by_tier.deny.min(self.destructive.deny),
            },
            false => by_tier,
        };
        match () {
            () if score >= threshold.deny => Decision::Deny,
            () if score >= threshold.step_up => Decision::StepUp,
            () => Decision::Allow,
        }
    }

    /// Why these cannot be.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = [("standard", self.standard), ("high", self.high), ("destructive", self.destructive)];
        for (name, threshold) in named {
            let above_zero = threshold.step_up > 0.0 && threshold.step_up.is_finite() && threshold.deny.is_finite();
            if !above_zero || threshold.deny < threshold.step_up {
                return Err(format!("thresholds.{name}: 0 < step_up <= deny must hold"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_score_leads_to() {
        let thresholds = Thresholds::default();
        let table = [
            (0.69, Some(Tier::Standard), false, Decision::Allow),
            (0.7, Some(Tier::Standard), false, Decision::StepUp),
            (0.95, None, false, Decision::Deny),
            (0.5, Some(Tier::High), false, Decision::StepUp),
            (0.9, Some(Tier::High), false, Decision::Deny),
            (0.49, Some(Tier::Standard), true, Decision::Allow),
            (0.5, Some(Tier::Standard), true, Decision::StepUp),
            (0.9, None, true, Decision::Deny),
        ];
        for (score, tier, destructive, want) in table {
            assert_eq!(thresholds.decide(score, tier, destructive), want, "{score} {tier:?} {destructive}");
        }
    }

    #[test]
    fn thresholds_out_of_order_are_refused() {
        for (step_up, deny) in [(0.0, 0.5), (0.6, 0.5), (f64::NAN, 0.9), (0.5, f64::INFINITY)] {
            let thresholds = Thresholds { high: Threshold { step_up, deny }, ..Thresholds::default() };
            assert!(thresholds.check().is_err(), "{step_up} {deny}");
        }
    }
}
