//! Recorded events, judged one after the other: what the detectors and the score say of a past that Aegis did not see.

pub mod cloudtrail;
mod engine;
pub mod event;
pub mod export;
mod responder;

pub use crate::detect::{Detector, Grade};
pub use engine::{Engine, OfFleet, Verdict};
pub use event::{Event, NoEvent};
pub use responder::{Raised, Responder};
