//! How noisy a deployment is, from its own days: of each actor-day only the highest evidence counts.
//!
//! A few of those days may hold attacks, for which the 98th percentile hardly moves. Thresholds follow the fourth root of
//! how it compares with that of the deployments they were chosen on, within bounds.

use super::judge::FAMILIES;
use aegis_core::risk::evidence::Evidence;
use aegis_core::risk::stats::{float, whole};
use std::collections::HashMap;

/// Fewer actor-days than this say nothing of a 98th percentile.
const ENOUGH: u64 = 300;
/// The least and the most that a threshold is multiplied by.
const LEAST: f64 = 0.7;
const MOST: f64 = 1.6;
const STEP: f64 = 0.05;
const STEPS: usize = 400;

/// What the days so far say; for machines or for humans.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    families: [Histogram; FAMILIES],
    open: HashMap<u64, (u32, [f64; FAMILIES])>,
    factors: Option<(u32, [f64; FAMILIES])>,
}

impl Calibration {
    /// Takes in the evidence of one request. A day counts once its actor is seen on a later one.
    pub fn learn(&mut self, actor: u64, day: u32, evidence: &Evidence, has_history: bool) {
        let sums = super::judge::sums(evidence);
        let (open, highest) = self.open.entry(actor).or_insert((day, [0.0; FAMILIES]));
        if *open != day {
            if has_history {
                self.families.iter_mut().zip(&*highest).for_each(|(family, highest)| family.learn(*highest));
            }
            (*open, *highest) = (day, [0.0; FAMILIES]);
        }
        highest.iter_mut().zip(sums).for_each(|(highest, sum)| *highest = highest.max(sum));
    }

    /// What thresholds are multiplied by, by family. Worked out once a day.
    pub fn factors(&mut self, day: u32, usual: [f64; FAMILIES]) -> [f64; FAMILIES] {
        match self.factors {
            Some((of, factors)) if of == day => factors,
            _ => {
                let mut factors = [1.0; FAMILIES];
                for ((factor, family), usual) in factors.iter_mut().zip(&self.families).zip(usual) {
                    if let Some(percentile) = family.percentile(0.98) {
                        *factor = (percentile / usual).sqrt().sqrt().clamp(LEAST, MOST);
                    }
                }
                self.factors = Some((day, factors));
                factors
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; STEPS], total: 0 }
    }
}

impl Histogram {
    fn learn(&mut self, highest: f64) {
        let place = usize::try_from(whole(highest / STEP)).unwrap_or(usize::MAX).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    /// `None` while there is not enough to tell.
    fn percentile(&self, share: f64) -> Option<f64> {
        if self.total < ENOUGH {
            return None;
        }
        let wanted = share * float(self.total);
        let mut seen = 0.0;
        for (place, count) in (0_u32..).zip(&self.counts) {
            seen += float(*count);
            if seen >= wanted {
                return Some(f64::from(place) * STEP);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_attacks_do_not_move_the_percentile_and_a_noisy_deployment_does() {
        let mut quiet = Histogram::default();
        (0..995).for_each(|_| quiet.learn(0.4));
        (0..5).for_each(|_| quiet.learn(9.0));
        assert!((quiet.percentile(0.99).unwrap() - 0.4).abs() < 1e-9);
        (0..20).for_each(|_| quiet.learn(5.0));
        assert!(quiet.percentile(0.99).unwrap() >= 5.0);
    }
}
