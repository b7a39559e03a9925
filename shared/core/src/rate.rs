//! How often somebody did something in a minute of the clock. In memory, bounded, one per process.

use crate::ambient::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most keys told apart in one minute; the rest share one place.
const MAX_KEYS: usize = 4_096;

/// Most of all minutes that nobody took out.
const MAX_KEPT: usize = 8 * MAX_KEYS;

/// Counts by key and minute.
#[derive(Debug)]
pub struct Rate<K> {
    most: u64,
    minutes: Mutex<HashMap<i64, Counts<K>>>,
}

/// Of one minute; `None` for all keys that are not told apart.
type Counts<K> = HashMap<Option<K>, u64>;

/// Counts by key and minute. Beyond the keys that are told apart each group has a place of its own: whoever makes up keys without
/// end spends the share of its group and nobody else's.
#[derive(Debug)]
pub struct GroupedRate<K, G> {
    keys: Rate<K>,
    groups: Rate<G>,
}

/// How often one key was counted in one minute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tally<K> {
    /// The minute's beginning.
    pub minute: Timestamp,
    /// `None` for all keys beyond those that were told apart.
    pub key: Option<K>,
    pub count: u64,
}

/// The share of this minute is spent. Seconds until the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spent {
    pub retry_after: u32,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    /// `most` in a minute, of each key.
    pub fn new(most: u64) -> Self {
        Self { most, minutes: Mutex::new(HashMap::new()) }
    }

    /// The share of each key.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Spent`] beyond the key's share; it is counted all the same.
    pub fn count(&self, key: &K, now: Timestamp) -> Result<(), Spent> {
        let mut minutes = self.lock();
        let place = place(&minutes, key, now);
        self.add(&mut minutes, place, now)
    }

    /// Takes one back that was counted in this minute.
    pub fn take_back(&self, key: &K, now: Timestamp) {
        let mut minutes = self.lock();
        let place = place(&minutes, key, now);
        if let Some(count) = minutes.get_mut(&minute(now)).and_then(|counts| counts.get_mut(&place)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether the key has some of its share left. Counts nothing.
    ///
    /// # Errors
    /// [`Spent`].
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), Spent> {
        let minutes = self.lock();
        let place = place(&minutes, key, now);
        let count = minutes.get(&minute(now)).and_then(|counts| counts.get(&place));
        judge(count.copied().unwrap_or(0) < self.most, now)
    }

    /// How often the key was counted in this minute; `None` where that is not known, since it was not, or is not told apart.
    pub fn of(&self, key: &K, now: Timestamp) -> Option<u64> {
        self.lock().get(&minute(now))?.get(&Some(key.clone())).copied()
    }

    /// Takes out the counts of minutes before the one of `now`.
    pub fn take_before(&self, now: Timestamp) -> Vec<Tally<K>> {
        let mut minutes = self.lock();
        let this = minute(now);
        let over: Vec<i64> = minutes.keys().copied().filter(|minute| *minute < this).collect();
        let taken = over.into_iter().filter_map(|minute| Some((minute, minutes.remove(&minute)?)));
        let tallies = taken.flat_map(|(minute, counts)| {
            let minute = Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
            counts.into_iter().map(move |(key, count)| Tally { minute, key, count })
        });
        tallies.collect()
    }

    /// Counts one more, if the key is told apart.
    fn count_apart(&self, key: &K, now: Timestamp) -> Option<Result<(), Spent>> {
        let mut minutes = self.lock();
        let place = place(&minutes, key, now)?;
        Some(self.add(&mut minutes, Some(place), now))
    }

    fn is_apart(&self, key: &K, now: Timestamp) -> bool {
        place(&self.lock(), key, now).is_some()
    }

    fn add(&self, minutes: &mut HashMap<i64, Counts<K>>, place: Option<K>, now: Timestamp) -> Result<(), Spent> {
        let count = minutes.entry(minute(now)).or_default().entry(place).or_default();
        *count = count.saturating_add(1);
        judge(*count <= self.most, now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Counts<K>>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, G: Clone + Eq + Hash> GroupedRate<K, G> {
    /// `most` in a minute, of each key that is told apart, and of all others of each group.
    pub fn new(most: u64) -> Self {
        Self { keys: Rate::new(most), groups: Rate::new(most) }
    }

    /// As [`Rate::most`].
    pub fn most(&self) -> u64 {
        self.keys.most()
    }

    /// As [`Rate::count`].
    ///
    /// # Errors
    /// [`Spent`].
    pub fn count(&self, key: &K, group: &G, now: Timestamp) -> Result<(), Spent> {
        self.keys.count_apart(key, now).unwrap_or_else(|| self.groups.count(group, now))
    }

    /// As [`Rate::take_back`].
    pub fn take_back(&self, key: &K, group: &G, now: Timestamp) {
        match self.keys.is_apart(key, now) {
            true => self.keys.take_back(key, now),
            false => self.groups.take_back(group, now),
        }
    }

    /// As [`Rate::check`].
    ///
    /// # Errors
    /// [`Spent`].
    pub fn check(&self, key: &K, group: &G, now: Timestamp) -> Result<(), Spent> {
        match self.keys.is_apart(key, now) {
            true => self.keys.check(key, now),
            false => self.groups.check(group, now),
        }
    }

    /// As [`Rate::take_before`]: of the keys, and of the groups.
    pub fn take_before(&self, now: Timestamp) -> (Vec<Tally<K>>, Vec<Tally<G>>) {
        (self.keys.take_before(now), self.groups.take_before(now))
    }
}

/// Where the key is counted.
fn place<K: Clone + Eq + Hash>(minutes: &HashMap<i64, Counts<K>>, key: &K, now: Timestamp) -> Option<K> {
    let own = Some(key.clone());
    let this = minutes.get(&minute(now));
    let is_there = this.is_some_and(|counts| counts.contains_key(&own));
    let is_full = || {
        let kept: usize = minutes.values().map(HashMap::len).sum();
        kept >= MAX_KEPT || this.is_some_and(|counts| counts.len() >= MAX_KEYS)
    };
    own.filter(|_| is_there || !is_full())
}

fn judge(within: bool, now: Timestamp) -> Result<(), Spent> {
    let rest = 60_i64.saturating_sub(now.as_second().rem_euclid(60));
    match within {
        true => Ok(()),
        false => Err(Spent { retry_after: u32::try_from(rest).unwrap_or(60) }),
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_gets_its_share_of_each_minute_and_no_more() {
        let rate = Rate::new(3);
        for _ in 0..3 {
            rate.check(&"one", at(60)).unwrap();
            rate.count(&"one", at(60)).unwrap();
        }
        assert_eq!(rate.check(&"one", at(70)), Err(Spent { retry_after: 50 }));
        rate.count(&"one", at(119)).unwrap_err();
        rate.count(&"other", at(119)).unwrap();
        rate.count(&"one", at(120)).unwrap();
    }

    #[test]
    fn what_is_taken_back_is_free_again() {
        let rate = Rate::new(1);
        rate.take_back(&"one", at(60));
        rate.count(&"one", at(60)).unwrap();
        rate.take_back(&"one", at(61));
        rate.count(&"one", at(62)).unwrap();
        // Of another minute there is nothing.
        rate.take_back(&"one", at(120));
        rate.count(&"one", at(119)).unwrap_err();
    }

    #[test]
    fn each_key_and_minute_is_summed_up_once_refused_ones_included() {
        let rate = Rate::new(2);
        let refused = (0..5).filter(|i| rate.count(&"one", at(60 + i)).is_err()).count();
        assert_eq!(refused, 3);
        assert_eq!(rate.take_before(at(119)), []);
        assert_eq!(rate.take_before(at(120)), [Tally { minute: at(60), key: Some("one"), count: 5 }]);
        assert_eq!(rate.take_before(at(120)), []);
    }

    #[test]
    fn many_keys_neither_fill_the_memory_nor_escape_the_bound() {
        let rate = Rate::new(10);
        for n in 0..10_000_u32 {
            let _ = rate.count(&n, at(0));
        }
        rate.check(&20_000, at(0)).unwrap_err();
        assert_eq!((rate.of(&20_000, at(0)), rate.of(&1, at(0)), rate.of(&1, at(60))), (None, Some(1), None));
        let tallies = rate.take_before(at(60));
        assert_eq!(tallies.len(), MAX_KEYS + 1);
        assert_eq!(tallies.iter().map(|tally| tally.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn each_minute_has_its_places_until_too_many_are_left_lying() {
        let rate = Rate::new(1);
        for minute in 0..8 {
            for n in 0..5_000_u32 {
                let _ = rate.count(&n, at(minute * 60));
            }
            assert_eq!(rate.of(&1, at(minute * 60)), Some(1), "{minute}");
        }
        let _ = rate.count(&1, at(8 * 60));
        assert_eq!(rate.of(&1, at(8 * 60)), None);
        assert_eq!(rate.take_before(at(9 * 60)).iter().map(|tally| tally.count).sum::<u64>(), 40_001);
        rate.count(&1, at(9 * 60)).unwrap();
    }

    #[test]
    fn whoever_makes_up_keys_spends_its_groups_share_and_no_other() {
        let rate = GroupedRate::new(10);
        for n in 0..10_000_u32 {
            let _ = rate.count(&n, &"mallory", at(0));
        }
        rate.check(&20_000, &"mallory", at(0)).unwrap_err();
        rate.check(&20_000, &"alice", at(0)).unwrap();
        for _ in 0..10 {
            rate.count(&20_000, &"alice", at(0)).unwrap();
        }
        rate.count(&20_001, &"alice", at(0)).unwrap_err();
        rate.take_back(&20_000, &"alice", at(0));
        rate.take_back(&20_000, &"alice", at(0));
        rate.count(&20_001, &"alice", at(0)).unwrap();
        rate.count(&1, &"mallory", at(0)).unwrap();
        rate.take_back(&1, &"mallory", at(0));
        let (keys, groups) = rate.take_before(at(60));
        let sum =
            keys.iter().map(|tally| tally.count).sum::<u64>() + groups.iter().map(|tally| tally.count).sum::<u64>();
        assert_eq!((keys.len(), groups.len(), sum), (MAX_KEYS, 2, 10_010));
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
}
