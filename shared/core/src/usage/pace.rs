//! How fast one key is used, whoever uses it: by the hour and by the day, beside its own usual. What one agent or human does too
//! much is told of her; this is for what many do a little more of, each by itself inconspicuous.

use super::{day, in_window};
use crate::ambient::Timestamp;
use crate::risk::baseline::{self, Peak, log2};
use crate::risk::sighting::hash;
use crate::risk::weigh::above;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hours that are counted apart: a record may come a day late.
const HOURS: i64 = 24;
/// Most actors told apart in an hour, and in a day.
const ACTORS: usize = 64;
/// Days with uses before anything is unusual.
const LEAST_DAYS: f32 = 7.0;
/// As few actors are no crowd: each of them is watched by itself.
const CROWD: usize = 3;
/// Uses below which nothing is told of, in an hour or a day.
const LEAST_USES: u32 = 40;
/// How many times the most of the last days it must be, without whoever used the key most.
const TIMES: u32 = 2;
/// Decades from which on it is told, chosen on the train seeds of `aegis-bench-detect`.
const DECADES: f64 = 3.5;

/// What is kept of it: at most some 6 KiB, whatever happened before.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pace {
    /// Uses by hour since 1970, of the newest and the [`HOURS`] before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hours: BTreeMap<i64, u32>,
    /// The busiest hour of each day that had one, of the last 30.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    busiest: BTreeMap<i64, u32>,
    #[serde(default)]
    hour: Crowds,
    #[serde(default)]
    day: Crowds,
}

/// Of the newest hour or day, and of the one before: a record may come a minute late.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Crowds {
    newest: Crowd,
    before: Crowd,
}

impl Crowds {
    fn add(&mut self, at: i64, actor: &str) {
        if at > self.newest.at {
            self.before = std::mem::replace(&mut self.newest, Crowd { at, by: BTreeMap::new() });
        }
        if let Some(crowd) = [&mut self.newest, &mut self.before].into_iter().find(|crowd| crowd.at == at) {
            crowd.add(actor);
        }
    }

    fn of(&self, at: i64) -> Option<&Crowd> {
        [&self.newest, &self.before].into_iter().find(|crowd| crowd.at == at)
    }
}

/// Who used the key in one hour, or on one day.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Crowd {
    at: i64,
    /// By the hash of who it is.
    by: BTreeMap<u32, u32>,
}

/// A key that is used far more than ever in its last days, by several together.
#[derive(Clone, Debug, PartialEq)]
pub struct Crowded {
    /// Uses of the hour, or of the day.
    pub observed: u32,
    /// Those of a usual busiest hour, or of a usual day.
    pub expected: f64,
    /// How long the hour or the day is, in seconds.
    pub within_seconds: u32,
    /// How unlikely the part of all but the busiest is.
    pub decades: f64,
}

impl Pace {
    /// Adds a use.
    pub(super) fn add(&mut self, actor: &str, at: Timestamp) {
        let (hour, today) = (at.as_second().div_euclid(3_600), day(at));
        let newest = self.hours.last_key_value().map_or(hour, |(newest, _)| *newest).max(hour);
        if newest.saturating_sub(hour) <= HOURS {
            let uses = self.hours.entry(hour).or_default();
            *uses = uses.saturating_add(1);
            let most = self.busiest.entry(today).or_default();
            *most = (*most).max(*uses);
        }
        self.hours.retain(|hour, _| newest.saturating_sub(*hour) <= HOURS);
        let newest = self.busiest.last_key_value().map_or(today, |(newest, _)| *newest);
        self.busiest.retain(|day, _| in_window(*day, newest));
        self.hour.add(hour, actor);
        self.day.add(today, actor);
    }

    /// Whether the hour, or the day, of `at` is far above those of the days before without whoever used the key most in it. `days` are
    /// the key's uses by day. The more unlikely of the two. Asked after each use, it comes to the same however uses are read at once.
    pub(super) fn crowded(&self, at: Timestamp, days: &BTreeMap<i64, u64>) -> Option<Crowded> {
        let (hour, today) = (at.as_second().div_euclid(3_600), day(at));
        let busiest = self.busiest.iter().map(|(day, uses)| (*day, *uses));
        let days = || days.iter().map(|(day, uses)| (*day, u32::try_from(*uses).unwrap_or(u32::MAX)));
        let of_today = days().find(|(day, _)| *day == today).map(|(_, uses)| uses);
        let of_hour =
            self.hour.of(hour).and_then(|crowd| crowd.crowded(busiest, self.hours.get(&hour).copied(), today));
        let of_day = self.day.of(today).and_then(|crowd| crowd.crowded(days(), of_today, today));
        let of_day = of_day.map(|found| Crowded { within_seconds: 86_400, ..found });
        of_hour.into_iter().chain(of_day).max_by(|a, b| a.decades.total_cmp(&b.decades))
    }
}

impl Crowd {
    fn add(&mut self, actor: &str) {
        let actor = hash(actor.as_bytes());
        if self.by.len() < ACTORS || self.by.contains_key(&actor) {
            let uses = self.by.entry(actor).or_default();
            *uses = uses.saturating_add(1);
        }
    }

