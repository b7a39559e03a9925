//! The local issuer: an identity provider for one machine, so that a laptop needs no other. It knows passphrases and
//! issues ID tokens; Aegis treats those like any provider's. Never started on an address that is not loopback.

mod caller;
mod places;

use super::page;
use aegis_core::ambient::{Clock, Entropy};
use aegis_core::encoding::{hex, object};
use aegis_core::error::Error;
use aegis_core::human::{Human, Role};
use aegis_core::id::{RecordId, RequestId};
use aegis_core::journal;
use aegis_core::name::HumanId;
use aegis_core::operation::Operation;
use aegis_core::rate::Rate;
use aegis_core::reason::Reason;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::repository::{self, Document, Loaded};
use aegis_core::store::{Expect, ItemKey, Store, StoreError};
use aegis_core::token::public_jwk;
use aegis_functions::Host;
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use caller::Caller;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{EncodingKey, Header};
use places::Places;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Shortest passphrase of a human, in characters.
const SHORTEST: usize = 12;
/// Most attempts of one caller to log in as one human in a minute: she herself is not locked out by another's guesses.
const ATTEMPTS_PER_MINUTE: u64 = 10;
/// How long an ID token can be exchanged, in seconds.
const ID_TOKEN: i64 = 300;
/// Argon2id at OWASP's first recommendation: 19 MiB, two passes, one lane.
const KDF: (u32, u32, u32) = (19 * 1024, 2, 1);

pub(crate) struct LocalIssuer {
    issuer: String,
    signer: EncodingKey,
    jwks: JwkSet,
    store: Arc<dyn Store>,
    clock: Clock,
    entropy: Entropy,
    /// Where this process listens.
    port: u16,
    places: Places,
    attempts: Rate<(Caller, String)>,
}

/// Where a request comes from.
#[derive(Clone, Copy)]
struct Origin {
    source: IpAddr,
    caller: Caller,
}

/// A human of this machine.
#[derive(Deserialize, Serialize)]
struct Account {
    human: HumanId,
    roles: BTreeSet<Role>,
    salt: String,
    hash: String,
}

impl Document for Account {
    fn item_key(&self) -> ItemKey {
        account_item(&self.human)
    }
}

/// A code that makes one account. Only its digest is kept.
#[derive(Deserialize, Serialize)]
struct Enrolment {
    digest: String,
    used: bool,
    /// Whether it was asked for after the first human had enrolled. It works for one start of the server.
    #[serde(default)]
    again: bool,
}

impl Document for Enrolment {
    fn item_key(&self) -> ItemKey {
        enrolment_item()
    }
}

