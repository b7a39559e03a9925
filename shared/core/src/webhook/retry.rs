//! When a post that failed is tried again.

use crate::ambient::{Entropy, Timestamp, after_seconds};
use jiff::SignedDuration;

/// Seconds from each failure to the next attempt: the schedule that the Standard Webhooks specification recommends, some
/// three days in all.
const DELAYS: [u32; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Longest wait that a receiver may ask for, in seconds.
const LONGEST_WAIT: i64 = 86_400;

/// When to try again after `attempts` failures: by a fifth sooner or later than the schedule says, so that those which
/// failed together do not come together, and not before the receiver wants it. `None` once it was tried often enough.
pub(super) fn next(attempts: u32, now: Timestamp, wanted: Option<Timestamp>, entropy: &Entropy) -> Option<Timestamp> {
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let seconds = DELAYS.get(place)?;
    let mut random = [0; 2];
    entropy.fill(&mut random);
    // 800 to 1200 thousandths.
    let share = i64::from(u16::from_be_bytes(random)).saturating_mul(400) / i64::from(u16::MAX);
    let millis = i64::from(*seconds).saturating_mul(share.saturating_add(800));
    let due = now.checked_add(SignedDuration::from_millis(millis)).unwrap_or(Timestamp::MAX);
    Some(wanted.map_or(due, |wanted| wanted.max(due)))
}

/// What `Retry-After` asks for (RFC 9110 §10.2.3): seconds, or a date. At most a day.
pub(super) fn wanted(header: &str, now: Timestamp) -> Option<Timestamp> {
    let header = header.trim();
    let latest = after_seconds(now, LONGEST_WAIT);
    let at = match header.parse::<u32>() {
        Ok(seconds) => after_seconds(now, i64::from(seconds)),
        Err(_) => jiff::fmt::rfc2822::parse(header).ok()?.timestamp(),
    };
    Some(at.clamp(now, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn attempts_move_apart_and_end_after_the_tenth() {
        let (soonest, latest) = (Entropy::new(|bytes| bytes.fill(0)), Entropy::new(|bytes| bytes.fill(0xff)));
        let table = [(1, 4, 6), (2, 240, 360), (3, 1_440, 2_160), (9, 69_120, 103_680)];
        for (attempts, from, to) in table {
            assert_eq!(next(attempts, at(0), None, &soonest), Some(at(from)), "{attempts}");
            assert_eq!(next(attempts, at(0), None, &latest), Some(at(to)), "{attempts}");
        }
        assert_eq!(next(10, at(0), None, &soonest), None);
        assert_eq!(next(10, at(0), Some(at(60)), &soonest), None, "a receiver cannot keep it alive");
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_not_for_less() {
        let entropy = Entropy::new(|bytes| bytes.fill(0));
        assert_eq!(next(1, at(0), Some(at(90)), &entropy), Some(at(90)));
        assert_eq!(next(2, at(0), Some(at(90)), &entropy), Some(at(240)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_of_at_most_a_day() {
        let table = [
            ("120", Some(at(120))),
            (" 0 ", Some(at(0))),
            ("4294967295", Some(at(86_400))),
            // 1_790_000_000 is Mon, 21 Sep 2026 14:13:20 GMT.
            ("Mon, 21 Sep 2026 14:14:20 GMT", Some(at(60))),
            ("Mon, 21 Sep 2020 14:14:20 GMT", Some(at(0))),
            ("soon", None),
            ("-5", None),
            ("", None),
        ];
        for (header, want) in table {
            assert_eq!(wanted(header, at(0)), want, "{header}");
        }
    }
}
