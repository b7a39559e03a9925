//! What is usual for an agent or a human, in words: the baseline that requests are weighed against. Keys, addresses and
//! clients are known to it by their hashes alone, so they are counted and not named.

use crate::ambient::{DateTime, Timestamp};
use crate::behaviour::{encoded, item};
use crate::error::Error;
use crate::operation::Operation;
use crate::pipeline::{App, Done, Found, Permit};
use crate::risk::baseline::{self, Baseline, Peak};
use crate::risk::sighting::operation_hash;
use crate::risk::state::State;
use schemars::JsonSchema;
use serde::Serialize;

/// What is usual for one actor. Hours and days are of UTC; what lies back counts less.
#[derive(Debug, Default, JsonSchema, Serialize)]
pub struct Usual {
    pub actor: String,
    /// The minute of its first request that taught anything. Absent while nothing is known: then it is weighed by what its
    /// like and the organisation do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
    /// The minute up to which it holds what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub through: Option<Timestamp>,
    /// Days with activity, decayed.
    pub active_days: f64,
    /// How many keys it remembers one by one: those used most, at most 36.
    pub keys: usize,
    /// What it does, the most frequent first; at most 10.
    pub operations: Vec<UsualOperation>,
    /// How many networks it comes from: near ones (/24 or /64) and wide ones together.
    pub networks: usize,
    /// How many clients it comes with, versions apart.
    pub clients: usize,
    pub weekdays: UsualDay,
    pub weekends: UsualDay,
    /// The usual highest of a day.
    pub peaks: UsualPeaks,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct UsualOperation {
    /// `other` for what is no operation of Aegis: from a replayed export of something else.
    pub operation: String,
    /// Days on which it was done, decayed.
    pub days: f64,
    /// The hour of the last time.
    #[schemars(with = "DateTime")]
    pub last_at: Timestamp,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct UsualDay {
    /// Requests of a typical such day: the geometric mean.
    pub requests: f64,
    /// Of each hour, on what share of such days something happened.
    #[schemars(length(equal = 24))]
    pub hours: Vec<f64>,
}

#[derive(Debug, Default, JsonSchema, Serialize)]
pub struct UsualPeaks {
    pub per_second: f64,
    pub per_ten_seconds: f64,
    pub per_minute: f64,
    pub per_ten_minutes: f64,
    pub per_hour: f64,
    pub per_day: f64,
    /// Different keys.
    pub keys_per_hour: f64,
}

/// Shows what is usual for the agent, or the human, the path names. Changes nothing, and teaches nothing.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn usual(app: &App, permit: &Permit) -> Result<Done<Usual>, Error> {
    let actor = match permit.found() {
        Found::Agent { id, .. } => id.to_string(),
        Found::Human { id, .. } => id.to_string(),
        _ => return Err(Error::NotFound { kind: "actor" }),
    };
    let name = item(&format!("actor/{actor}"));
    let read = app.store.batch_get(std::slice::from_ref(&name)).await?;
    let state = read.find(&name).map(|stored| encoded(stored)).transpose()?;
    // One that this program cannot read is as good as none, as it is to the score.
    let state = state.and_then(|bytes| State::decode(&bytes).ok()).unwrap_or_default();
    Ok(Done::read(Usual::of(actor, state.baseline())))
}

impl Usual {
    fn of(actor: String, baseline: &Baseline) -> Self {
        if baseline.through == 0 {
            return Self { actor, ..Self::default() };
        }
        let mut operations: Vec<UsualOperation> = baseline
            .operations
            .iter()
            .map(|entry| UsualOperation {
                operation: name_of(entry.value),
                days: rounded(entry.weight()),
                last_at: minute(entry.last.saturating_mul(60)),
            })
            .collect();
        operations.sort_by(|a, b| b.days.total_cmp(&a.days).then_with(|| a.operation.cmp(&b.operation)));
        Self {
            actor,
            since: Some(minute(baseline.born)),
            through: Some(minute(baseline.through)),
            active_days: rounded(f64::from(baseline.days)),
            keys: baseline.keys.len(),
            operations,
            networks: baseline.networks.len(),
            clients: baseline.clients.len(),
            weekdays: UsualDay::of(baseline, false),
            weekends: UsualDay::of(baseline, true),
            peaks: UsualPeaks::of(&baseline.peaks, baseline.days),
        }
    }
}

impl Default for UsualDay {
    fn default() -> Self {
        Self { requests: 0.0, hours: vec![0.0; 24] }
    }
}

impl UsualDay {
    fn of(baseline: &Baseline, weekend: bool) -> Self {
        let place = usize::from(weekend);
        let days = f64::from(baseline.day_types.get(place).copied().unwrap_or(0.0));
        let hours = baseline.hours.get(place).copied().unwrap_or_default();
        let [sum, _] = baseline.daily.get(place).copied().unwrap_or_default().map(f64::from);
        let of_days = |sum: f64| if days > 0.0 { sum / days } else { 0.0 };
        Self {
            requests: rounded(of_days(sum).exp2() - 1.0),
            hours: hours.iter().map(|weight| rounded(of_days(f64::from(*weight) / 1_024.0).min(1.0))).collect(),
        }
    }
}

impl UsualPeaks {
    fn of(peaks: &[Peak], days: f32) -> Self {
        let mut usual = peaks.iter().map(|peak| rounded(baseline::usual(peak, days)));
        let mut next = || usual.next().unwrap_or(0.0);
        Self {
            per_second: next(),
            per_ten_seconds: next(),
            per_minute: next(),
            per_ten_minutes: next(),
            per_hour: next(),
            per_day: next(),
            keys_per_hour: next(),
        }
    }
}

fn name_of(hash: u32) -> String {
    let found = Operation::ALL.iter().find(|operation| operation_hash(operation.as_str()) == hash);
    found.map_or_else(|| "other".to_string(), ToString::to_string)
}

fn minute(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute).saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Enough of it to read.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Asked;
    use crate::risk::DAY;
    use std::net::IpAddr;

