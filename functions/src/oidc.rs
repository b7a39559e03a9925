//! The operator's own identity provider: its settings, and its keys as they are now. Humans meet it without Aegis; what
//! comes here is an ID token, and all that is asked of the provider is its public keys and where a browser logs in.

mod fetch;
pub use fetch::{Endpoints, Source, tls};

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
    /// Whether humans answer approvals in a browser, too. The provider must know the page's address, and only its operator
    /// knows whether it does.
    #[serde(default)]
    pub approval_page: bool,
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
            humans_from: self.humans_from(),
            client_id: self.client_id.clone(),
            human_claim: self.human_claim,
            keys: Arc::new(FetchedKeys::new(move || source.fetch())),
            device_scopes: Some(self.scopes.clone()),
        })
    }

    /// Where a browser logs in, of which nothing is asked before it is needed.
    pub fn endpoints(&self) -> Result<Fetched<Endpoints>, Unusable> {
        let source = Source::new(self.issuer.clone(), self.ca_file.as_deref())?;
        Ok(Fetched::new(move || source.endpoints()))
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

/// How long what was fetched is taken for the provider's, in seconds: a key that it withdrew is refused no later.
const KEPT: i64 = 600;
/// Shortest time between two fetches, in seconds, whatever is asked for and whether or not the last one succeeded.
const BETWEEN_FETCHES: i64 = 30;

/// A provider's keys, fetched when needed.
pub type FetchedKeys = Fetched<Vec<Jwk>>;

/// What a provider publishes, fetched when needed.
pub struct Fetched<T>(Arc<Shared<T>>);

struct Shared<T> {
    fetch: Box<Fetch<T>>,
    latest: Mutex<Latest<T>>,
    /// Held while fetching: whoever waits for it finds what the other brought.
    turn: tokio::sync::Mutex<()>,
}

/// Asks the provider. It blocks.
type Fetch<T> = dyn Fn() -> Result<T, Cause> + Send + Sync;

struct Latest<T> {
    found: Option<T>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    failed: bool,
}

impl<T: Send + 'static> Fetched<T> {
    pub fn new(fetch: impl Fn() -> Result<T, Cause> + Send + Sync + 'static) -> Self {
        let latest = Latest { found: None, fetched_at: None, asked_at: None, failed: false };
        Self(Arc::new(Shared {
            fetch: Box::new(fetch),
            latest: Mutex::new(latest),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// What `pick` finds in what the provider publishes now.
    pub async fn pick<R: Send + 'static>(
        &self,
        now: Timestamp,
        pick: impl Fn(&T) -> Option<R> + Send + Sync + 'static,
    ) -> Result<Option<R>, Error> {
        if let Some(found) = self.0.known(now, &pick) {
            return Ok(Some(found));
        }
        // A task of its own: a caller who hangs up does not undo the fetch that is counted as done.
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move { shared.find(now, &pick).await }).await.map_err(|error| unavailable(error.into()))?
    }
}

#[async_trait]
impl ProviderKeys for FetchedKeys {
    async fn find(&self, kid: &str, now: Timestamp) -> Result<Option<Jwk>, Error> {
        let kid = kid.to_string();
        let named = move |keys: &Vec<Jwk>| keys.iter().find(|jwk| jwk.common.key_id.as_ref() == Some(&kid)).cloned();
        self.pick(now, named).await
    }
}

impl<T: Send + 'static> Shared<T> {
    async fn find<R>(
        self: Arc<Self>,
        now: Timestamp,
        pick: &(impl Fn(&T) -> Option<R> + Sync),
    ) -> Result<Option<R>, Error> {
        let _turn = self.turn.lock().await;
        if let Some(found) = self.known(now, pick) {
            return Ok(Some(found));
        }
        let asked_lately = self.latest(|latest| within(latest.asked_at, now, BETWEEN_FETCHES));
        if !asked_lately {
            self.latest(|latest| (latest.asked_at, latest.failed) = (Some(now), true));
            let shared = Arc::clone(&self);
            let fetched = tokio::task::spawn_blocking(move || (shared.fetch)()).await;
            let fetched = fetched.map_err(|error| unavailable(error.into()))?.map_err(unavailable)?;
            self.latest(|latest| {
                (latest.found, latest.fetched_at, latest.failed) = (Some(fetched), Some(now), false);
            });
        }
        // Without the provider nobody can tell a new key from a made-up one.
        match self.latest(|latest| latest.failed) {
            false => Ok(self.known(now, pick)),
            true => Err(unavailable("it was asked less than 30 seconds ago".into())),
        }
    }

    fn known<R>(&self, now: Timestamp, pick: &impl Fn(&T) -> Option<R>) -> Option<R> {
        self.latest(|latest| {
            let fresh = within(latest.fetched_at, now, KEPT);
            latest.found.as_ref().filter(|_| fresh).and_then(pick)
        })
    }

    fn latest<R>(&self, act: impl FnOnce(&mut Latest<T>) -> R) -> R {
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
