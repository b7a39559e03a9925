//! Access tokens: RFC 9068 `at+jwt`, `sub` = the human, `act` = the agent (RFC 8693), the scope as
//! `authorization_details` (RFC 9396). A token proves who asks; whether it still may, the store says each time.

use crate::agent::Purpose;
use crate::ambient::Timestamp;
use crate::encoding::{base64url, from_base64url};
use crate::error::Error;
use crate::id::{AgentId, CredentialId, KeyId};
use crate::name::HumanId;
use crate::reason::Reason;
use crate::scope::Scope;
use async_trait::async_trait;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lru::LruCache;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest token, in bytes (DESIGN §5).
pub const MAX_TOKEN: usize = 6 * 1024;
/// How far clocks may differ, in seconds (DESIGN §7).
pub const LEEWAY: i64 = 30;
/// Verified signatures kept: a P-256 verification costs some 66 us, a look-up less than one.
const VERIFIED: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    pub iss: String,
    pub sub: HumanId,
    pub aud: String,
    pub client_id: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub jti: CredentialId,
    /// The agent, and within it the agents above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The agent's. Absent for a human, and in older tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<Scope<KeyId>>,
    /// What the grant held beside keys when this was issued: a grant that is widened needs a fresh token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_keys: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
    /// When the human logged in; only in her own session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    pub epoch: Epochs,
    /// The credentials this one was issued with, nearest first: of the agents above. Revoking one of them reaches it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<CredentialId>,
    /// What a human's session is for, where it is for one thing alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<SessionScope>,
    /// A binding to a holder. None is issued, so a token that has one is refused.
    #[serde(default, skip_serializing)]
    pub cnf: Option<serde_json::Value>,
}

/// What a login can be for (RFC 6749 §3.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionScope {
    /// Answering one approval.
    Approve,
}

impl Claims {
    /// Whom requests are counted for: the topmost agent, so that many credentials or sub-agents are one, or the human.
    pub fn root(&self) -> String {
        let topmost = self.act.as_ref().and_then(|act| act.chain().pop());
        topmost.map_or_else(|| self.sub.to_string(), |agent| agent.to_string())
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Act {
    pub sub: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

impl Act {
    /// The nested claim for a chain of agents, nearest first; `None` for an empty chain.
    pub fn of(chain: &[AgentId]) -> Option<Self> {
        let (agent, above) = chain.split_first()?;
        Some(Self { sub: agent.clone(), act: Self::of(above).map(Box::new) })
    }

    pub fn chain(&self) -> Vec<AgentId> {
        std::iter::successors(Some(self), |act| act.act.as_deref()).map(|act| act.sub.clone()).collect()
    }
}

/// Copies of the epochs at issue. A credential is valid only while all are equal to those in the store.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Epochs {
    pub deployment: u32,
    pub human: u32,
    /// In the order of the chain of agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<u32>,
}

/// What holds the token-signing key: this process, or a key store that never gives it away.
#[async_trait]
pub trait TokenSigner: Send + Sync {
    /// The ECDSA P-256 signature over the SHA-256 digest of `message`, as JWS has it: `r` and `s`, of 32 bytes each.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Damaged`].
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A key in this process.
#[async_trait]
impl TokenSigner for EncodingKey {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = jsonwebtoken::crypto::sign(message, self, Algorithm::ES256).map_err(damaged)?;
        from_base64url(&signature)
            .ok_or_else(|| Error::Damaged { what: "token-signing key", source: "its signature is no base64url".into() })
    }
}

/// Signs tokens, and checks those presented. One signing key; its public half is at `/.well-known/jwks.json`.
pub struct TokenKeys {
    issuer: String,
    audience: String,
    signer: Arc<dyn TokenSigner>,
    kid: String,
    verifiers: HashMap<String, DecodingKey>,
    jwks: JwkSet,
    verified: Mutex<LruCache<[u8; 32], Arc<Claims>>>,
}

/// A token as somebody presents it: unverified, unless its signature was checked before.
#[derive(Clone)]
pub struct Presented<'a> {
    token: &'a str,
    digest: [u8; 32],
    known: Option<Arc<Claims>>,
}

impl Presented<'_> {
    /// What the token is remembered by.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
    }

    /// Whether the token's signature was checked before, so that checking it again costs nothing.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(..)")
    }
}

