//! The threshold of alerts, from the deployment's own days: of each actor-day only its highest evidence counts.
//!
//! A few of those days may hold attacks. The tail is therefore drawn through the bulk: from the 90th and the 98th
//! percentile on it is taken to fall exponentially, which decades of evidence do.

use aegis_core::risk::stats::{float, whole};

/// Alerts on healthy actor-days that are aimed at.
const AIM: f64 = 0.002;
/// Fewer actor-days than this say nothing of percentiles.
const ENOUGH: u64 = 200;
const STEP: f64 = 0.05;
const STEPS: usize = 400;

#[derive(Clone, Debug)]
pub(super) struct Calibration {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { counts: vec![0; STEPS], total: 0 }
    }
}

impl Calibration {
    /// One actor-day's highest evidence, in decades.
    pub(super) fn learn(&mut self, highest: f64) {
        let place = usize::try_from(whole(highest / STEP)).unwrap_or(usize::MAX).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    /// From how many decades on a healthy actor alerts on `AIM` of its days; within `least` and `most`.
    pub(super) fn threshold(&self, least: f64, most: f64) -> f64 {
        if self.total < ENOUGH {
            return f64::midpoint(least, most);
        }
        let (bulk, tail) = (self.percentile(0.90), self.percentile(0.98));
        let beyond = (0.10 / AIM).ln() / 5.0_f64.ln();
        (bulk + (tail - bulk) * beyond).clamp(least, most)
    }

    fn percentile(&self, share: f64) -> f64 {
        let wanted = share * float(self.total);
        let mut seen = 0.0;
        for (place, count) in (0_u32..).zip(&self.counts) {
            seen += float(*count);
            if seen >= wanted {
                return f64::from(place + 1) * STEP;
            }
        }
        f64::from(u16::MAX)
    }
}
