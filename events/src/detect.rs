//! The detectors: sightings in, judgements out. Pure; the same code runs over the journal and in replay.

mod advice;
mod calibration;
mod consumer;
mod fleet;
mod judge;
mod record;
#[cfg(test)]
mod tests;
mod watch;

pub use advice::{severity, suggested};
pub use aegis_core::recommendation::Detector;
pub use calibration::Calibration;
pub use consumer::{Consumer, Finding};
pub use fleet::fired as fired_of_fleet;
pub use judge::{FAMILIES, Grade, Judgement, Thresholds, USUAL_HUMANS, USUAL_MACHINES, judge, sums};
pub use record::{StateId, key, seen, sighting, states};
pub use watch::{Subject, Watch};
