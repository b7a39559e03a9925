//! The detectors: sightings in, judgements out. Pure; the same code runs over the journal and in replay.

mod calibration;
mod judge;
mod watch;

pub use calibration::Calibration;
pub use judge::{
    Detector, FAMILIES, Grade, Judgement, Thresholds, USUAL_HUMANS, USUAL_MACHINES, judge, sums,
};
pub use watch::{Subject, Watch};
