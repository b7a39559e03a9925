//! Whose word counts on where a request comes from. `X-Forwarded-For` is written by anybody; only what a configured proxy
//! added to it is true (DESIGN §7).

use http::HeaderMap;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// The proxies in front of this server; none by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Proxies(Vec<Network>);

/// Addresses that begin alike: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
struct Network {
    address: IpAddr,
    /// Bits that count.
    prefix: u32,
}

impl Proxies {
    /// Where a request comes from that `peer` hands in: the last address which none of the proxies has.
    ///
    /// Each proxy adds, at the end, whom it heard from. What stands before the last stranger is the stranger's own tale.
    pub(super) fn source(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut source = peer.to_canonical();
        let written = headers.get_all(FORWARDED_FOR).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let mut hops: Vec<&[u8]> = written.collect();
        while self.trusts(source) {
            // A hop that is no address: the proxy that wrote it is the last that is known.
            let Some(hop) = hops.pop().and_then(address_of) else { break };
            source = hop;
        }
        source
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            let ignored = bits.saturating_sub(self.prefix);
            own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text.as_str(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), str::parse).map_err(|_| InvalidNetwork)?;
        // Whoever trusts everyone's word asks nobody's.
        if (1..=most).contains(&prefix) { Ok(Self { address, prefix }) } else { Err(InvalidNetwork) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a trusted proxy is an address, or a network such as 10.0.0.0/8")]
struct InvalidNetwork;

/// Some proxies write the port, too.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_what_a_trusted_proxy_added_counts() {
        let own = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];
        let table: [(&str, &[&str], &str); 15] = [
            // From nobody we trust: what is written is a tale.
            ("198.51.100.1", &["203.0.113.9"], "198.51.100.1"),
            ("192.0.2.8", &["203.0.113.9"], "192.0.2.8"),
            ("11.0.0.1", &["203.0.113.9"], "11.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // A client that writes the header itself stands before the proxy's word.
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.9, 203.0.113.9, 192.0.2.7"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9, 192.0.2.7, 10.1.2.3"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            // What nobody can read stops the search at who wrote it.
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ];
        let proxies = Proxies(own.map(|text| Network::try_from(text.to_string()).unwrap()).into());
        for (peer, lines, want) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let source = proxies.source(peer.parse().unwrap(), &headers);
            assert_eq!(source.to_string(), want, "{peer} {lines:?}");
            assert_eq!(
                Proxies::default().source(peer.parse().unwrap(), &headers).to_string(),
                peer.replace("::ffff:", "")
            );
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix_of_one() {
        for good in ["10.0.0.0/8", "10.0.0.1", "10.0.0.1/32", "::1", "fd00::/8"] {
            assert!(Network::try_from(good.to_string()).is_ok(), "{good}");
        }
        for bad in ["", "proxy.example", "10.0.0.0/0", "10.0.0.0/33", "::/0", "::/129", "10.0.0.0/", "10.0.0/8"] {
            assert!(Network::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
