//! One post to a receiver: bounded in time, to an address that was looked at, following no redirect, through no proxy.
//! Nothing of what the receiver says is kept but its status.

use aegis_core::webhook::attempt::{Answer, Outgoing};
use aegis_core::webhook::{Reach, is_reachable};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;
use ureq::config::Config;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// A client for receivers.
#[derive(Debug)]
pub struct Poster {
    agent: ureq::Agent,
    secure: bool,
}

/// How long a receiver may take, from resolving its name to its status, as the Standard Webhooks specification has it.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer's body that are read, and thrown away, for the sake of the connection.
const SMALL: u64 = 4 * 1024;

impl Poster {
    /// Without `tls` it reaches this machine alone, if that.
    pub fn new(tls: Option<TlsConfig>, reach: Reach, patience: Duration) -> Self {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(patience))
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")));
        let secure = tls.is_some();
        if let Some(tls) = tls {
            config = config.tls_config(tls);
        }
        let resolver = Checked { reach, inner: DefaultResolver::default() };
        Self { agent: ureq::Agent::with_parts(config.build(), DefaultConnector::default(), resolver), secure }
    }

    /// Blocks until there is an answer, or none to wait for.
    pub fn post(&self, outgoing: &Outgoing) -> Answer {
        if !self.secure && outgoing.url.as_str().starts_with("https:") {
            return Answer::Unanswered { why: "no certificate authorities were found on this system" };
        }
        let mut request = self.agent.post(outgoing.url.as_str());
        for (name, value) in &outgoing.headers {
            request = request.header(*name, value.as_str());
        }
        match request.send(outgoing.body.as_slice()) {
            Ok(mut response) => {
                let retry_after = response.headers().get(http::header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_string);
                if response.body().content_length().is_some_and(|length| length <= SMALL) {
                    // The status is what counts.
                    let _ = response.body_mut().with_config().limit(SMALL).read_to_vec();
                }
                Answer::Answered { status: response.status().as_u16(), retry_after }
            }
            Err(error) => Answer::Unanswered { why: why(&error) },
        }
    }
}

fn why(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "it did not answer in time",
        ureq::Error::HostNotFound => "its name leads nowhere",
        ureq::Error::ConnectionFailed => "it takes no connection",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => UNTRUSTED,
        ureq::Error::Other(other) if other.is::<Unreachable>() => UNREACHABLE,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => "it takes no connection",
            ErrorKind::InvalidData => UNTRUSTED,
            ErrorKind::TimedOut => "it did not answer in time",
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => "it broke off",
            _ => "it could not be reached",
        },
        _ => "its answer is no HTTP",
    }
}

const UNTRUSTED: &str = "its certificate is not trusted, or TLS failed";
const UNREACHABLE: &str = "its address is one that webhooks are not sent to; see `webhooks_to_private`";

/// Resolves a name to those of its addresses that webhooks may be sent to. The connection is made to what this returns:
/// a name cannot lead elsewhere between the look and the connection.
#[derive(Debug)]
struct Checked {
    reach: Reach,
    inner: DefaultResolver,
}

#[derive(Debug, thiserror::Error)]
#[error("no address that webhooks are sent to")]
struct Unreachable;

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut reachable = self.empty();
        for address in found.iter().filter(|address| self.may_reach(uri, address.ip())) {
            reachable.push(*address);
        }
        match reachable.is_empty() {
            false => Ok(reachable),
            true => Err(ureq::Error::Other(Box::new(Unreachable))),
        }
    }
}

impl Checked {
    /// This machine only by its own name, if at all, and plain HTTP nowhere else.
    fn may_reach(&self, uri: &http::Uri, address: IpAddr) -> bool {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let names_this_machine =
            host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match (names_this_machine, uri.scheme_str()) {
            (true, _) => self.reach.this_machine && address.is_loopback(),
            (false, Some("https")) => is_reachable(address, self.reach.private),
            (false, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name is judged by the address it leads to, not by what it says.
    #[test]
    fn what_is_connected_to_is_what_counts() {
        let never = ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fe80::1"];
        let table = [
            ("https://hooks.example.org/", "93.184.215.14", true, true),
            ("https://hooks.example.org/", "10.0.0.1", false, true),
            ("https://hooks.example.org/", "127.0.0.1", false, true),
            ("https://hooks.example.org/", "::ffff:127.0.0.1", false, true),
            ("https://10.0.0.1/", "10.0.0.1", false, true),
            ("https://localhost/", "127.0.0.1", true, true),
            ("https://localhost/", "93.184.215.14", false, false),
            ("http://127.0.0.1:9000/", "127.0.0.1", true, true),
            ("http://[::1]:9000/", "::1", true, true),
            ("http://localhost/", "10.0.0.1", false, false),
            ("http://hooks.example.org/", "127.0.0.1", false, false),
            ("http://hooks.example.org/", "93.184.215.14", false, false),
        ];
        let may_with = |uri: &str, address: &str, reach| {
            let checked = Checked { reach, inner: DefaultResolver::default() };
            checked.may_reach(&uri.parse().unwrap(), address.parse().unwrap())
        };
        let may = |uri: &str, address: &str, private| may_with(uri, address, Reach { private, ..Reach::OWN_MACHINE });
        let nowhere_near = Reach { private: false, this_machine: false };
        for (uri, address, usually, with_private) in table {
            assert_eq!(may(uri, address, false), usually, "{uri} {address}");
            assert_eq!(may(uri, address, true), with_private, "{uri} {address} with private");
            let loopback = address.parse::<IpAddr>().unwrap().is_loopback();
            assert_eq!(may_with(uri, address, nowhere_near), usually && !loopback, "{uri} {address} in a cloud");
        }
        for address in never {
            assert!(!may("https://hooks.example.org/", address, true), "{address}");
        }
    }
}
