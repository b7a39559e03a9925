//! Who judges: the engine, and what it is compared with.

pub(crate) mod rules;
pub(crate) mod trees;

use aegis_events::replay::{Detector, Engine, Event, Grade};

/// Sees the events of one organisation in the order of their time, and no labels.
pub(crate) trait Judge {
    fn judge(&mut self, event: &Event) -> Ruling;
}

#[derive(Clone, Copy)]
pub(crate) struct Ruling {
    /// 0 to 1.
    pub(crate) risk: f64,
    pub(crate) grade: Grade,
    pub(crate) cause: Option<Detector>,
}

impl Judge for Engine {
    fn judge(&mut self, event: &Event) -> Ruling {
        let verdict = self.observe(event);
        Ruling { risk: verdict.risk, grade: verdict.grade, cause: verdict.detectors.first().copied() }
    }
}
