//! Requests without a verified principal: counted per source and minute, and bounded before any signature is checked.
//!
//! A token whose signature was checked before never waits here, so that a flood from an address does not keep the
//! humans and agents of that address from working, least of all from revoking.

use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::rate::{GroupedRate, Rate, Spent, Tally};
use aegis_core::reason::Reason;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Signatures that may be checked in a minute beyond the sources' shares: some 4 ms of one core in each second.
const RESERVE: u64 = 3_600;

/// Bounds and counts. One per process.
#[derive(Debug)]
pub struct Gate {
    /// IPv4 addresses and IPv6 /64 networks, which are one subscriber's; beyond those that are told apart, /16 and /32.
    sources: GroupedRate<IpAddr, IpAddr>,
    reserve: Rate<()>,
}

impl Gate {
    /// `per_minute` requests of each source.
    pub fn new(per_minute: u64) -> Self {
        Self { sources: GroupedRate::new(per_minute), reserve: Rate::new(RESERVE) }
    }

    /// Counts a request of `source` that has no principal.
    ///
    /// # Errors
    /// [`Error::LimitReached`] once the source has had its share of this minute.
    pub fn count(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        self.sources.count(&near(source), &wide(source), now).map_err(refused)
    }

    /// Whether a signature that was not seen before may be checked for `source`.
    ///
    /// # Errors
    /// [`Error::LimitReached`] once the source's share of this minute and the reserve are spent; the request is counted.
    pub fn check(&self, source: IpAddr, now: Timestamp) -> Result<(), Error> {
        let has_some = self.sources.check(&near(source), &wide(source), now).is_ok();
        if has_some || self.reserve.count(&(), now).is_ok() {
            return Ok(());
        }
        self.count(source, now)
    }

    /// Takes out the counts of minutes before the one of `now`, to be written to the journal.
    pub fn take_before(&self, now: Timestamp) -> Vec<Tally<IpAddr>> {
        self.reserve.take_before(now);
        let (mut tallies, wide) = self.sources.take_before(now);
        // The network of many is nobody's address.
        let mut rest: BTreeMap<Timestamp, u64> = BTreeMap::new();
        for tally in wide {
            let count = rest.entry(tally.minute).or_default();
            *count = count.saturating_add(tally.count);
        }
        tallies.extend(rest.into_iter().map(|(minute, count)| Tally { minute, key: None, count }));
        tallies
    }
}

/// The network of one subscriber.
fn near(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The network of one operator, roughly.
fn wide(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() >> 16 << 16).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 96 << 96).into(),
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

    #[test]
    fn one_who_has_addresses_without_end_is_one_source() {
        let (gate, now) = (Gate::new(1), Timestamp::from_second(60).unwrap());
        gate.count("2001:db8::1".parse().unwrap(), now).unwrap();
        gate.count("2001:db8::2".parse().unwrap(), now).unwrap_err();
        gate.count("2001:db8:0:1::1".parse().unwrap(), now).unwrap();
        gate.count("192.0.2.1".parse().unwrap(), now).unwrap();
        gate.count("::ffff:192.0.2.1".parse().unwrap(), now).unwrap_err();
        gate.count("192.0.2.2".parse().unwrap(), now).unwrap();
    }

    /// A /48 holds 65,536 of the networks that are told apart.
    #[test]
    fn one_who_has_networks_without_end_keeps_nobody_elsewhere_from_logging_in() {
        let (gate, now) = (Gate::new(1), Timestamp::from_second(60).unwrap());
        let network = |n: u32| Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(n) << 64)).into();
        for n in 0..10_000 {
            let _ = gate.check(network(n), now).and_then(|()| gate.count(network(n), now));
        }
        gate.check(network(20_000), now).unwrap_err();
        gate.check("192.0.2.7".parse().unwrap(), now).unwrap();
        gate.check("2001:db9::7".parse().unwrap(), now).unwrap();
        let tallies = gate.take_before(Timestamp::from_second(120).unwrap());
        let beyond: Vec<u64> = tallies.iter().filter(|tally| tally.key.is_none()).map(|tally| tally.count).collect();
        assert_eq!((tallies.len(), beyond), (4_097, vec![10_000 - 4_096 + 1]));
    }
}
