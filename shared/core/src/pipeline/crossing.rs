//! A decision on its way to another process: where one decides at the edge and another acts, the permit crosses between
//! them, signed. The signing key never leaves the process that made it; its public half lies where only the edge can write.
//!
//! Who acts believes of it only what no other process can know: the risk, what was counted, and the record's id. What the
//! decision rests on is read again, and decided again.

use super::permit::Obligation;
use super::{App, Permit, Request, Target};
use crate::ambient::Timestamp;
use crate::encoding::base64url;
use crate::error::{Cause, Error};
use crate::id::RecordId;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::risk::Risk;
use crate::token::Presented;
use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// How long an edge signs with one key, in seconds: a day.
pub const KEY_LIFE: i64 = 86_400;
/// Longest that is read, in bytes.
const MAX_CROSSING: usize = 8 * 1024;
/// Public keys kept.
const KEYS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
const TYPE: &str = "aegis-permit+jwt";

/// What was decided, and for which request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Crossing {
    /// The permit's id, and the record's.
    pub(super) jti: RecordId,
    operation: Operation,
    target: String,
    /// The digest of the token that was presented.
    token: String,
    exp: i64,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Permit {
        risk: Risk,
        step_up: bool,
    },
    /// Refused, and on record: who acts has but to say so.
    Answer(Answer),
}

/// A refusal that the edge itself has no way to put.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answer {
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The public half of an edge's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PermitKey {
    pub kid: String,
    pub public: Vec<u8>,
    /// Nothing is signed with it from then on.
    pub expires_at: Timestamp,
}

/// Where edges put the public halves of their keys. Nobody else can write there.
#[async_trait]
pub trait PermitKeys: Send + Sync {
    /// # Errors
    /// [`Error::Unavailable`].
    async fn find(&self, kid: &str) -> Result<Option<PermitKey>, Error>;

    /// Returns once [`Self::find`] finds it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn publish(&self, key: &PermitKey) -> Result<(), Error>;
}

/// Signs what an edge decides, with a key of its own.
pub struct PermitSigner {
    signer: EncodingKey,
    key: PermitKey,
}

impl std::fmt::Debug for PermitSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PermitSigner").field("key", &self.key).finish_non_exhaustive()
    }
}

impl PermitSigner {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the library fails at it.
    pub fn generate(now: Timestamp) -> Result<Self, Error> {
        let broken = |error: Cause| Error::Damaged { what: "permit-signing key", source: error };
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
            .map_err(|error| broken(error.into()))?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|error| broken(error.into()))?;
        let public = pair.public_key().as_ref().to_vec();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &public);
        let expires_at = crate::ambient::after_seconds(now, KEY_LIFE);
        let key = PermitKey { kid: base64url(digest.as_ref()), public, expires_at };
        Ok(Self { signer: EncodingKey::from_ed_der(pkcs8.as_ref()), key })
    }

    /// To be published before anything is signed.
    pub fn key(&self) -> &PermitKey {
        &self.key
    }

    /// Whether what it signs now will be read.
    pub fn serves(&self, now: Timestamp) -> bool {
        let until = crate::ambient::after_seconds(now, super::permit::LIFETIME.saturating_mul(2));
        until < self.key.expires_at
    }

    /// What `permit` allows, for the process that acts.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be signed.
    pub fn permit(&self, request: &Request<'_>, permit: &Permit) -> Result<String, Error> {
        let step_up = permit.obligation == Some(Obligation::StepUp);
        let verdict = Verdict::Permit { risk: permit.risk.clone(), step_up };
        self.sign(request, permit.id.clone(), permit.expires_at, verdict)
    }

    /// What the process that would act has to answer in its place.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be signed.
    pub fn answer(&self, app: &App, request: &Request<'_>, answer: Answer) -> Result<String, Error> {
        let now = app.clock.now();
        let until = crate::ambient::after_seconds(now, super::permit::LIFETIME);
        self.sign(request, RecordId::new(now, &app.entropy), until, Verdict::Answer(answer))
    }

    fn sign(&self, request: &Request<'_>, jti: RecordId, until: Timestamp, verdict: Verdict) -> Result<String, Error> {
        let crossing = Crossing {
            jti,
            operation: request.operation,
            target: named(&request.target),
            token: token(&request.token),
            exp: until.as_second(),
            verdict,
        };
        let header =
            Header { typ: Some(TYPE.into()), kid: Some(self.key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let signed = jsonwebtoken::encode(&header, &crossing, &self.signer);
        signed.map_err(|error| Error::Damaged { what: "permit", source: error.into() })
    }
}

/// Reads what edges signed.
pub struct PermitReader {
    keys: Arc<dyn PermitKeys>,
    known: Mutex<LruCache<String, PermitKey>>,
}

impl std::fmt::Debug for PermitReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PermitReader(..)")
    }
}

impl PermitReader {
    pub fn new(keys: Arc<dyn PermitKeys>) -> Self {
        Self { keys, known: Mutex::new(LruCache::new(KEYS)) }
    }

    /// What an edge decided. The error within: no edge signed this, or not lately.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn read(&self, signed: &str, now: Timestamp) -> Result<Result<Crossing, Reason>, Error> {
        let invalid = Ok(Err(Reason::PermitInvalid));
        let header = match jsonwebtoken::decode_header(signed) {
            Ok(header) if signed.len() <= MAX_CROSSING => header,
            _ => return invalid,
        };
        let (Some(TYPE), Some(kid), None) = (header.typ.as_deref(), header.kid.as_deref(), &header.crit) else {
            return invalid;
        };
        let Some(key) = self.find(kid).await? else { return invalid };
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp"]);
        // Compared below, with the clock that was passed in.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let verifier = DecodingKey::from_ed_der(&key.public);
        let read = jsonwebtoken::decode::<Crossing>(signed, &verifier, &validation);
        let fresh = |crossing: &Crossing| {
            let latest = now.as_second().saturating_add(super::permit::LIFETIME).saturating_add(crate::token::LEEWAY);
            (now.as_second()..=latest).contains(&crossing.exp) && crossing.exp <= key.expires_at.as_second()
        };
        Ok(read.ok().map(|data| data.claims).filter(fresh).ok_or(Reason::PermitInvalid))
    }

    async fn find(&self, kid: &str) -> Result<Option<PermitKey>, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(kid).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.keys.find(kid).await?;
        if let Some(key) = &found {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).put(kid.to_string(), key.clone());
        }
        Ok(found)
    }
}

impl Crossing {
    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Whether it was decided on this very request, as far as the edge saw it.
    pub(super) fn is_for(&self, request: &Request<'_>) -> bool {
        self.operation == request.operation
            && self.target == named(&request.target)
            && self.token == token(&request.token)
    }

    /// What the edge answers, and to what, if it refused.
    pub fn answer(&self) -> Option<(Operation, &Answer)> {
        match &self.verdict {
            Verdict::Answer(answer) => Some((self.operation, answer)),
            Verdict::Permit { .. } => None,
        }
    }
}

fn named(target: &Target) -> String {
    format!("{target:?}")
}

fn token(presented: &Presented<'_>) -> String {
    base64url(presented.digest())
}
