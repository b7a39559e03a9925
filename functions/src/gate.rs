//! Requests without a verified principal: counted per source and minute, and bounded before any signature is checked.

use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::reason::Reason;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Most sources told apart in a minute; the rest share one place.
const MAX_SOURCES: usize = 4_096;

/// Bounds and counts. One per process.
#[derive(Debug)]
pub struct Gate {
    /// Most requests of one source in a minute.
    per_minute: u64,
    counts: Mutex<HashMap<(i64, IpAddr), u64>>,
}

/// How many such requests one source made in one minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// The minute's beginning.
    pub minute: Timestamp,
    pub source: IpAddr,
    pub count: u64,
}

impl Gate {
    pub fn new(per_minute: u64) -> Self {
        Self { per_minute, counts: Mutex::new(HashMap::new()) }
    }

    /// Counts one such request of `source`.
    ///
    /// # Errors
    /// [`Error::LimitReached`] once the source has had its share of this minute.
    pub fn admit(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minute(now);
        let full = counts.len() >= MAX_SOURCES && !counts.contains_key(&(minute, source));
        let place = if full { UNTOLD } else { source };
        let count = counts.entry((minute, place)).or_default();
        *count = count.saturating_add(1);
        self.judge(*count, now)
    }

    /// Whether `source` may still have a signature checked. Counts nothing.
    ///
    /// # Errors
    /// As [`Gate::admit`].
    pub fn check(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&(minute(now), source)).copied().unwrap_or(0);
        self.judge(count.saturating_add(1), now)
    }

    /// Takes out the counts of minutes before the one of `now`, to be written to the journal.
    pub fn take_before(&self, now: Timestamp) -> Vec<Summary> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let this = minute(now);
        let over: Vec<(i64, IpAddr)> = counts.keys().filter(|(minute, _)| *minute < this).copied().collect();
        let mut summaries = Vec::new();
        for place in over {
            let at = Timestamp::from_second(place.0.saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
            let count = counts.remove(&place).unwrap_or(0);
            summaries.push(Summary { minute: at, source: place.1, count });
        }
        summaries
    }

    fn judge(&self, count: u64, now: Timestamp) -> Result<(), Error> {
        let rest = 60_i64.saturating_sub(now.as_second().rem_euclid(60));
        match count <= self.per_minute {
            true => Ok(()),
            false => Err(Error::LimitReached { reason: Reason::RateLimited, retry_after: u32::try_from(rest).ok() }),
        }
    }
}

/// Where sources beyond [`MAX_SOURCES`] are counted together: the unspecified address, which no request comes from.
const UNTOLD: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_share_of_each_minute_and_no_more() {
        let gate = Gate::new(3);
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        for _ in 0..3 {
            gate.check(one, at(60)).unwrap();
            gate.admit(one, at(60)).unwrap();
        }
        assert!(matches!(gate.check(one, at(70)), Err(Error::LimitReached { retry_after: Some(50), .. })));
        gate.admit(one, at(119)).unwrap_err();
        gate.admit(other, at(119)).unwrap();
        gate.admit(one, at(120)).unwrap();
    }

    #[test]
    fn each_source_and_minute_is_summed_up_once() {
        let gate = Gate::new(100);
        let source: IpAddr = [127, 0, 0, 1].into();
        (0..5).for_each(|i| gate.admit(source, at(60 + i)).unwrap());
        assert_eq!(gate.take_before(at(119)), []);
        assert_eq!(gate.take_before(at(120)), [Summary { minute: at(60), source, count: 5 }]);
        assert_eq!(gate.take_before(at(120)), []);
    }

    #[test]
    fn many_sources_do_not_fill_the_memory() {
        let gate = Gate::new(u64::MAX);
        for n in 0..10_000_u32 {
            gate.admit(IpAddr::from(n.to_be_bytes()), at(0)).unwrap();
        }
        let summaries = gate.take_before(at(60));
        assert_eq!(summaries.len(), MAX_SOURCES + 1);
        assert_eq!(summaries.iter().map(|summary| summary.count).sum::<u64>(), 10_000);
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
}
