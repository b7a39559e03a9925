//! The local issuer: an identity provider for one machine, so that a laptop needs no other. It knows passphrases and
//! issues ID tokens; Aegis treats those like any provider's. Never started on an address that is not loopback.

use aegis_core::ambient::{Clock, Entropy, Timestamp, after_seconds};
use aegis_core::encoding::hex;
use aegis_core::error::Error;
use aegis_core::human::Role;
use aegis_core::id::RequestId;
use aegis_core::name::HumanId;
use aegis_core::reason::Reason;
use aegis_core::repository::{self, Document, Loaded};
use aegis_core::store::{Add, Expect, ItemKey, Store, StoreError};
use aegis_core::token::public_jwk;
use argon2::{Algorithm, Argon2, Params, Version};
use axum::body::Body;
use axum::extract::{Json, State};
use axum::http::{Response, StatusCode};
use axum::routing::post;
use axum::{Router, response::IntoResponse};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

/// Shortest passphrase of a human, in characters.
const SHORTEST: usize = 12;
/// Most attempts to log in as one human in a minute.
const ATTEMPTS_PER_MINUTE: i64 = 10;
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
    /// Passphrases checked at once: each takes 19 MiB and a core.
    checking: Semaphore,
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
        Ok(Self { issuer, signer, jwks, store, clock, entropy, checking: Semaphore::new(2) })
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

    /// Makes the first human's account, with every role.
    async fn enroll(&self, code: &str, human: HumanId, passphrase: &Passphrase) -> Result<(), Error> {
        self.bound_attempts("enrolment").await?;
        let refused = || Error::Unauthenticated { reason: Reason::InvalidToken };
        let found: Option<Loaded<Enrolment>> = repository::load(self.store.as_ref(), &enrolment_item()).await?;
        let mut enrolment = found.filter(|found| !found.value.used).ok_or_else(refused)?;
        if !bool::from(enrolment.value.digest.as_bytes().ct_eq(digest(code).as_bytes())) {
            return Err(refused());
        }
        if passphrase.0.chars().count() < SHORTEST {
            return Err(Error::invalid("passphrase", "it has at least 12 characters"));
        }
        let mut salt = [0_u8; 16];
        self.entropy.fill(&mut salt);
        let salt = hex(&salt);
        let hash = self.stretch(passphrase, &salt).await?;
        let account = Account { human, roles: Role::ALL.into(), salt, hash };
        enrolment.value.used = true;
        match self.store.transact(vec![enrolment.replace()?, account.put(Expect::Absent)?]).await {
            Err(StoreError::Conflict { .. }) => Err(refused()),
            other => Ok(other?),
        }
    }

    /// An ID token for a human who knows her passphrase.
    async fn log_in(&self, human: &HumanId, passphrase: &Passphrase) -> Result<String, Error> {
        self.bound_attempts(human.as_str()).await?;
        let found: Option<Loaded<Account>> = repository::load(self.store.as_ref(), &account_item(human)).await?;
        // An unknown human takes as long as a known one.
        let (salt, wanted) = match &found {
            Some(account) => (account.value.salt.as_str(), account.value.hash.as_str()),
            None => ("00000000000000000000000000000000", ""),
        };
        let given = self.stretch(passphrase, salt).await?;
        match (&found, bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))) {
            (Some(account), true) => self.id_token(&account.value),
            _ => Err(Error::Unauthenticated { reason: Reason::InvalidToken }),
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

    /// Argon2id, off the threads that serve.
    async fn stretch(&self, passphrase: &Passphrase, salt: &str) -> Result<String, Error> {
        let overloaded = |_| Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) };
        let _place = self.checking.acquire().await.map_err(overloaded)?;
        let (passphrase, salt) = (Zeroizing::new(passphrase.0.clone()), salt.to_string());
        let stretched = tokio::task::spawn_blocking(move || {
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

    async fn bound_attempts(&self, who: &str) -> Result<(), Error> {
        let now: Timestamp = self.clock.now();
        let minute = now.as_second().div_euclid(60);
        let counter = ItemKey::state(format!("local-attempts/{who}"), minute.to_string());
        let add = Add { counter, by: 1, expires_at: Some(after_seconds(now, 120)) };
        let counts = self.store.add(&[add]).await?;
        match counts.first().is_some_and(|count| *count <= ATTEMPTS_PER_MINUTE) {
            true => Ok(()),
            false => Err(Error::LimitReached { reason: Reason::RateLimited, retry_after: Some(60) }),
        }
    }
}

/// A human's passphrase, as it came in. Wiped on drop.
#[derive(Deserialize, Zeroize, zeroize::ZeroizeOnDrop)]
struct Passphrase(String);

/// The routes of the local issuer. All are public: they are how one becomes known.
pub(super) fn router(local: Arc<LocalIssuer>) -> Router {
    Router::new().route("/local/enroll", post(enroll)).route("/local/token", post(token)).with_state(local)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrollRequest {
    code: String,
    human: HumanId,
    passphrase: Passphrase,
}

async fn enroll(State(local): State<Arc<LocalIssuer>>, Json(request): Json<EnrollRequest>) -> Response<Body> {
    match local.enroll(&request.code, request.human, &request.passphrase).await {
        Ok(()) => (StatusCode::CREATED, Json(json!({ "enrolled": true }))).into_response(),
        Err(error) => local.problem(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    human: HumanId,
    passphrase: Passphrase,
}

async fn token(State(local): State<Arc<LocalIssuer>>, Json(request): Json<TokenRequest>) -> Response<Body> {
    match local.log_in(&request.human, &request.passphrase).await {
        Ok(id_token) => Json(json!({ "id_token": id_token, "expires_in": ID_TOKEN })).into_response(),
        Err(error) => local.problem(&error),
    }
}

impl LocalIssuer {
    fn problem(&self, error: &Error) -> Response<Body> {
        let id = RequestId::new(self.clock.now(), &self.entropy);
        aegis_functions::problem(error, &id).map(Body::from)
    }
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
