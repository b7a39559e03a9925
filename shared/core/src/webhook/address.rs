//! Which addresses webhooks are sent to. A name that leads into the deployment's own network would let whoever may make a
//! webhook knock at what only this machine can reach, above all at a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where webhooks may be sent, beside the addresses of public networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reach {
    pub private: bool,
    /// By its own name. On a host in a cloud what listens there is the host's own.
    pub this_machine: bool,
}

impl Reach {
    /// Of a host on a machine of its owner's.
    pub const OWN_MACHINE: Self = Self { private: false, this_machine: true };
}

/// Whether webhooks may be sent to `address`: to a public one, and where `private` is set to one of a private network.
/// Never to one of this link, of many at once, or of a cloud's metadata service.
pub fn is_reachable(address: IpAddr, private: bool) -> bool {
    match kind(address) {
        Kind::Public => true,
        Kind::Private => private,
        Kind::Never => false,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Never,
    Private,
    Public,
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

/// The IANA IPv4 Special-Purpose Address Registry.
fn kind_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // Azure's metadata and Alibaba's: one public, one in the shared address space.
        [168, 63, 129, 16] | [100, 100, 100, 200] => Kind::Never,
        [10 | 127, ..] | [192, 168, ..] => Kind::Private,
        [172, second, ..] if (16..32).contains(&second) => Kind::Private,
        [100, second, ..] if (64..128).contains(&second) => Kind::Private,
        // This network, this link, multicast, reserved, broadcast, protocol assignments, documentation, benchmarking, 6to4.
        [0 | 224.., ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => Kind::Never,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Never,
        _ => Kind::Public,
    }
}

/// The IANA IPv6 Special-Purpose Address Registry. What carries an IPv4 address is what that address is.
fn kind_v6(address: Ipv6Addr) -> Kind {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private,
        // Mapped, translated (RFC 6052), compatible, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, _, _] => Kind::Never,
        [0x2002, high, low, ..] => v4(high, low),
        // Amazon's metadata in the unique local range.
        [0xfd00, 0x0ec2, ..] => Kind::Never,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // Protocol assignments, Teredo among them, and documentation.
        [0x2001, 0..0x0200, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..0x1000, ..] => Kind::Never,
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_inside_is_taken_for_one_outside() {
        use Kind::{Never, Private, Public};
        let table = [
            ("93.184.215.14", Public),
            ("1.1.1.1", Public),
            ("172.15.255.255", Public),
            ("172.32.0.1", Public),
            ("100.63.255.255", Public),
            ("2606:4700::1111", Public),
            ("64:ff9b::101:101", Public),
            ("127.0.0.1", Private),
            ("127.255.255.254", Private),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("::1", Private),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:127.0.0.1", Private),
            ("64:ff9b::a00:1", Private),
            ("2002:a00:1::", Private),
            ("0.0.0.0", Never),
            ("169.254.169.254", Never),
            ("::ffff:169.254.169.254", Never),
            ("64:ff9b::a9fe:a9fe", Never),
            ("2002:a9fe:a9fe::1", Never),
            ("fd00:ec2::254", Never),
            ("168.63.129.16", Never),
            ("100.100.100.200", Never),
            ("192.0.0.192", Never),
            ("224.0.0.1", Never),
            ("255.255.255.255", Never),
            ("198.18.0.1", Never),
            ("203.0.113.7", Never),
            ("::", Never),
            ("::7f00:1", Never),
            ("fe80::1", Never),
            ("fec0::1", Never),
            ("ff02::1", Never),
            ("2001:db8::1", Never),
            ("2001::1", Never),
            ("64:ff9b:1::1", Never),
            ("100::1", Never),
        ];
        for (text, want) in table {
            let address = text.parse().unwrap();
            assert_eq!(kind(address), want, "{text}");
            assert_eq!(is_reachable(address, false), want == Public, "{text}");
            assert_eq!(is_reachable(address, true), want != Never, "{text}");
        }
    }
}
