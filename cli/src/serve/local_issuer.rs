//! The local issuer: an identity provider for one machine, so that a laptop needs no other. It knows passphrases and
//! issues ID tokens; Aegis treats those like any provider's. Never started on an address that is not loopback.

use aegis_core::ambient::{Clock, Entropy};
use aegis_core::encoding::hex;
use aegis_core::error::Error;
use aegis_core::human::Role;
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
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

/// Shortest passphrase of a human, in characters.
const SHORTEST: usize = 12;
/// Most attempts of one address to log in as one human in a minute: her own address is not locked by another's guesses.
const ATTEMPTS_PER_MINUTE: u64 = 10;
/// Passphrases checked at once: each takes 19 MiB and a core. One more is told to come back.
const CHECKS: usize = 4;
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
    checks: Arc<Semaphore>,
    attempts: Rate<(IpAddr, String)>,
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
            checks: Arc::new(Semaphore::new(CHECKS)),
            attempts: Rate::new(ATTEMPTS_PER_MINUTE),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn jwks(&self) -> JwkSet {
        self.jwks.clone()
    }

    /// A fresh code for the first human, until one has enrolled; earlier codes no longer work.
    pub(super) async fn first_enrolment(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let found: Option<Loaded<Enrolment>> = repository::load(self.store.as_ref(), &enrolment_item()).await?;
        if found.as_ref().is_some_and(|found| found.value.used) {
            return Ok(None);
        }
        let mut bytes = Zeroizing::new([0_u8; 16]);
        self.entropy.fill(bytes.as_mut_slice());
        let code = Zeroizing::new(hex(bytes.as_slice()));
        let expect = found.map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let enrolment = Enrolment { digest: digest(&code), used: false };
        self.store.transact(vec![enrolment.put(expect)?]).await?;
        Ok(Some(code))
    }

    /// Makes the first human's account, with every role, on record.
    async fn enroll(&self, asked: EnrollRequest, source: IpAddr) -> Result<Value, Error> {
        self.bound_attempts(source, "enrolment")?;
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
        let hash = self.stretch(&asked.passphrase, &salt).await?;
        enrolment.value.used = true;
        let now = self.clock.now();
        let (id, request) = (RecordId::new(now, &self.entropy), RequestId::new(now, &self.entropy));
        let record = AuditRecord {
            human: Some(asked.human.clone()),
            source: Some(source),
            ..AuditRecord::new(id, now, Operation::HumanEnrol, Plane::Rest, request)
        };
        let account = Account { human: asked.human, roles: Role::ALL.into(), salt, hash };
        let puts = vec![enrolment.replace()?, account.put(Expect::Absent)?, journal::put(&record)?];
        match self.store.transact(puts).await {
            Err(StoreError::Conflict { .. }) => Err(refused()),
            other => Ok(other.map(|()| json!({ "enrolled": true }))?),
        }
    }

    /// An ID token for a human who knows her passphrase.
    async fn log_in(&self, asked: TokenRequest, source: IpAddr) -> Result<Value, Error> {
        self.bound_attempts(source, asked.human.as_str())?;
        let found: Option<Loaded<Account>> = repository::load(self.store.as_ref(), &account_item(&asked.human)).await?;
        // An unknown human takes as long as a known one.
        let (salt, wanted) = match &found {
            Some(account) => (account.value.salt.as_str(), account.value.hash.as_str()),
            None => ("00000000000000000000000000000000", ""),
        };
        let given = self.stretch(&asked.passphrase, salt).await?;
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
    async fn stretch(&self, passphrase: &Passphrase, salt: &str) -> Result<String, Error> {
        let busy = |_| Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) };
        let place = Arc::clone(&self.checks).try_acquire_owned().map_err(busy)?;
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

    fn bound_attempts(&self, source: IpAddr, who: &str) -> Result<(), Error> {
        let now = self.clock.now();
        // Minutes that are over count no more.
        self.attempts.take_before(now);
        self.attempts
            .count(&(source, who.to_string()), now)
            .map_err(|spent| Error::LimitReached { reason: Reason::RateLimited, retry_after: Some(spent.retry_after) })
    }

    /// Answers one request below `/local/`. All of them are public: they are how one becomes known. Those that are refused
    /// count against their source like any request without a principal.
    pub(super) async fn answer(&self, host: &Host, request: http::Request<Bytes>, source: IpAddr) -> Response<Bytes> {
        let result = match (request.method(), request.uri().path()) {
            (&Method::POST, "/local/enroll") => match read(&request) {
                Ok(asked) => self.enroll(asked, source).await.map(|body| (StatusCode::CREATED, body)),
                Err(error) => Err(error),
            },
            (&Method::POST, "/local/token") => match read(&request) {
                Ok(asked) => self.log_in(asked, source).await.map(|body| (StatusCode::OK, body)),
                Err(error) => Err(error),
            },
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
    serde_json::from_slice(request.body()).map_err(|error| {
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
