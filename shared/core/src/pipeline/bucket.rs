//! A token bucket for each human, and for each agent with all below it, in front of back ends: their quotas are the whole
//! deployment's, and nobody may use them up. In memory, bounded, one per process.

use crate::ambient::Timestamp;
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buckets by whose they are. One that is full is not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets(Arc<Mutex<HashMap<Option<String>, Timestamp>>>);

impl Buckets {
    /// Takes a token of `who`'s.
    ///
    /// # Errors
    /// There is none left; one comes every hundredth of a second.
    pub(super) fn take(&self, who: String, now: Timestamp) -> Result<(), Empty> {
        let mut full_at = self.lock();
        if full_at.len() >= MOST {
            full_at.retain(|_, at| *at > now);
        }
        // Whoever finds no room shares one bucket with all others who do not.
        let who = Some(who);
        let own = if full_at.len() < MOST || full_at.contains_key(&who) { who } else { None };
        // A clock that is set back does not lock anybody out for as long.
        let latest = now.saturating_add(FULL).unwrap_or(now);
        let before = full_at.get(&own).copied().unwrap_or(now).clamp(now, latest);
        let after = before.saturating_add(GAP).unwrap_or(before);
        let fits = after.duration_since(now) <= FULL;
        full_at.insert(own, if fits { after } else { before });
        if fits { Ok(()) } else { Err(Empty) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<String>, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No token is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Empty;

/// Chosen: two fifths of what a deployment asks of KMS in a second (`PER_SECOND` of the key store), so that two who go on
/// asking for all they can leave something to a third. A use that takes several calls takes one token.
const GAP: SignedDuration = SignedDuration::from_millis(10);
/// Until an empty bucket is full again: what a quiet second left may be used at once.
const FULL: SignedDuration = SignedDuration::from_secs(1);
/// Most buckets told apart.
const MOST: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    /// How many of a thousand tokens somebody gets at once.
    fn gets(buckets: &Buckets, who: &str, now: Timestamp) -> usize {
        (0..1_000).filter(|_| buckets.take(who.to_string(), now).is_ok()).count()
    }

    #[test]
    fn one_who_asks_for_everything_gets_a_share_and_leaves_the_others_theirs() {
        let buckets = Buckets::default();
        assert_eq!(gets(&buckets, "one", at(0)), 100);
        assert_eq!(gets(&buckets, "other", at(0)), 100);
        assert_eq!(gets(&buckets, "one", at(9)), 0);
        assert_eq!(gets(&buckets, "one", at(250)), 25);
        assert_eq!(gets(&buckets, "one", at(100_000)), 100, "nothing is saved up beyond a second's");
        // A clock that goes back gives nothing.
        assert_eq!(gets(&buckets, "one", at(50_000)), 0);
        assert_eq!(gets(&buckets, "one", at(51_000)), 100, "nor takes anything for as long as it went back");
    }

    #[test]
    fn many_who_ask_neither_fill_the_memory_nor_escape_the_bound() {
        let buckets = Buckets::default();
        let taken = (0..10_000).filter(|n: &usize| buckets.take(n.to_string(), at(0)).is_ok()).count();
        assert_eq!((taken, buckets.lock().len()), (MOST + 100, MOST + 1));
        assert_eq!(gets(&buckets, "0", at(0)), 99, "who had a bucket keeps it");
        assert_eq!(gets(&buckets, "one more", at(0)), 0);
        assert_eq!(gets(&buckets, "one more", at(1_000)), 100);
        assert_eq!(buckets.lock().len(), 1, "full ones are not kept");
    }
}
