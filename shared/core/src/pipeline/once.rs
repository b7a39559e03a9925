//! Which reads were recorded in this minute, so that the pages of one query, and a query that follows the trail, are on
//! record once and not with each request. In memory: what it forgets is recorded again.

use crate::ambient::Timestamp;
use crate::id::RecordId;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A read that is on record once a minute, unless it shows more than the one on record.
#[derive(Clone, Debug)]
pub struct Once {
    /// Who reads, and what of it must be equal.
    pub read: String,
    /// What came before is not shown; everything is shown without.
    pub since: Option<Timestamp>,
    /// What came from then on is not shown; everything is shown without.
    pub before: Option<RecordId>,
    /// Most that is shown at once.
    pub limit: usize,
}

impl Once {
    fn shows_no_more_than(&self, other: &Self) -> bool {
        let no_later = match (&self.before, &other.before) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(others)) => own <= others,
        };
        no_later && self.since >= other.since && self.limit <= other.limit
    }
}

/// The latest on record of each read, with its minute.
pub struct Recorded(Mutex<LruCache<String, (i64, Once)>>);

impl Recorded {
    /// Whether a read that showed as much as this one was recorded in the minute of `now`.
    pub(super) fn covers(&self, once: &Once, now: Timestamp) -> bool {
        let mut recorded = self.lock();
        recorded.get(&once.read).is_some_and(|(at, other)| *at == minute(now) && once.shows_no_more_than(other))
    }

    /// To be called once the record is durable.
    pub(super) fn insert(&self, once: Once, now: Timestamp) {
        self.lock().put(once.read.clone(), (minute(now), once));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, (i64, Once)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorded {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(READS)))
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Reads told apart.
const READS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
