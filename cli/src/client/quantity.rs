//! Durations, limits and moments as people write them: `15m`, `200/day`, `7d`.

use aegis_core::agent::Limits;
use aegis_core::ambient::Timestamp;
use jiff::SignedDuration;

/// Whole seconds, written with one unit: `90s`, `15m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span(pub(crate) u32);

impl std::str::FromStr for Span {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable("a duration reads 90s, 15m, 1h or 7d");
        let unit = text.chars().last().ok_or_else(unreadable)?;
        let seconds: u32 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(unreadable()),
        };
        let count = text.strip_suffix(unit).filter(|count| count.bytes().all(|b| b.is_ascii_digit()));
        let count: u32 =
            count.and_then(|count| count.parse().ok()).filter(|count| *count > 0).ok_or_else(unreadable)?;
        count.checked_mul(seconds).map(Self).ok_or_else(unreadable)
    }
}

impl Span {
    pub(crate) fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.0))
    }

    /// The moment this long after now.
    pub(crate) fn after_now(self) -> Timestamp {
        Timestamp::now().checked_add(self.duration()).unwrap_or(Timestamp::MAX)
    }
}

/// A moment: RFC 3339, or how long ago.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    Ago(Span),
    At(Timestamp),
}

impl std::str::FromStr for Moment {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let at = text.parse().map(Self::At);
        let unreadable = Unreadable("a moment reads 2026-03-01T12:00:00Z, or 1h or 7d for as long ago");
        at.or_else(|_| text.parse().map(Self::Ago)).map_err(|_| unreadable)
    }
}

impl Moment {
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span.duration()).unwrap_or(Timestamp::MIN),
        }
    }
}

/// How often in a minute or a day: `10/minute`, `200/day`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limit {
    PerDay(u32),
    PerMinute(u32),
}

impl std::str::FromStr for Limit {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable("a limit reads 10/minute or 200/day");
        let (count, unit) = text.split_once('/').ok_or_else(unreadable)?;
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && *count > 0).ok_or_else(unreadable)?;
        match unit {
            "day" => Ok(Self::PerDay(count)),
            "minute" => Ok(Self::PerMinute(count)),
            _ => Err(unreadable()),
        }
    }
}

/// The limits of a grant. Of two limits for the same time the smaller one holds.
pub(crate) fn limits(given: &[Limit], max_uses: Option<u32>) -> Limits {
    let mut limits = Limits { max_uses, ..Limits::default() };
    for limit in given {
        let (place, count) = match limit {
            Limit::PerDay(count) => (&mut limits.per_day, *count),
            Limit::PerMinute(count) => (&mut limits.per_minute, *count),
        };
        *place = Some(place.map_or(count, |other| other.min(count)));
    }
    limits
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_count_and_one_unit() {
        let table = [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h", Some(3_600)),
            ("7d", Some(604_800)),
            ("0m", None),
            ("-1h", None),
            ("+1h", None),
            ("1", None),
            ("h", None),
            ("", None),
            ("1h30m", None),
            ("1.5h", None),
            ("1 h", None),
            ("5é", None),
            ("99999999999d", None),
            ("49711d", None),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<Span>().ok(), want.map(Span), "{text}");
        }
    }

    #[test]
    fn moments_are_rfc_3339_or_as_long_ago() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let table = [
            ("1h", Some("2026-03-01T11:00:00Z")),
            ("7d", Some("2026-02-22T12:00:00Z")),
            ("2026-02-01T00:00:00Z", Some("2026-02-01T00:00:00Z")),
            ("2026-02-01T00:00:00+01:00", Some("2026-01-31T23:00:00Z")),
            ("2026-02-01", None),
            ("yesterday", None),
        ];
        for (text, want) in table {
            let read = text.parse::<Moment>().ok().map(|moment| moment.before(now));
            assert_eq!(read, want.map(|want| want.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn limits_have_a_count_and_a_time() {
        let table = [
            ("200/day", Some(Limit::PerDay(200))),
            ("10/minute", Some(Limit::PerMinute(10))),
            ("0/day", None),
            ("+5/day", None),
            ("10/hour", None),
            ("10", None),
            ("/day", None),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<Limit>().ok(), want, "{text}");
        }
        let both = limits(&[Limit::PerDay(5), Limit::PerMinute(2), Limit::PerDay(3)], Some(9));
        assert_eq!((both.max_uses, both.per_day, both.per_minute), (Some(9), Some(3), Some(2)));
    }
}
