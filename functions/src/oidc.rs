//! The operator's own identity provider: its settings, and its keys as they are now. Humans meet it without Aegis; what
//! comes here is an ID token, and all that is asked of the provider is its public keys.

mod fetch;
pub use fetch::{Source, tls};

use aegis_core::ambient::Timestamp;
use aegis_core::error::{Cause, Error};
use aegis_core::login::{HumanClaim, Provider, ProviderKeys};
use async_trait::async_trait;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// `[oidc]` in the settings. There is one provider, since a subject is unique only within its issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: Issuer,
    /// What the provider knows Aegis by: the audience of its ID tokens. A public client, which `aegis login` uses too.
    pub client_id: String,
    /// What `aegis login` asks for: some providers tell a claim only to who asks for its scope.
    #[serde(default = "openid")]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub human_claim: HumanClaim,
    /// Who may vouch for the provider's certificate, in PEM; the system's authorities if absent.
    pub ca_file: Option<PathBuf>,
}

/// What is asked for if nothing is said.
pub fn openid() -> Vec<String> {
    vec!["openid".to_string()]
}

impl Oidc {
    /// What a human's name is unique among.
    pub fn humans_from(&self) -> String {
        match self.human_claim {
            HumanClaim::Email => format!("{} by email", self.issuer),
            HumanClaim::Sub => self.issuer.to_string(),
        }
    }

    /// Without the scope `openid` there is no ID token.
    pub fn asks_for_id_tokens(&self) -> bool {
        let word = |scope: &String| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic());
        self.scopes.iter().all(word) && self.scopes.iter().any(|scope| scope == "openid")
    }

    /// The provider, of which nothing is asked before the first login.
    pub fn provider(&self) -> Result<Provider, Unusable> {
        let source = Source::new(self.issuer.clone(), self.ca_file.as_deref())?;
        Ok(Provider {
            issuer: self.issuer.0.clone(),
            client_id: self.client_id.clone(),
            human_claim: self.human_claim,
            keys: Arc::new(FetchedKeys::new(move || source.fetch())),
            device_scopes: Some(self.scopes.clone()),
        })
    }
}

/// Where a provider's tokens come from: an `https` address, or plain `http` on this machine. Compared as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Issuer(String);

impl Issuer {
    /// Whether it is a program of this machine.
    pub fn is_this_machine(&self) -> bool {
        self.0.parse().is_ok_and(|uri| is_this_machine(&uri))
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Issuer {
    type Error = InvalidIssuer;

    fn try_from(text: String) -> Result<Self, InvalidIssuer> {
        let plain = !text.contains(['?', '#', '@']);
        let uri = text.parse::<http::Uri>().ok().filter(|uri| plain && is_private(uri));
        uri.map(|_| Self(text)).ok_or(InvalidIssuer)
    }
}

/// A provider, or a file of authorities, that cannot be used: what the operator named is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

#[derive(Debug, thiserror::Error)]
#[error("an issuer is an https address without query and fragment; http is for this machine alone")]
pub struct InvalidIssuer;

/// Whether nobody between here and there reads or changes what is sent.
fn is_private(uri: &http::Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => uri.host().is_some_and(|host| !host.is_empty()),
        Some("http") => is_this_machine(uri),
        _ => false,
    }
}

fn is_this_machine(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How long fetched keys are taken for the provider's, in seconds: a key that it withdrew is refused no later.
const KEPT: i64 = 600;
/// Shortest time between two fetches, in seconds, whatever ids are asked for and whether or not the last one succeeded.
const BETWEEN_FETCHES: i64 = 30;

/// A provider's keys, fetched when needed.
pub struct FetchedKeys(Arc<Shared>);

struct Shared {
    fetch: Box<Fetch>,
    latest: Mutex<Latest>,
    /// Held while fetching: whoever waits for it finds what the other brought.
    turn: tokio::sync::Mutex<()>,
}

/// Asks the provider. It blocks.
type Fetch = dyn Fn() -> Result<Vec<Jwk>, Cause> + Send + Sync;

#[derive(Default)]
struct Latest {
    keys: Vec<Jwk>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    failed: bool,
}

impl FetchedKeys {
    pub fn new(fetch: impl Fn() -> Result<Vec<Jwk>, Cause> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { fetch: Box::new(fetch), latest: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }
}

#[async_trait]
impl ProviderKeys for FetchedKeys {
    async fn find(&self, kid: &str, now: Timestamp) -> Result<Option<Jwk>, Error> {
        if let Some(jwk) = self.0.known(kid, now) {
            return Ok(Some(jwk));
        }
        // A task of its own: a caller who hangs up does not undo the fetch that is counted as done.
        let (shared, kid) = (Arc::clone(&self.0), kid.to_string());
        tokio::spawn(async move { shared.find(&kid, now).await }).await.map_err(|error| unavailable(error.into()))?
    }
}

impl Shared {
    async fn find(self: Arc<Self>, kid: &str, now: Timestamp) -> Result<Option<Jwk>, Error> {
        let _turn = self.turn.lock().await;
        if let Some(jwk) = self.known(kid, now) {
            return Ok(Some(jwk));
        }
        let asked_lately = self.latest(|latest| within(latest.asked_at, now, BETWEEN_FETCHES));
        if !asked_lately {
            self.latest(|latest| (latest.asked_at, latest.failed) = (Some(now), true));
            let shared = Arc::clone(&self);
            let fetched = tokio::task::spawn_blocking(move || (shared.fetch)()).await;
            let keys = fetched.map_err(|error| unavailable(error.into()))?.map_err(unavailable)?;
            tracing::info!(keys = keys.len(), "identity provider's keys fetched");
            self.latest(|latest| {
                (latest.keys, latest.fetched_at, latest.failed) = (keys, Some(now), false);
            });
        }
        // Without the provider nobody can tell a new key from a made-up one.
        match self.latest(|latest| latest.failed) {
            false => Ok(self.known(kid, now)),
            true => Err(unavailable("it was asked less than 30 seconds ago".into())),
        }
    }

    fn known(&self, kid: &str, now: Timestamp) -> Option<Jwk> {
        self.latest(|latest| {
            let fresh = within(latest.fetched_at, now, KEPT);
            latest.keys.iter().find(|jwk| fresh && jwk.common.key_id.as_deref() == Some(kid)).cloned()
        })
    }

    fn latest<T>(&self, act: impl FnOnce(&mut Latest) -> T) -> T {
        act(&mut self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether less than `seconds` lie between, in either direction: a clock that was set back must not keep old keys alive.
fn within(then: Option<Timestamp>, now: Timestamp, seconds: i64) -> bool {
    then.is_some_and(|then| now.as_second().saturating_sub(then.as_second()).saturating_abs() < seconds)
}

fn unavailable(source: Cause) -> Error {
    Error::Unavailable { dependency: "the identity provider", source }
}
