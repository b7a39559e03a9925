//! What the story of the burst comes to.

use crate::demo::render::sum;
use crate::demo::scribe::{Event, Fact};
use aegis_core::recommendation::Severity;
use aegis_core::risk::Risk;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub(in crate::demo) struct Story {
    pub(in crate::demo) events: Vec<Event>,
    pub(in crate::demo) facts: Vec<Fact>,
    /// Signatures of normal work on record before the burst.
    pub(in crate::demo) recorded: usize,
    pub(in crate::demo) burst: Burst,
    pub(in crate::demo) sibling: Sibling,
    pub(in crate::demo) recommendations: Vec<Found>,
    /// The agent at the end.
    pub(in crate::demo) state: String,
}

/// What came of the burst.
#[derive(Debug, Default, Serialize)]
pub(in crate::demo) struct Burst {
    pub(in crate::demo) attempts: u32,
    pub(in crate::demo) released: u32,
    /// Of those, before anything of it was refused.
    pub(in crate::demo) released_before_refusal: u32,
    /// From the first attempt, by the story's clock.
    pub(in crate::demo) first_refusal_ms: Option<f64>,
    pub(in crate::demo) last_release_ms: f64,
    /// Of the first refusal.
    pub(in crate::demo) risk: Risk,
    pub(in crate::demo) refusals: BTreeMap<String, u32>,
}

/// What the same human's other agent could do all the while.
#[derive(Debug, Default, Serialize)]
pub(in crate::demo) struct Sibling {
    pub(in crate::demo) before: u32,
    /// In the minute of the burst.
    pub(in crate::demo) during: u32,
    pub(in crate::demo) after: u32,
    pub(in crate::demo) refused: u32,
    pub(in crate::demo) highest_risk: f64,
}

/// A recommendation, and what was done about it.
#[derive(Debug, Serialize)]
pub(in crate::demo) struct Found {
    pub(in crate::demo) detector: String,
    pub(in crate::demo) severity: Severity,
    pub(in crate::demo) agent: String,
    pub(in crate::demo) responses: Vec<String>,
}

impl Story {
    /// A line each.
    pub(in crate::demo) fn figures(&self) -> Vec<(&'static str, String)> {
        let (burst, sibling) = (&self.burst, &self.sibling);
        let refusals = burst.refusals.iter().map(|(reason, count)| format!("{count} {reason}"));
        vec![
            ("attempts", format!("{}, 80 a second", burst.attempts)),
            (
                "released",
                format!("{}, of which {} before the first refusal", burst.released, burst.released_before_refusal),
            ),
            (
                "first refusal",
                burst.first_refusal_ms.map_or("never".to_string(), |ms| format!("{ms} ms after the first attempt")),
            ),
            ("its risk", sum(&burst.risk)),
            ("refused", refusals.collect::<Vec<_>>().join(", ")),
            ("recommendations", self.recommendations.len().to_string()),
            ("invoice-signer now", self.state.clone()),
            (
                "ledger-sealer",
                format!(
                    "{} before, {} during, {} after; {} refused; risk at most {:.3}",
                    sibling.before, sibling.during, sibling.after, sibling.refused, sibling.highest_risk
                ),
            ),
        ]
    }
}
