//! Which reads were recorded in this minute, so that the pages of one query, and a query that follows the trail, are on
//! record once and not with each request. In memory: what it forgets is recorded again.

use crate::ambient::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub struct Recorded(Mutex<LruCache<String, i64>>);

impl Recorded {
    /// Whether `read` was recorded in the minute of `now`.
    pub(super) fn holds(&self, read: &str, now: Timestamp) -> bool {
        self.lock().get(read) == Some(&minute(now))
    }

    /// To be called once the record is durable.
    pub(super) fn insert(&self, read: String, now: Timestamp) {
        self.lock().put(read, minute(now));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, i64>> {
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