impl TokenKeys {
    /// `pkcs8` is a P-256 private key in DER.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not.
    pub fn new(issuer: String, audience: String, pkcs8: &[u8]) -> Result<Self, Error> {
        let signer = EncodingKey::from_ec_der(pkcs8);
        let jwk = public_jwk(&signer)?;
        Self::with_signer(issuer, audience, Arc::new(signer), jwk)
    }

    /// `jwk` is the public half of the key that `signer` signs with.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is no public key.
    pub fn with_signer(
        issuer: String,
        audience: String,
        signer: Arc<dyn TokenSigner>,
        jwk: Jwk,
    ) -> Result<Self, Error> {
        let kid = jwk.common.key_id.clone().unwrap_or_default();
        let verifier = DecodingKey::from_jwk(&jwk).map_err(damaged)?;
        Ok(Self {
            issuer,
            audience,
            signer,
            verifiers: HashMap::from([(kid.clone(), verifier)]),
            kid,
            jwks: JwkSet { keys: vec![jwk] },
            verified: Mutex::new(LruCache::new(VERIFIED)),
        })
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The public keys, as `/.well-known/jwks.json` shows them.
    pub fn jwks(&self) -> &JwkSet {
        &self.jwks
    }

    /// # Errors
    /// [`Error::Invalid`] if the token would be longer than [`MAX_TOKEN`]: its scope is too large.
    pub async fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let header = Header { typ: Some(TYPE.into()), kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        let signed = format!("{}.{}", part(&header)?, part(claims)?);
        let signature = self.signer.sign(signed.as_bytes()).await?;
        let token = format!("{signed}.{}", base64url(&signature));
        match token.len() <= MAX_TOKEN {
            true => Ok(token),
            false => Err(Error::invalid("scope", "a token of this scope would be longer than 6 KiB")),
        }
    }

    /// Looks a token up among those whose signature was checked before. Digests it, once for all that follows.
    pub fn look_up<'a>(&self, token: &'a str) -> Presented<'a> {
        // Too long a token is refused unread.
        let digest = if token.len() <= MAX_TOKEN { digest(token) } else { [0; 32] };
        Presented { token, digest, known: self.lock().get(&digest).cloned() }
    }

    /// As [`Self::verify_presented`], of a token as it is.
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Reason> {
        self.verify_presented(&self.look_up(token), now)
    }

    /// The claims of a token that is ours, for us, and valid now. Says nothing on revocation.
    ///
    /// # Errors
    /// The [`Reason`] it is refused for.
    pub fn verify_presented(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Arc<Claims>, Reason> {
        let claims = match &presented.known {
            Some(claims) => Arc::clone(claims),
            None => self.verify_signature(presented)?,
        };
        let now = now.as_second();
        match () {
            () if claims.exp.saturating_add(LEEWAY) <= now => Err(Reason::CredentialExpired),
            () if claims.nbf.saturating_sub(LEEWAY) > now => Err(Reason::InvalidToken),
            () if claims.cnf.is_some() => Err(Reason::InvalidToken),
            () => Ok(claims),
        }
    }

    fn verify_signature(&self, presented: &Presented<'_>) -> Result<Arc<Claims>, Reason> {
        let token = presented.token;
        if token.len() > MAX_TOKEN {
            return Err(Reason::InvalidToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Reason::InvalidToken)?;
        // The key is chosen among ours by its id alone: nothing else in the header is looked at, neither its own key
        // nor an address of one. The algorithm is the key's, not the header's.
        let kid = header.kid.as_deref().unwrap_or_default();
        let verifier = self.verifiers.get(kid).ok_or(Reason::InvalidToken)?;
        if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err(Reason::InvalidToken);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // Times are compared in `verify`, with the clock that was passed in, on cached claims too.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let claims: Claims =
            jsonwebtoken::decode(token, verifier, &validation).map_err(|_| Reason::InvalidToken)?.claims;
        let claims = Arc::new(claims);
        self.lock().put(presented.digest, Arc::clone(&claims));
        Ok(claims)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], Arc<Claims>>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The public half of a P-256 signing key, named by its thumbprint (RFC 7638).
///
/// # Errors
/// [`Error::Damaged`] if it is no P-256 key.
pub fn public_jwk(signer: &EncodingKey) -> Result<Jwk, Error> {
    let mut jwk = Jwk::from_encoding_key(signer, Algorithm::ES256).map_err(damaged)?;
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(damaged)?);
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(jwk)
}

/// The same of a public key as its uncompressed point (SEC 1 §2.3.3).
///
/// # Errors
/// [`Error::Damaged`] if it is none.
pub fn jwk_of_point(point: &[u8]) -> Result<Jwk, Error> {
    let no_point = || Error::Damaged { what: "token-signing key", source: "its public half is no P-256 point".into() };
    let (x, y) = match point.split_first() {
        Some((4, coordinates)) if coordinates.len() == 64 => coordinates.split_at(32),
        _ => return Err(no_point()),
    };
    let jwk = serde_json::json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": base64url(x), "y": base64url(y),
    });
    let mut jwk: Jwk = serde_json::from_value(jwk).map_err(|_| no_point())?;
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(damaged)?);
    Ok(jwk)
}

