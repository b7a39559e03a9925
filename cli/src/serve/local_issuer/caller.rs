//! Who tries to log in, so that nobody of this machine spends another's attempts. All of them come from a loopback address,
//! and anyone may choose among 16 million of those; on Linux the kernel tells whose socket it is.

use std::net::{IpAddr, SocketAddr};

/// Whose attempts are counted together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Caller {
    /// Another machine, behind a proxy that says so.
    Elsewhere(IpAddr),
    /// Any program of this machine, where the kernel does not tell whose.
    ThisMachine,
    /// Every program of a user of this machine.
    User(u32),
}

impl Caller {
    /// Of a request that came from `source`, by the connection of `peer` to a `port` of this process. Reads a file.
    pub(super) fn of(source: IpAddr, peer: SocketAddr, port: u16) -> Self {
        match source.is_loopback() {
            false => Self::Elsewhere(source),
            true => owner(peer, port).map_or(Self::ThisMachine, Self::User),
        }
    }
}

/// Whose the socket is at the other end.
fn owner(peer: SocketAddr, port: u16) -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let sockets = std::fs::read_to_string(table).ok()?;
        find(&sockets, peer, port)
    })
}

/// The user of the connected socket that is bound to `peer` and leads to `port` (proc_pid_net(5)).
fn find(sockets: &str, peer: SocketAddr, port: u16) -> Option<u32> {
    let (own, other) = (forms(peer), format!(":{port:04X}"));
    sockets.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let fits = own.iter().any(|own| own == local) && remote.ends_with(&other) && state == ESTABLISHED;
        if fits { words.nth(3)?.parse().ok() } else { None }
    })
}

/// How the tables write an address: words of the machine, in hex; an IPv4 one also as a socket of IPv6 has it.
fn forms(address: SocketAddr) -> Vec<String> {
    let written = |bytes: &[u8]| {
        let words = bytes.chunks(4).map(|word| word.try_into().map_or(0, u32::from_ne_bytes));
        let hex: String = words.map(|word| format!("{word:08X}")).collect();
        format!("{hex}:{:04X}", address.port())
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => vec![written(&ip.octets()), written(&ip.to_ipv6_mapped().octets())],
        IpAddr::V6(ip) => vec![written(&ip.octets())],
    }
}

const ESTABLISHED: &str = "01";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_socket_is_found_by_both_its_ends() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:20D0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n\
            1: 0100007F:D431 0100007F:20D0 06 00000000:00000000 00:00000000 00000000  1003        0 2 1 0 100 0 0 10 0\n\
            2: 0100007F:D431 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0 100 0 0 10 0\n\
            3: 0100007F:D431 0100007F:20D0 01 00000000:00000000 00:00000000 00000000  1000        0 4 1 0 100 0 0 10 0\n\
            4: 0000000000000000FFFF00000200007F:D431 0000000000000000FFFF00000100007F:20D0 01 0:0 00:0 0  1002 0 5 1 0\n";
        let table = [
            ("127.0.0.1:54321", 8400, Some(1000)),
            ("127.0.0.1:54321", 80, Some(1001)),
            ("127.0.0.2:54321", 8400, Some(1002)),
            ("[::ffff:127.0.0.2]:54321", 8400, Some(1002)),
            ("127.0.0.1:54321", 8401, None),
            ("127.0.0.1:54322", 8400, None),
            ("127.0.0.1:8400", 0, None),
        ];
        for (peer, port, want) in table {
            assert_eq!(find(sockets, peer.parse().unwrap(), port), want, "{peer} -> {port}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_whose_a_connection_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let peer = client.local_addr().unwrap();
        let own = rustix::process::getuid().as_raw();
        assert_eq!(Caller::of(peer.ip(), peer, port), Caller::User(own));
        assert_eq!(Caller::of([203, 0, 113, 9].into(), peer, port), Caller::Elsewhere([203, 0, 113, 9].into()));
        let nobody = SocketAddr::new([127, 0, 0, 9].into(), 1);
        assert_eq!(Caller::of(nobody.ip(), nobody, port), Caller::ThisMachine);
    }
}
