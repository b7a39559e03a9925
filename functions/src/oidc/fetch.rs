//! Discovery and the key set (OpenID Connect Discovery 1.0), through a client that is bounded in time and size and follows
//! no redirect.

use super::{Issuer, Unusable, is_private, is_this_machine};
use aegis_core::error::Cause;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// Longest wait for one answer, from resolving the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes: providers send some 5 KiB.
const MAX_ANSWER: u64 = 256 * 1024;

/// One provider, as a client meets it.
pub struct Source {
    issuer: Issuer,
    agent: ureq::Agent,
}

/// The discovery document, as far as it is read.
#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

/// Where a browser logs in, and gets the ID token for the code that it comes back with.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    #[serde(rename = "authorization_endpoint")]
    pub authorization: String,
    #[serde(rename = "token_endpoint")]
    pub token: String,
}

/// Keys one by one: one of a kind that nobody here knows must not hide the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Source {
    pub fn new(issuer: Issuer, ca_file: Option<&Path>) -> Result<Self, Unusable> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")));
        if issuer.0.parse().is_ok_and(|uri| is_this_machine(&uri)) {
            config = config.proxy(None);
        }
        if issuer.0.starts_with("https:") {
            config = config.tls_config(tls(ca_file)?);
        }
        Ok(Self { issuer, agent: config.build().into() })
    }

    /// The provider's keys as it publishes them now.
    pub fn fetch(&self) -> Result<Vec<Jwk>, Cause> {
        let discovery: Discovery = self.discover()?;
        let set: KeySet = self.get(&discovery.jwks_uri)?;
        let keys: Vec<Jwk> = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        tracing::info!(keys = keys.len(), "identity provider's keys fetched");
        Ok(keys)
    }

    /// Where a browser logs in, as the provider says now.
    pub fn endpoints(&self) -> Result<Endpoints, Cause> {
        let found: Endpoints = self.discover()?;
        self.refuse_open(&found.authorization)?;
        self.refuse_open(&found.token)?;
        tracing::info!("identity provider's endpoints fetched");
        Ok(found)
    }

    /// The discovery document, if it is this issuer's own.
    pub fn discover<T: DeserializeOwned>(&self) -> Result<T, Cause> {
        let issuer = &self.issuer.0;
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let document: serde_json::Value = self.get(&format!("{base}/.well-known/openid-configuration"))?;
        match document.get("issuer").and_then(serde_json::Value::as_str) {
            Some(named) if named == issuer => Ok(T::deserialize(document)?),
            Some(named) => Err(format!("it calls itself {named:?}, not {issuer:?}").into()),
            None => Err("its discovery document is not what it should be: it names no issuer".into()),
        }
    }

    /// What comes in the clear could be anybody's, and so could an address on this machine that a stranger names.
    fn refuse_open(&self, address: &str) -> Result<(), Cause> {
        let uri: http::Uri = address.parse()?;
        match is_private(&uri) && (uri.scheme_str() == Some("https") || !self.issuer.0.starts_with("https:")) {
            true => Ok(()),
            false => Err(format!("it names {uri}, which is not private").into()),
        }
    }

    /// An answer's status, and its JSON.
    pub fn post_form(&self, address: &str, form: &[(&str, &str)]) -> Result<(u16, serde_json::Value), Cause> {
        self.refuse_open(address)?;
        let request = self.agent.post(address).header("accept", "application/json");
        let mut response = request.send_form(form.iter().copied())?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, Cause> {
        self.refuse_open(address)?;
        let mut response = self.agent.get(address).header("accept", "application/json").call()?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("{address} answered {}", response.status()).into());
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        serde_json::from_slice(&body).map_err(|error| format!("{address} is not what it should be: {error}").into())
    }
}

/// TLS by rustls on aws-lc-rs, for a client that trusts the authorities of a file, or the system's.
pub fn tls(ca_file: Option<&Path>) -> Result<TlsConfig, Unusable> {
    let roots = ca_file.map_or_else(system_authorities, authorities_of)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

fn authorities_of(path: &Path) -> Result<Vec<Certificate<'static>>, Unusable> {
    let what = |why: &str| Unusable(format!("ca_file {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| what(&error.to_string()))?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| what(&error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(what("it holds no certificate")) } else { Ok(found) }
}

fn system_authorities() -> Result<Vec<Certificate<'static>>, Unusable> {
    // Single files that cannot be read are common, and the rest will do.
    let found = rustls_native_certs::load_native_certs().certs;
    match found.is_empty() {
        false => Ok(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()),
        true => Err(Unusable("no certificate authorities were found on this system: name a file of them".to_string())),
    }
}
