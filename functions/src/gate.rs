//! Requests without a verified principal: counted per source and minute, and bounded before any signature is checked.
//!
//! A token whose signature was checked before never waits here, so that a flood from an address does not keep the
//! humans and agents of that address from working, least of all from revoking.

use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::rate::{Rate, Spent, Tally};
use aegis_core::reason::Reason;
use std::net::IpAddr;

/// Signatures that may be checked in a minute beyond the sources' shares: some 4 ms of one core in each second.
const RESERVE: u64 = 3_600;

/// Bounds and counts. One per process.
#[derive(Debug)]
pub struct Gate {
    sources: Rate<IpAddr>,
    reserve: Rate<()>,
}

impl Gate {
    /// `per_minute` requests of each source.
    pub fn new(per_minute: u64) -> Self {
        Self { sources: Rate::new(per_minute), reserve: Rate::new(RESERVE) }
    }

    /// Counts a request of `source` that has no principal.
    ///
    /// # Errors
    /// [`Error::LimitReached`] once the source has had its share of this minute.
    pub fn count(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        self.sources.count(&source, now).map_err(refused)
    }

    /// Whether a signature that was not seen before may be checked for `source`.
    ///
    /// # Errors
    /// [`Error::LimitReached`] once the source's share of this minute and the reserve are spent; the request is counted.
    pub fn check(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        if self.sources.check(&source, now).is_ok() || self.reserve.count(&(), now).is_ok() {
            return Ok(());
        }
        self.count(source, now)
    }

    /// Takes out the counts of minutes before the one of `now`, to be written to the journal.
    pub fn take_before(&self, now: Timestamp) -> Vec<Tally<IpAddr>> {
        self.reserve.take_before(now);
        self.sources.take_before(now)
    }
}

fn refused(spent: Spent) -> Error {
    Error::LimitReached { reason: Reason::RateLimited, retry_after: Some(spent.retry_after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_beyond_its_share_draws_on_the_reserve_and_then_waits() {
        let gate = Gate::new(1);
        let (source, now) = ([127, 0, 0, 1].into(), Timestamp::from_second(90).unwrap());
        gate.count(source, now).unwrap();
        gate.count(source, now).unwrap_err();
        for _ in 0..RESERVE {
            gate.check(source, now).unwrap();
        }
        assert!(matches!(gate.check(source, now), Err(Error::LimitReached { retry_after: Some(30), .. })));
        gate.check([127, 0, 0, 2].into(), now).unwrap();
        let counts: Vec<u64> = gate.take_before(Timestamp::from_second(120).unwrap()).iter().map(|t| t.count).collect();
        assert_eq!(counts, [3], "what was refused is counted, too");
    }
}
