//! Which deployment a command talks to, and as whom.

use super::home::{Contexts, Home};
use super::output;
use crate::Failure;
use crate::api::{Answer, Api};
use serde_json::Value;
use std::net::IpAddr;

/// Where `aegis serve` listens by default.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8400";

/// Flags of every command. The environment variable AEGIS_TOKEN goes before the stored session; there is no flag for
/// it, since flags are seen by everyone on the machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// The deployment to talk to, by its name in `aegis context list`
    #[arg(long = "context", global = true, value_name = "NAME", help_heading = "Deployment")]
    in_context: Option<String>,
    /// The deployment to talk to [env: AEGIS_URL] [default: the current context, else http://127.0.0.1:8400]
    #[arg(long = "url", global = true, value_name = "URL", help_heading = "Deployment", conflicts_with = "in_context")]
    at_url: Option<Url>,
    /// Print the API's JSON instead of text
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
}

/// A deployment's address: `https`, or `http` to this machine, where nobody else can read a token on its way. Behind a gateway
/// it may lie below a path, as `/live`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url(String);

impl std::str::FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri: http::Uri = text.parse().map_err(|_| BadUrl::Malformed)?;
        let host = uri.host().ok_or(BadUrl::Malformed)?;
        let loopback = is_loopback(host);
        match uri.scheme_str() {
            _ if uri.query().is_some() || !uri.path().split('/').all(is_segment) => Err(BadUrl::Malformed),
            Some("https") => Ok(Self(text.trim_end_matches('/').to_string())),
            Some("http") if loopback => Ok(Self(text.trim_end_matches('/').to_string())),
            Some("http") => Err(BadUrl::Plain),
            _ => Err(BadUrl::Malformed),
        }
    }
}

/// Of a path that needs no encoding, and leads nowhere else. What begins with `v1` is the API below it.
fn is_segment(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    segment.bytes().all(plain) && !["..", "v1"].contains(&segment)
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address: IpAddr| address.is_loopback())
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadUrl {
    #[error("a deployment's URL reads https://host:port, perhaps with a path, or http://127.0.0.1:port")]
    Malformed,
    #[error("plain http is for this machine alone: the token could be read on its way")]
    Plain,
}

/// A deployment, and what the caller wants to see of its answers.
pub(crate) struct Client {
    pub(crate) api: Api,
    pub(crate) url: String,
    pub(crate) json: bool,
}

impl Connection {
    /// Whether the command line names a deployment.
    pub(crate) fn is_named(&self) -> bool {
        self.at_url.is_some() || self.in_context.is_some()
    }

    /// With nothing proved: for what is public.
    pub(crate) fn anonymous(&self) -> Result<Client, Failure> {
        let url = self.url(&Home::find()?.contexts()?)?;
        Ok(Client { api: Api::new(&url)?, url, json: self.json })
    }

    /// As the holder of `AEGIS_TOKEN`, else of the stored session.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = self.anonymous()?;
        if let Some(token) = set("AEGIS_TOKEN") {
            return Ok(Client { api: client.api.with_token(&token), ..client });
        }
        match Home::find()?.session(&client.url)? {
            Some(session) => Ok(Client { api: client.api.with_token(&session.token), ..client }),
            None => Err(Failure::NotLoggedIn { url: client.url }),
        }
    }

    fn url(&self, contexts: &Contexts) -> Result<String, Failure> {
        let named = |name: &str| {
            let url = contexts.contexts.get(name).cloned();
            url.ok_or_else(|| Failure::Usage(format!("no context `{name}`; see: aegis context list")))
        };
        if let Some(url) = &self.at_url {
            return Ok(url.to_string());
        }
        if let Some(name) = &self.in_context {
            return named(name);
        }
        if let Some(url) = set("AEGIS_URL") {
            let read = url.parse::<Url>().map(|url| url.to_string());
            return read.map_err(|error| Failure::Usage(format!("AEGIS_URL: {error}")));
        }
        contexts.current.as_deref().map_or_else(|| Ok(DEFAULT_URL.to_string()), named)
    }
}

impl Client {
    /// Shows an answer: as it came, or as `render` has it.
    pub(crate) fn show(&self, value: &Value, render: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        match self.json {
            true => output::json(value),
            false => output::line(&render(value)),
        }
    }

    /// Every item of a listing, page by page.
    pub(crate) fn all(&self, path: &str, what: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let next = if path.contains('?') { '&' } else { '?' };
        let mut cursor = String::new();
        loop {
            let mut page =
                self.api.get(&format!("{path}{next}limit=200{cursor}")).and_then(|page| Answer::ok(page, what))?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }
}

/// An environment variable that is set and not empty.
pub(crate) fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_encrypted_or_not_at_all() {
        let table = [
            ("https://aegis.example.org", Ok("https://aegis.example.org")),
            ("http://127.0.0.1:8400/", Ok("http://127.0.0.1:8400")),
            ("http://[::1]:8400", Ok("http://[::1]:8400")),
            ("http://localhost:1", Ok("http://localhost:1")),
            ("http://aegis.example.org", Err(BadUrl::Plain)),
            ("http://127.0.0.1.example.org", Err(BadUrl::Plain)),
            ("ftp://127.0.0.1", Err(BadUrl::Malformed)),
            ("127.0.0.1:8400", Err(BadUrl::Malformed)),
            ("https://aegis.example.org/live/", Ok("https://aegis.example.org/live")),
            ("https://aegis.example.org/keys/live-1.2_b", Ok("https://aegis.example.org/keys/live-1.2_b")),
            ("https://aegis.example.org/v1", Err(BadUrl::Malformed)),
            ("https://aegis.example.org/live/../other", Err(BadUrl::Malformed)),
            ("https://aegis.example.org/live?stage=1", Err(BadUrl::Malformed)),
            ("https://aegis.example.org/a%2Fb", Err(BadUrl::Malformed)),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<Url>().map(|url| url.to_string()), want.map(str::to_string), "{text}");
        }
    }
}
