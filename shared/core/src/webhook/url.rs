//! Where a webhook points. What is accepted here is a form; whether the address behind it may be reached is decided on
//! the address itself, when the connection is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// An `https` address, or plain `http` on this machine; without credentials and fragment. At most 2,048 bytes.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^https?://[!-~]+$", "maxLength" = 2048))]
pub struct WebhookUrl(String);

/// Why a text is no address of a webhook.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("it holds a user name or password; a receiver knows Aegis by its signature")]
    Credentials,
    #[error("it has no host, or one that is no name or address")]
    Host,
    #[error("it is longer than 2048 bytes")]
    Long,
    #[error("it has a character that a URL cannot have, or a fragment")]
    Malformed,
    #[error("its port is no number from 1 to 65535")]
    Port,
    #[error("it must begin with https://; http:// is for this machine alone")]
    Scheme,
    #[error("its address is one that webhooks are never sent to")]
    Unreachable,
}

impl WebhookUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        split(&self.0).map(|(_, host, _)| host).unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The address it names, if it names one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Whether it names this machine, in so many words.
    pub fn is_this_machine(&self) -> bool {
        is_this_machine(self.host())
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        if text.len() > 2_048 {
            return Err(InvalidUrl::Long);
        }
        // RFC 3986 §2, without `#`: what it cannot have is escaped, or no URL.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(InvalidUrl::Malformed);
        }
        let (secure, host, rest) = split(&text)?;
        let bracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or_default());
        let well_formed = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.len() <= 253 && host.split('.').all(is_label),
        };
        match () {
            () if !well_formed => Err(InvalidUrl::Host),
            () if !rest.is_empty() && !rest.starts_with(['/', '?']) => Err(InvalidUrl::Malformed),
            () if rest.contains(['[', ']']) => Err(InvalidUrl::Malformed),
            () if !secure && !is_this_machine(bracketed.unwrap_or(host)) => Err(InvalidUrl::Scheme),
            () => Ok(Self(text)),
        }
    }
}

/// Whether it is secure, the host as it is written, and what follows host and port.
fn split(text: &str) -> Result<(bool, &str, &str), InvalidUrl> {
    let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(InvalidUrl::Scheme),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(InvalidUrl::Malformed)?;
    if authority.contains('@') {
        return Err(InvalidUrl::Credentials);
    }
    let after_address = authority.rfind(']').map_or(0, |at| at.saturating_add(1));
    if authority.starts_with('[') && after_address == 0 {
        return Err(InvalidUrl::Host);
    }
    let (address, tail) = authority.split_at_checked(after_address).ok_or(InvalidUrl::Host)?;
    let (name, port) = tail.split_once(':').map_or((tail, None), |(name, port)| (name, Some(port)));
    let host = match (address.is_empty(), name.is_empty()) {
        (true, false) => name,
        (false, true) => address,
        _ => return Err(InvalidUrl::Host),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    match port {
        Some(port) if !is_port(port) => Err(InvalidUrl::Port),
        _ => Ok((secure, host, rest)),
    }
}

/// RFC 1123 §2.1, and the underscore that names inside of organisations have.
fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> String {
        url.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_without_credentials() {
        let table = [
            ("https://hooks.example.org/aegis?team=a", Ok("hooks.example.org")),
            ("https://hooks.example.org", Ok("hooks.example.org")),
            ("https://[2001:db8::1]:8443/x", Ok("2001:db8::1")),
            ("https://10.0.0.1/", Ok("10.0.0.1")),
            ("http://127.0.0.1:9000/hook", Ok("127.0.0.1")),
            ("http://[::1]:9000/", Ok("::1")),
            ("http://localhost", Ok("localhost")),
            ("http://hooks.example.org/", Err(InvalidUrl::Scheme)),
            ("http://127.0.0.1.example.org/", Err(InvalidUrl::Scheme)),
            ("http://10.0.0.1/", Err(InvalidUrl::Scheme)),
            ("ftp://hooks.example.org/", Err(InvalidUrl::Scheme)),
            ("HTTPS://hooks.example.org/", Err(InvalidUrl::Scheme)),
            ("//hooks.example.org/", Err(InvalidUrl::Scheme)),
            ("https://user:pass@hooks.example.org/", Err(InvalidUrl::Credentials)),
            ("https://hooks.example.org@127.0.0.1/", Err(InvalidUrl::Credentials)),
            ("https://hooks.example.org/#part", Err(InvalidUrl::Malformed)),
            ("https://hooks.example.org/a b", Err(InvalidUrl::Malformed)),
            ("https://hooks.example.org/\r\nx: y", Err(InvalidUrl::Malformed)),
            ("https://hooks.example.org\\@evil.example/", Err(InvalidUrl::Malformed)),
            ("https://", Err(InvalidUrl::Host)),
            ("https://:443/", Err(InvalidUrl::Host)),
            ("https://-x.example/", Err(InvalidUrl::Host)),
            ("https://a..b/", Err(InvalidUrl::Host)),
            ("https://[::1/", Err(InvalidUrl::Host)),
            ("https://[::g]/", Err(InvalidUrl::Host)),
            ("https://x[::1]/", Err(InvalidUrl::Host)),
            ("https://hooks.example.org:0/", Err(InvalidUrl::Port)),
            ("https://hooks.example.org:65536/", Err(InvalidUrl::Port)),
            ("https://hooks.example.org:+80/", Err(InvalidUrl::Port)),
            ("https://hooks.example.org:/", Err(InvalidUrl::Port)),
        ];
        for (text, want) in table {
            let got = WebhookUrl::try_from(text.to_string());
            assert_eq!(got.as_ref().map(WebhookUrl::host), want.as_ref().map(|host| *host), "{text}");
        }
        let long = format!("https://hooks.example.org/{}", "a".repeat(2_048));
        assert_eq!(WebhookUrl::try_from(long), Err(InvalidUrl::Long));
    }
}
