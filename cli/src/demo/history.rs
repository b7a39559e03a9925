//! Weeks of an agent's normal work, as the audit records that a deployment has of it.

use super::stage::{ALICE, Cast, Stage};
use crate::Failure;
use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::id::{RecordId, RequestId};
use aegis_core::name::HumanId;
use aegis_core::operation::Operation;
use aegis_core::record::{AuditRecord, Plane};
use std::net::IpAddr;

const HOUR: i64 = 3_600;
/// Between two signatures of a batch, in seconds.
pub(super) const APART: i64 = 7;

/// When an agent works, how much, and from where.
pub(super) struct Habit<'a> {
    pub(super) cast: &'a Cast,
    pub(super) place: ([u8; 4], &'static str),
    pub(super) shift: Shift,
}

#[derive(Clone, Copy)]
pub(super) enum Shift {
    /// From 22 to 6, every day: three signatures on the hour.
    Night,
    /// From 8 to 18, Monday to Friday: one to three signatures at some time of the hour.
    Office,
}

/// The records of what somebody does by habit between two moments.
pub(super) fn records(
    stage: &Stage,
    habit: &Habit<'_>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<AuditRecord>, Failure> {
    let human: HumanId = ALICE.parse().map_err(|error| Failure::because("the human's name", &error))?;
    let hours = from.as_second().div_euclid(HOUR)..to.as_second().div_euclid(HOUR);
    let mut records = Vec::new();
    for second in hours.flat_map(|hour| habit.shift.seconds(hour)) {
        let at = after_seconds(Timestamp::UNIX_EPOCH, second);
        let (id, request) = (RecordId::new(at, stage.entropy()), RequestId::new(at, stage.entropy()));
        records.push(AuditRecord {
            human: Some(human.clone()),
            agents: vec![habit.cast.id.clone()],
            key: Some(habit.cast.key.clone()),
            key_version: Some(1),
            source: Some(IpAddr::from(habit.place.0)),
            user_agent: Some(habit.place.1.to_string()),
            ..AuditRecord::new(id, at, Operation::KeySign, Plane::Rest, request)
        });
    }
    Ok(records)
}

impl Shift {
    /// The seconds of an hour, both since 1970, in which there is a signature.
    fn seconds(self, hour: i64) -> impl Iterator<Item = i64> {
        // 1970 began on a Thursday.
        let (weekday, of_day) = (hour.div_euclid(24).saturating_add(3).rem_euclid(7), hour.rem_euclid(24));
        let (count, begins) = match self {
            Self::Night if !(6..22).contains(&of_day) => (3, 0),
            Self::Office if weekday < 5 && (8..18).contains(&of_day) => {
                (scatter(hour).rem_euclid(3).saturating_add(1), scatter(hour).rem_euclid(HOUR - 60))
            }
            _ => (0, 0),
        };
        let first = hour.saturating_mul(HOUR).saturating_add(begins);
        (0..count).map(move |n| first.saturating_add(n * APART))
    }
}

/// The same number for the same hour, and another for the next: the story is the same each time.
fn scatter(hour: i64) -> i64 {
    hour.wrapping_mul(6_364_136_223_846_793_005) >> 33
}
