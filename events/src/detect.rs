//! The detectors: sightings in, judgements out. Pure; the same code runs over the journal and in replay.

mod calibration;
mod judge;
mod watch;

pub use judge::{Detector, Grade, Judgement};
pub use watch::{Subject, Watch};