impl LocalIssuer {
    pub(super) fn new(
        issuer: String,
        pkcs8: &[u8],
        store: Arc<dyn Store>,
        clock: Clock,
        entropy: Entropy,
        port: u16,
    ) -> Result<Self, Error> {
        let signer = EncodingKey::from_ec_der(pkcs8);
        let jwks = JwkSet { keys: vec![public_jwk(&signer)?] };
        Ok(Self {
            issuer,
            signer,
            jwks,
            store,
            clock,
            entropy,
            port,
            places: Places::new(),
            attempts: Rate::new(ATTEMPTS_PER_MINUTE),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn jwks(&self) -> JwkSet {
        self.jwks.clone()
    }

    /// A fresh code for the first human, until one has enrolled, or for another one if asked for `again`. Earlier codes no
    /// longer work.
    pub(super) async fn enrolment(&self, again: bool) -> Result<Option<Zeroizing<String>>, Error> {
        let found: Option<Loaded<Enrolment>> = repository::load(self.store.as_ref(), &enrolment_item()).await?;
        let enrolled = found.as_ref().is_some_and(|found| found.value.used || found.value.again);
        if enrolled && !again {
            if let Some(mut unused) = found.filter(|found| !found.value.used) {
                unused.value.used = true;
                self.store.transact(vec![unused.replace()?]).await?;
            }
            return Ok(None);
        }
        let mut bytes = Zeroizing::new([0_u8; 16]);
        self.entropy.fill(bytes.as_mut_slice());
        let code = Zeroizing::new(hex(bytes.as_slice()));
        let expect = found.map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let enrolment = Enrolment { digest: digest(&code), used: false, again: enrolled };
        self.store.transact(vec![enrolment.put(expect)?]).await?;
        Ok(Some(code))
    }

    /// Makes a human's account, with every role, on record; or gives it this passphrase. If she is revoked she is back:
    /// the code is from whoever has the root key's passphrase.
    async fn enroll(&self, asked: EnrollRequest, from: Origin) -> Result<Value, Error> {
        self.bound_attempts(from.caller, "enrolment")?;
        let refused = || Error::Unauthenticated { reason: Reason::LoginRefused };
        let found: Option<Loaded<Enrolment>> = repository::load(self.store.as_ref(), &enrolment_item()).await?;
        let mut enrolment = found.filter(|found| !found.value.used).ok_or_else(refused)?;
        if !bool::from(enrolment.value.digest.as_bytes().ct_eq(digest(&asked.code).as_bytes())) {
            return Err(refused());
        }
        if asked.passphrase.0.chars().count() < SHORTEST {
            return Err(Error::invalid("passphrase", "it has at least 12 characters"));
        }
        let mut salt = [0_u8; 16];
        self.entropy.fill(&mut salt);
        let salt = hex(&salt);
        let hash = self.stretch(&asked.passphrase, &salt, from.caller).await?;
        enrolment.value.used = true;
        let now = self.clock.now();
        let (id, request) = (RecordId::new(now, &self.entropy), RequestId::new(now, &self.entropy));
        let record = AuditRecord {
            human: Some(asked.human.clone()),
            source: Some(from.source),
            ..AuditRecord::new(id, now, Operation::HumanEnrol, Plane::Rest, request)
        };
        let store = self.store.as_ref();
        let former: Option<Loaded<Account>> = repository::load(store, &account_item(&asked.human)).await?;
        let human: Option<Loaded<Human>> = repository::load(store, &repository::human_item(&asked.human)).await?;
        let expect = former.map_or(Expect::Absent, |former| Expect::Current(former.revision));
        let account = Account { human: asked.human, roles: Role::ALL.into(), salt, hash };
        let mut puts = vec![enrolment.replace()?, account.put(expect)?, journal::put(store, &record)?];
        if let Some(mut human) = human.filter(|human| human.value.revoked) {
            // Her epoch stays: nothing issued before lives again.
            human.value.revoked = false;
            puts.push(human.replace()?);
        }
        match self.store.transact(puts).await {
            Err(StoreError::Conflict { .. }) => Err(refused()),
            other => Ok(other.map(|()| json!({ "enrolled": true }))?),
        }
    }

    /// An ID token for a human who knows her passphrase.
    async fn log_in(&self, asked: TokenRequest, from: Origin) -> Result<Value, Error> {
        self.bound_attempts(from.caller, asked.human.as_str())?;
        let found: Option<Loaded<Account>> = repository::load(self.store.as_ref(), &account_item(&asked.human)).await?;
        // An unknown human takes as long as a known one.
        let (salt, wanted) = match &found {
            Some(account) => (account.value.salt.as_str(), account.value.hash.as_str()),
            None => ("00000000000000000000000000000000", ""),
        };
        let given = self.stretch(&asked.passphrase, salt, from.caller).await?;
        match (&found, bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))) {
            (Some(account), true) => Ok(json!({ "id_token": self.id_token(&account.value)?, "expires_in": ID_TOKEN })),
            _ => Err(Error::Unauthenticated { reason: Reason::LoginRefused }),
        }
    }

    fn id_token(&self, account: &Account) -> Result<String, Error> {
        let now = self.clock.now().as_second();
        let claims = json!({
            "iss": self.issuer,
            "sub": account.human,
            "aud": super::AUDIENCE,
            "iat": now,
            "exp": now.saturating_add(ID_TOKEN),
            "auth_time": now,
            "amr": ["pwd"],
            // No two ID tokens are alike: each can be exchanged once.
            "jti": RequestId::new(self.clock.now(), &self.entropy),
            "roles": account.roles,
        });
        let kid = self.jwks.keys.first().and_then(|key| key.common.key_id.clone());
        let header = Header { kid, ..Header::new(jsonwebtoken::Algorithm::ES256) };
        let signed = jsonwebtoken::encode(&header, &claims, &self.signer);
        signed.map_err(|error| Error::Damaged { what: "local issuer's key", source: error.into() })
    }

    /// Argon2id, off the threads that serve. A caller who goes away does not make room before the work is done.
    async fn stretch(&self, passphrase: &Passphrase, salt: &str, caller: Caller) -> Result<String, Error> {
        let busy = Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) };
        let place = self.places.take(caller).await.ok_or(busy)?;
        let (passphrase, salt) = (Zeroizing::new(passphrase.0.clone()), salt.to_string());
        let stretched = tokio::task::spawn_blocking(move || {
            let _place = place;
            let (memory, passes, lanes) = KDF;
            let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
            let mut hash = Zeroizing::new([0_u8; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt.as_bytes(), hash.as_mut_slice())
                .ok()?;
            Some(hex(hash.as_slice()))
        });
        let failed = || Error::Damaged { what: "passphrase check", source: "Argon2id failed".into() };
        stretched.await.ok().flatten().ok_or_else(failed)
    }