    /// `usual` are the uses of each day, or of its busiest hour.
    fn crowded(&self, usual: impl Iterator<Item = (i64, u32)>, observed: Option<u32>, today: i64) -> Option<Crowded> {
        let observed = observed?;
        let (mut peak, mut days, mut most) = (Peak::default(), 0.0_f32, 0);
        for (_, uses) in usual.filter(|(day, _)| *day < today && in_window(*day, today)) {
            let value = log2(uses);
            peak.sum += value;
            peak.squares += value * value;
            peak.highest = peak.highest.max(value);
            days += 1.0;
            most = most.max(uses);
        }
        // Of those told apart: one of the others may explain what is left.
        let told_apart = self.by.values().copied().fold(0, u32::saturating_add);
        let rest = told_apart.saturating_sub(self.by.values().copied().max().unwrap_or(0));
        if self.by.len() < CROWD || days < LEAST_DAYS || rest < LEAST_USES || rest < most.saturating_mul(TIMES) {
            return None;
        }
        let decades = above(&peak, days, log2(rest), 0.7);
        let expected = baseline::usual(&peak, days);
        (decades >= DECADES).then_some(Crowded { observed, expected, within_seconds: 3_600, decades })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const BEGAN: i64 = 1_790_000_000 - 1_790_000_000 % 86_400;
    const DAY: i64 = 86_400;

    /// A use: who, and the second after the beginning.
    type Use = (usize, i64);

    /// What is found on the last day, asked after each use; and the days on which something is.
    fn crowded(uses: &[Use]) -> (Option<Crowded>, BTreeSet<i64>) {
        let (mut pace, mut days) = (Pace::default(), BTreeMap::new());
        let (mut last, mut found_on) = (None, BTreeSet::new());
        for (actor, second) in uses {
            let at = Timestamp::from_second(BEGAN + second).unwrap();
            pace.add(&format!("agent-{actor}"), at);
            *days.entry(day(at)).or_insert(0) += 1;
            last = pace.crowded(at, &days);
            found_on.extend(last.iter().map(|_| second.div_euclid(DAY)));
        }
        (last, found_on)
    }

    /// Twenty days on each of which three agents use the key twice in each of eight hours.
    fn usual() -> Vec<Use> {
        let hours = (0..20).flat_map(|day| (9..17).map(move |hour| day * DAY + hour * 3_600));
        hours.flat_map(|at| (0..6).map(move |n| (n % 3, at + i64::try_from(n).unwrap() * 300))).collect()
    }

    /// Uses of one hour by this many agents, this many of each.
    fn hour(day: i64, agents: usize, each: i64) -> Vec<Use> {
        let of = |agent| (0..each).map(move |n| (agent, day * DAY + 10 * 3_600 + n * 3_600 / each));
        (10..10 + agents).flat_map(of).collect()
    }

    fn after(more: Vec<Use>) -> Option<Crowded> {
        crowded(&[usual(), more].concat()).0
    }

    #[test]
    fn many_that_use_a_key_a_little_more_are_found_and_one_that_does_it_alone_is_not() {
        let found = after(hour(20, 30, 10)).unwrap();
        assert_eq!((found.observed, found.within_seconds), (300, 3_600));
        assert!((found.expected - 6.0).abs() < 0.01 && found.decades >= DECADES, "{found:?}");
        let table = [
            ("one agent", hour(20, 1, 300)),
            ("two agents", hour(20, 2, 150)),
            ("one, and others as ever", [hour(20, 1, 300), hour(20, 6, 1)].concat()),
            ("what is usual", hour(20, 3, 2)),
            ("so few that nothing hangs on them", hour(20, 13, 3)),
        ];
        for (what, uses) in table {
            assert_eq!(after(uses), None, "{what}");
        }
    }

    #[test]
    fn a_day_of_it_is_found_where_no_hour_is_unusual() {
        let uses = (0..144).map(|n| (10 + usize::try_from(n).unwrap() / 2, 20 * DAY + n * 600));
        let found = after(uses.collect());
        assert_eq!(found.map(|found| (found.observed, found.within_seconds)), Some((144, 86_400)));
    }

    #[test]
    fn nothing_is_unusual_of_a_key_before_it_was_used_on_seven_days_and_what_it_grew_to_is_usual() {
        let uses = |days: i64| usual().into_iter().filter(|(_, at)| *at < days * DAY).collect::<Vec<_>>();
        for (days, found) in [(6, false), (7, true)] {
            let uses = [uses(days), hour(days, 30, 10)].concat();
            assert_eq!(crowded(&uses).0.is_some(), found, "{days}");
        }
        assert_eq!(after([hour(20, 30, 10), hour(21, 30, 10)].concat()), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pace = Pace::default();
        for n in 0..200_000_i64 {
            pace.add(&format!("agent-{}", n % 1_000), Timestamp::from_second(BEGAN + n * 60).unwrap());
        }
        let length = serde_json::to_string(&pace).unwrap().len();
        assert!(length < 6_000, "{length}");
    }

    proptest! {
        #[test]
        fn order_within_a_minute_changes_nothing(
            shifts in proptest::collection::vec(0_i64..60, 1_400),
            agents in 1_usize..40,
            each in 1_i64..8,
        ) {
            // Around the end of an hour, and of the day, too.
            let turns = [11 * 3_600, DAY].into_iter().flat_map(|end| (0..60).map(move |n| (20 * DAY + end - 30 + n, n)));
            let turns = turns.map(|(at, n)| (usize::try_from(n).unwrap() % 7, at)).collect();
            let uses = [usual(), hour(20, agents, each), turns].concat();
            let mut late: Vec<(i64, Use)> =
                uses.iter().zip(&shifts).map(|(used, shift)| (used.1 + shift, *used)).collect();
            late.sort_by_key(|(at, _)| *at);
            let late: Vec<Use> = late.into_iter().map(|(_, used)| used).collect();
            prop_assert_eq!(crowded(&uses).1, crowded(&late).1);
        }
    }
}
