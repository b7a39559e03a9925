//! How often somebody did something in a minute of the clock. In memory, bounded, one per process.

use crate::ambient::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Most keys told apart; the rest share one place.
const MAX_KEYS: usize = 4_096;

/// Counts by key and minute.
#[derive(Debug)]
pub struct Rate<K> {
    most: u64,
    counts: Mutex<HashMap<(i64, Option<K>), u64>>,
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
        Self { most, counts: Mutex::new(HashMap::new()) }
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
        let mut counts = self.lock();
        let place = place(&counts, key, now);
        let count = counts.entry(place).or_default();
        *count = count.saturating_add(1);
        judge(*count <= self.most, now)
    }

    /// Takes one back that was counted in this minute.
    pub fn take_back(&self, key: &K, now: Timestamp) {
        let mut counts = self.lock();
        let place = place(&counts, key, now);
        if let Some(count) = counts.get_mut(&place) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether the key has some of its share left. Counts nothing.
    ///
    /// # Errors
    /// [`Spent`].
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), Spent> {
        let counts = self.lock();
        judge(counts.get(&place(&counts, key, now)).copied().unwrap_or(0) < self.most, now)
    }

    /// How often the key was counted in this minute; `None` where that is not known, since it was not, or is not told apart.
    pub fn of(&self, key: &K, now: Timestamp) -> Option<u64> {
        self.lock().get(&(minute(now), Some(key.clone()))).copied()
    }

    /// Takes out the counts of minutes before the one of `now`.
    pub fn take_before(&self, now: Timestamp) -> Vec<Tally<K>> {
        let mut counts = self.lock();
        let this = minute(now);
        let over: Vec<(i64, Option<K>)> = counts.keys().filter(|(minute, _)| *minute < this).cloned().collect();
        let tally = |place: (i64, Option<K>)| {
            let count = counts.remove(&place).unwrap_or(0);
            let minute = Timestamp::from_second(place.0.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
            Tally { minute, key: place.1, count }
        };
        over.into_iter().map(tally).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(i64, Option<K>), u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place<K: Clone + Eq + Hash>(counts: &HashMap<(i64, Option<K>), u64>, key: &K, now: Timestamp) -> (i64, Option<K>) {
    let own = (minute(now), Some(key.clone()));
    match counts.len() >= MAX_KEYS && !counts.contains_key(&own) {
        true => (minute(now), None),
        false => own,
    }
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

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
}