    fn bound_attempts(&self, caller: Caller, who: &str) -> Result<(), Error> {
        let now = self.clock.now();
        // Minutes that are over count no more.
        self.attempts.take_before(now);
        self.attempts
            .count(&(caller, who.to_string()), now)
            .map_err(|spent| Error::LimitReached { reason: Reason::RateLimited, retry_after: Some(spent.retry_after) })
    }

    /// Answers one request below `/local/`. All of them are public: they are how one becomes known. Those that are refused
    /// count against their source like any request without a principal.
    pub(super) async fn answer(
        &self,
        host: &Host,
        request: http::Request<Bytes>,
        source: IpAddr,
        peer: SocketAddr,
    ) -> Response<Bytes> {
        let port = self.port;
        let caller = tokio::task::spawn_blocking(move || Caller::of(source, peer, port)).await;
        let from = Origin { source, caller: caller.unwrap_or(Caller::ThisMachine) };
        let result = match (request.method(), request.uri().path()) {
            (&Method::POST, "/local/enroll") => match read(&request) {
                Ok(asked) => self.enroll(asked, from).await.map(|body| (StatusCode::CREATED, body)),
                Err(error) => Err(error),
            },
            (&Method::POST, "/local/token") => match read(&request) {
                Ok(asked) => self.log_in(asked, from).await.map(|body| (StatusCode::OK, body)),
                Err(error) => Err(error),
            },
            (&Method::GET, path) if page::is_one(path, page::LOCAL) => return page::at_local_issuer(),
            _ => Err(Error::NotFound { kind: "path" }),
        };
        match result {
            Ok((status, body)) => {
                let mut response = Response::new(Bytes::from(body.to_string()));
                *response.status_mut() = status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                let error = host.gate.count(source, self.clock.now()).err().unwrap_or(error);
                aegis_functions::problem(&error.into(), &RequestId::new(self.clock.now(), &self.entropy))
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(request: &http::Request<Bytes>) -> Result<T, Error> {
    // What is wrong is told by place, never by value: the value may be a passphrase.
    let mut text = serde_json::Deserializer::from_slice(request.body());
    object(&mut text).and_then(|body| text.end().map(|()| body)).map_err(|error| {
        let place = format!("not what is expected at line {}, column {}", error.line(), error.column());
        Error::invalid("body", place)
    })
}

/// A human's passphrase, as it came in. Wiped on drop.
#[derive(Deserialize, Zeroize, zeroize::ZeroizeOnDrop)]
struct Passphrase(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrollRequest {
    code: String,
    human: HumanId,
    passphrase: Passphrase,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    human: HumanId,
    passphrase: Passphrase,
}

fn account_item(human: &HumanId) -> ItemKey {
    ItemKey::state(format!("local-account/{human}"), "account")
}

fn enrolment_item() -> ItemKey {
    ItemKey::state("local-enrolment", "enrolment")
}

fn digest(code: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests;