    #[test]
    fn an_actor_without_a_past_has_nothing_that_is_usual() {
        let usual = Usual::of("alice@org".into(), &Baseline::default());
        assert!(usual.since.is_none() && usual.operations.is_empty());
        assert_eq!(usual.weekdays.hours, [0.0; 24], "as the schema says");
    }

    /// Ten days, each with an hour of signing from nine o'clock on; on the last one it verifies, too.
    #[test]
    fn what_is_told_is_what_was_done() {
        let mut state = State::default();
        // A Monday.
        let first: u32 = 20_605;
        let mut id = 0;
        for day in first..first + 10 {
            for n in 0..30 {
                let operations: &[Operation] = match (day - first, n) {
                    (9, 0) => &[Operation::KeySign, Operation::KeyVerify],
                    _ => &[Operation::KeySign],
                };
                for operation in operations {
                    id += 1;
                    let at = i64::from(day * DAY + 9 * 60 + n * 2) * 60_000;
                    let source: IpAddr = [192, 0, 2, 1].into();
                    let asked =
                        Asked { at, operation: *operation, key: Some("key_1"), source, user_agent: Some("curl/8") };
                    let mut sighting = asked.sighting();
                    sighting.id = id;
                    state.take(&sighting);
                }
            }
        }
        let usual = Usual::of("agt_1".into(), state.baseline());
        assert_eq!(usual.since, Some(minute(first * DAY + 9 * 60)));
        assert_eq!((usual.keys, usual.clients, usual.networks), (1, 1, 2));
        let operations: Vec<&str> = usual.operations.iter().map(|used| used.operation.as_str()).collect();
        assert_eq!(operations, ["key.sign", "key.verify"]);
        assert!((7.0..=9.0).contains(&usual.active_days), "{usual:?}");
        let hours = usual.weekdays.hours.iter().enumerate().filter(|(_, share)| **share > 0.0).map(|(hour, _)| hour);
        assert_eq!(hours.collect::<Vec<_>>(), [9]);
        assert!((25.0..=31.0).contains(&usual.weekdays.requests), "{usual:?}");
        assert!((0.9..=1.1).contains(&usual.peaks.per_minute), "{usual:?}");
        assert!((0.9..=1.1).contains(&usual.peaks.keys_per_hour), "{usual:?}");
    }
}
