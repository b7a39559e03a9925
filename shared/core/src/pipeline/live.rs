//! Live counters: how often each agent, and each human with all her agents, asked in the last minute, to the second. In
//! memory, bounded, where one process decides on all requests; else where all that decide count together. A restart, or a
//! crash, may forget them; the baseline does not.

use crate::ambient::Timestamp;
use crate::behaviour::Names;
use crate::error::Error;
use crate::risk::Live;
use async_trait::async_trait;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of all actors.
pub enum LiveCounters {
    InMemory(InMemory),
    Shared(Arc<dyn SharedCounters>),
}

/// Counters that several processes share.
#[async_trait]
pub trait SharedCounters: Send + Sync {
    /// Counts one request of each actor, and says how many that makes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn count(&self, actors: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error>;

    /// Takes back one request of each that was counted at this time.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn take_back(&self, actors: [&str; 2], at: Timestamp) -> Result<(), Error>;

    /// What one more request of each would make. Counts nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn look(&self, actors: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error>;
}

impl LiveCounters {
    /// Counts one request of an actor and of its human with all her agents, and says how many that makes.
    pub(super) async fn count(&self, names: &Names, now: Timestamp) -> Result<[Live; 2], Error> {
        let fleet = names.fleet();
        match self {
            Self::InMemory(counters) => Ok([names.actor(), &fleet].map(|actor| counters.count(actor, now))),
            Self::Shared(counters) => counters.count([names.actor(), &fleet], now).await,
        }
    }

    /// Takes back what was counted at this time: it was asked with a credential that holds no more, and is no doing of theirs.
    pub(super) async fn take_back(&self, names: &Names, at: Timestamp) -> Result<(), Error> {
        let fleet = names.fleet();
        match self {
            Self::InMemory(counters) => {
                [names.actor(), &fleet].into_iter().for_each(|actor| counters.take_back(actor, at))
            }
            Self::Shared(counters) => counters.take_back([names.actor(), &fleet], at).await?,
        }
        Ok(())
    }

    /// What one more request would make. Counts nothing.
    pub(super) async fn look(&self, names: &Names, now: Timestamp) -> Result<[Live; 2], Error> {
        let fleet = names.fleet();
        match self {
            Self::InMemory(counters) => Ok([names.actor(), &fleet].map(|actor| counters.look(actor, now))),
            Self::Shared(counters) => counters.look([names.actor(), &fleet], now).await,
        }
    }
}

impl Default for LiveCounters {
    fn default() -> Self {
        Self::InMemory(InMemory::default())
    }
}

/// Counters in this process.
pub struct InMemory(Mutex<LruCache<String, Slots>>);

/// One slot a second.
#[derive(Clone, Debug)]
struct Slots {
    counts: [u32; 60],
    /// The second of the newest slot, since 1970.
    newest: i64,
}

impl InMemory {
    /// Counts one request of `actor`, and says how many that makes.
    pub fn count(&self, actor: &str, now: Timestamp) -> Live {
        let second = now.as_second();
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = counters.get_mut(actor) {
            return slots.count(second);
        }
        let mut slots = Slots { counts: [0; 60], newest: second };
        let counts = slots.count(second);
        counters.put(actor.to_string(), slots);
        counts
    }
}

impl InMemory {
    /// Takes back one request of `actor` that was counted at this time, if that second is still told apart.
    pub fn take_back(&self, actor: &str, at: Timestamp) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = counters.peek_mut(actor) {
            slots.take_back(at.as_second());
        }
    }

    /// What one more request of `actor` would make. Counts nothing.
    pub fn look(&self, actor: &str, now: Timestamp) -> Live {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.as_second();
        let slots = counters.peek(actor).cloned();
        slots.unwrap_or(Slots { counts: [0; 60], newest: second }).count(second)
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(ACTORS)))
    }
}

impl Slots {
    /// A clock that was set back a little counts into the newest slot: nobody gains by it. After more than a minute it begins
    /// anew: otherwise all would look like one burst until it has caught up.
    fn count(&mut self, second: i64) -> Live {
        if second.saturating_add(60) < self.newest {
            *self = Self { counts: [0; 60], newest: second };
        }
        let newest = second.max(self.newest);
        let passed = newest.saturating_sub(self.newest);
        for second in (0..passed.min(60)).map(|back| newest.saturating_sub(back)) {
            if let Some(slot) = self.counts.get_mut(place(second)) {
                *slot = 0;
            }
        }
        self.newest = newest;
        if let Some(slot) = self.counts.get_mut(place(newest)) {
            *slot = slot.saturating_add(1);
        }
        Live { second: self.sum(1), ten_seconds: self.sum(10), minute: self.sum(60) }
    }

    /// What was counted while the clock was behind the newest slot lies there.
    fn take_back(&mut self, second: i64) {
        let second = if (0..60).contains(&self.newest.saturating_sub(second)) { second } else { self.newest };
        if let Some(slot) = self.counts.get_mut(place(second)) {
            *slot = slot.saturating_sub(1);
        }
    }

    fn sum(&self, seconds: i64) -> u32 {
        let slots = (0..seconds).map(|back| self.counts.get(place(self.newest.saturating_sub(back))));
        slots.flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn place(second: i64) -> usize {
    usize::try_from(second.rem_euclid(60)).unwrap_or(0)
}

/// Actors told apart at once; beyond it the one that has been silent longest is forgotten.
const ACTORS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against every request's own time, kept.
        #[test]
        fn it_counts_what_came_in_the_last_seconds(steps in prop::collection::vec(0..25_i64, 1..200)) {
            let (live, mut times, mut now) = (InMemory::default(), Vec::new(), 1_790_000_000_i64);
            for step in steps {
                now += step.saturating_sub(15).max(0);
                times.push(now);
                let counts = live.count("agent", Timestamp::from_second(now).unwrap());
                let within = |seconds: i64| u32::try_from(times.iter().filter(|at| **at > now - seconds).count()).unwrap();
                let counted = [counts.second, counts.ten_seconds, counts.minute];
                prop_assert_eq!(counted, [within(1), within(10), within(60)]);
            }
        }
    }

    #[test]
    fn what_is_taken_back_was_not_asked() {
        let (counters, at) = (InMemory::default(), |second| Timestamp::from_second(second).unwrap());
        counters.take_back("a", at(90));
        for second in [90, 90, 95] {
            counters.count("a", at(second));
        }
        counters.take_back("a", at(90));
        assert_eq!(counters.look("a", at(95)), Live { second: 2, ten_seconds: 3, minute: 3 });
        counters.take_back("a", at(95));
        assert_eq!(counters.look("a", at(95)), Live { second: 1, ten_seconds: 2, minute: 2 });
    }

    #[test]
    fn to_look_counts_nothing() {
        let (counters, now) = (InMemory::default(), Timestamp::from_second(90).unwrap());
        for _ in 0..3 {
            assert_eq!(counters.look("a", now).minute, 1);
        }
        assert_eq!(counters.count("a", now).minute, 1);
        assert_eq!(counters.look("a", now).minute, 2);
    }

    #[test]
    fn a_clock_set_back_hides_nothing_and_actors_are_counted_apart() {
        let (live, at) = (InMemory::default(), |second| Timestamp::from_second(second).unwrap());
        live.count("agent", at(100));
        assert_eq!(live.count("agent", at(40)).second, 2);
        assert_eq!(live.count("other", at(100)), Live { second: 1, ten_seconds: 1, minute: 1 });
        assert_eq!(live.count("agent", at(100_000)), Live { second: 1, ten_seconds: 1, minute: 1 });
    }
}
