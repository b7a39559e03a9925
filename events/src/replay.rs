//! Recorded events, judged one after the other: what the detectors and the score say of a past that Aegis did not see.

pub mod event;