/// A part of a JWS (RFC 7515 §3.1).
fn part(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_vec(value).map_err(|error| damaged(error.into()))?;
    Ok(base64url(&json))
}

/// SHA-256: what a verified token is remembered by.
fn digest(token: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

fn damaged(error: jsonwebtoken::errors::Error) -> Error {
    Error::Damaged { what: "token-signing key", source: error.into() }
}

const TYPE: &str = "at+jwt";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_790_000_000;

    pub(crate) fn keys() -> TokenKeys {
        TokenKeys::new("http://127.0.0.1".into(), "aegis".into(), &pkcs8()).unwrap()
    }

    #[tokio::test]
    async fn a_token_survives_the_round_trip_cold_and_cached() {
        let keys = keys();
        let token = keys.sign(&claims()).await.unwrap();
        for _ in 0..2 {
            let back = keys.verify(&token, at(NOW)).unwrap();
            assert_eq!(back.act.as_ref().unwrap().chain().len(), 2);
            assert_eq!(back.epoch, claims().epoch);
        }
    }

    #[tokio::test]
    async fn time_is_checked_on_cached_tokens_too() {
        let keys = keys();
        let token = keys.sign(&claims()).await.unwrap();
        keys.verify(&token, at(NOW)).unwrap();
        let table = [
            (NOW - LEEWAY, Ok(())),
            (NOW - LEEWAY - 1, Err(Reason::InvalidToken)),
            (NOW + 3_600 + LEEWAY - 1, Ok(())),
            (NOW + 3_600 + LEEWAY, Err(Reason::CredentialExpired)),
        ];
        for (now, want) in table {
            assert_eq!(keys.verify(&token, at(now)).map(|_| ()), want, "{}", now - NOW);
        }
    }

    #[test]
    fn foreign_and_altered_tokens_are_refused() {
        let pkcs8 = pkcs8();
        let keys = TokenKeys::new("http://127.0.0.1".into(), "aegis".into(), &pkcs8).unwrap();
        let signer = EncodingKey::from_ec_der(&pkcs8);
        let own = |header: Header, claims: &Value| jsonwebtoken::encode(&header, claims, &signer).unwrap();
        let header = || Header { typ: Some(TYPE.into()), kid: Some(keys.kid.clone()), ..Header::new(Algorithm::ES256) };
        let good = serde_json::to_value(claims()).unwrap();
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            claims
        };
        keys.verify(&own(header(), &good), at(NOW)).unwrap();

        let public = keys.jwks.keys[0].clone();
        let hmac_key = EncodingKey::from_secret(serde_json::to_string(&public).unwrap().as_bytes());
        let stranger = EncodingKey::from_ec_der(&self::pkcs8());
        let stranger_jwk = public_jwk(&stranger).unwrap();
        let signed_by = |header: Header, key: &EncodingKey| jsonwebtoken::encode(&header, &good, key).unwrap();
        let none = |header: Value| {
            let part = |value: &Value| base64url(value.to_string().as_bytes());
            format!("{}.{}.", part(&header), part(&good))
        };
        let valid = own(header(), &good);
        let (signed_part, signature) = valid.rsplit_once('.').unwrap();
        let swapped = own(header(), &with("sub", json!("mallory@org")));
        let table = [
            ("empty", String::new()),
            ("not a token", "a.b.c".into()),
            ("alg none", none(json!({"alg": "none", "typ": TYPE, "kid": keys.kid}))),
            (
                "alg HS256 with the public key as secret",
                signed_by(Header { alg: Algorithm::HS256, ..header() }, &hmac_key),
            ),
            ("another key under our kid", signed_by(header(), &stranger)),
            (
                "another key under its own kid",
                signed_by(Header { kid: stranger_jwk.common.key_id.clone(), ..header() }, &stranger),
            ),
            ("a key carried in the header", signed_by(Header { jwk: Some(stranger_jwk), ..header() }, &stranger)),
            ("kid as a path", own(Header { kid: Some("../../dev/null".into()), ..header() }, &good)),
            ("kid missing", own(Header { kid: None, ..header() }, &good)),
            ("an ID token", own(Header { typ: Some("JWT".into()), ..header() }, &good)),
            ("no type", own(Header { typ: None, ..header() }, &good)),
            ("a critical header", own(Header { crit: Some(vec!["exp".into()]), ..header() }, &good)),
            ("another audience", own(header(), &with("aud", json!("https://elsewhere")))),
            ("another issuer", own(header(), &with("iss", json!("https://elsewhere")))),
            ("a binding we cannot check", own(header(), &with("cnf", json!({"jkt": "x"})))),
            ("no expiry", own(header(), &with("exp", Value::Null))),
            ("no id", own(header(), &with("jti", json!("../x")))),
            ("another token's signature", format!("{}.{signature}", swapped.rsplit_once('.').unwrap().0)),
            ("a signature cut short", format!("{signed_part}.{}", signature.get(4..).unwrap())),
            ("too long", own(header(), &with("client_id", json!("x".repeat(MAX_TOKEN))))),
        ];
        for (what, token) in table {
            assert_eq!(keys.verify(&token, at(NOW)).map(|_| ()), Err(Reason::InvalidToken), "{what}");
        }
    }

    #[tokio::test]
    async fn a_scope_too_large_for_a_token_is_refused_at_issue() {
        let mut claims = claims();
        claims.client_id = "x".repeat(MAX_TOKEN);
        assert!(matches!(keys().sign(&claims).await, Err(Error::Invalid { field: "scope", .. })));
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = keys();
        assert_eq!(format!("{keys:?}"), format!("TokenKeys {{ kid: {:?}, .. }}", keys.kid));
    }

    fn claims() -> Claims {
        let id = |n: u8| AgentId::try_from(format!("agt_{n:032x}")).unwrap();
        Claims {
            iss: "http://127.0.0.1".into(),
            sub: "alice@org".parse().unwrap(),
            aud: "aegis".into(),
            client_id: "aegis".into(),
            iat: NOW,
            nbf: NOW,
            exp: NOW + 3_600,
            jti: CredentialId::try_from(format!("crd_{:032x}", 7)).unwrap(),
            act: Act::of(&[id(2), id(1)]),
            purpose: None,
            authorization_details: Some(Scope(vec![])),
            create_keys: true,
            audit: false,
            auth_time: None,
            amr: vec![],
            epoch: Epochs { deployment: 1, human: 2, agents: vec![0, 3] },
            via: vec![],
            scope: None,
            cnf: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn pkcs8() -> Vec<u8> {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let random = aws_lc_rs::rand::SystemRandom::new();
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap().as_ref().to_vec()
    }
}
