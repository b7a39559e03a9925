//! The OpenID provider: which ID tokens are its own and for us, and what they say. Its keys arrive through a port.

use crate::ambient::Timestamp;
use crate::error::Error;
use crate::name::HumanId;
use crate::reason::Reason;
use crate::token::LEEWAY;
use async_trait::async_trait;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Longest ID token, in bytes. Longer than our own tokens may be: a directory may name a human's 200 groups in it.
pub(super) const MAX_ID_TOKEN: usize = 16 * 1024;
/// Longest time between a provider's issuing an ID token and its exchange, in seconds.
pub(super) const ID_TOKEN_AGE: i64 = 600;

/// A provider: its issuer, the client id it knows Aegis by, the claim that names a human, its public keys.
pub struct Provider {
    pub issuer: String,
    /// What a human's name is unique among: what the deployment is tied to ([`crate::pipeline::tie_humans`]).
    pub humans_from: String,
    pub client_id: String,
    pub human_claim: HumanClaim,
    pub keys: Arc<dyn ProviderKeys>,
    /// What a command line asks for at the provider, by the device flow (RFC 8628); `None` where it has no such endpoint.
    pub device_scopes: Option<Vec<String>>,
}

/// The public keys that a provider signs with.
///
/// Calls may come in any number at once, most of them with ids that somebody made up.
#[async_trait]
pub trait ProviderKeys: Send + Sync {
    /// The key of this id, if the provider has it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that cannot be known because the provider does not answer.
    async fn find(&self, kid: &str, now: Timestamp) -> Result<Option<Jwk>, Error>;
}

/// Keys that never change: those of the local issuer.
#[async_trait]
impl ProviderKeys for JwkSet {
    async fn find(&self, kid: &str, _: Timestamp) -> Result<Option<Jwk>, Error> {
        Ok(JwkSet::find(self, kid).cloned())
    }
}

/// Which claim names a human for as long as Aegis knows her.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum HumanClaim {
    /// `email`, in lower case, and only where the provider says that it is verified.
    Email,
    #[default]
    Sub,
}

/// What a valid ID token says.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) human: HumanId,
    pub(super) auth_time: Option<i64>,
    pub(super) amr: Vec<String>,
    claims: Map<String, Value>,
}

/// The claims that are looked at, beside those that the library checks.
#[derive(Deserialize)]
struct IdToken {
    iat: i64,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    auth_time: Option<i64>,
    #[serde(default)]
    amr: Vec<String>,
}

impl Provider {
    /// # Errors
    /// [`Error::SubjectToken`] for a token that is not the provider's, not for us, or not of this time;
    /// [`Error::Unavailable`] if the provider's keys cannot be had.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Login, Error> {
        if token.len() > MAX_ID_TOKEN {
            return Err(refused("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("not a signed token"))?;
        // Before any key is asked for: no token that can never be accepted makes the provider be asked. The type keeps
        // out access tokens (RFC 9068 §4) and logout tokens, which carry our audience too.
        let typed = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        if !typed || header.crit.is_some() || !ASYMMETRIC.contains(&header.alg) {
            return Err(refused("no header of an ID token"));
        }
        let kid = header.kid.as_deref().ok_or_else(|| refused("no key id"))?;
        let jwk = self.keys.find(kid, now).await?.ok_or_else(|| refused("no key of this id"))?;
        if !signs(&jwk, header.alg) {
            return Err(refused("an algorithm that is not its key's"));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.client_id]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // Times are compared in `read`, with the clock that was passed in.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| refused("a key that cannot be read"))?;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        let claims = decoded.map_err(|_| refused("signature, issuer or audience"))?.claims;
        self.read(claims, now.as_second())
    }

    /// Whether the names it gives are those that the deployment knows. Where nothing is known of that, since nobody tied it yet,
    /// they may be anybody's.
    ///
    /// # Errors
    /// [`Error::SubjectToken`], and nobody is known by a name of this provider.
    pub(super) fn check_tie(&self, tied: Option<&str>) -> Result<(), Error> {
        if tied == Some(self.humans_from.as_str()) {
            return Ok(());
        }
        tracing::error!(
            tied = tied.unwrap_or("nothing"),
            provider = self.humans_from,
            "logins refused: the humans of this deployment come from elsewhere"
        );
        Err(Error::SubjectToken { reason: Reason::InvalidSubjectToken })
    }

    fn read(&self, claims: Map<String, Value>, now: i64) -> Result<Login, Error> {
        let token = IdToken::deserialize(&claims).map_err(|_| refused("a claim of another type"))?;
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
        let expired = Error::SubjectToken { reason: Reason::SubjectTokenExpired };
        // What some providers call their access and logout tokens in the claims, where the header says JWT for all.
        let kind = |name: &str, own: &str| claims.get(name).is_none_or(|kind| kind == own);
        let is_id_token = kind("typ", "ID") && kind("token_use", "id") && !claims.contains_key("events");
        // OpenID Connect Core §3.1.3.7, in its order.
        match () {
            () if !is_id_token => return Err(refused("another kind of token")),
            () if several && token.azp.is_none() => return Err(refused("several audiences and no authorized party")),
            () if token.azp.is_some_and(|azp| azp != self.client_id) => return Err(refused("another's to present")),
            () if token.exp.saturating_add(LEEWAY) <= now => return Err(expired),
            () if token.iat.saturating_add(ID_TOKEN_AGE) <= now => return Err(expired),
            () if token.iat.saturating_sub(LEEWAY) > now => return Err(refused("issued in the future")),
            () if token.nbf.is_some_and(|nbf| nbf.saturating_sub(LEEWAY) > now) => {
                return Err(refused("not yet valid"));
            }
            () => {}
        }
        let human = self.human(&claims).ok_or_else(|| refused("no name for the human"))?;
        Ok(Login { human, auth_time: token.auth_time, amr: token.amr, claims })
    }

    fn human(&self, claims: &Map<String, Value>) -> Option<HumanId> {
        let name = match self.human_claim {
            HumanClaim::Sub => claims.get("sub")?.as_str()?.to_string(),
            // One mailbox is one human however it is written: a revoked one does not come back in capitals.
            HumanClaim::Email if is_email_verified(claims) => claims.get("email")?.as_str()?.to_ascii_lowercase(),
            HumanClaim::Email => return None,
        };
        HumanId::try_from(name).ok()
    }
}

impl Login {
    /// Whether the token has this value under the claim, or among the values of a claim named in the plural.
    pub(super) fn has(&self, claim: &str, wanted: &str) -> bool {
        // Whoever may set her own address at the provider must not choose her role by it.
        if claim == "email" && !is_email_verified(&self.claims) {
            return false;
        }
        let held = |name: &str| match self.claims.get(name) {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(many)) => many.iter().any(|value| value == wanted),
            _ => false,
        };
        held(claim) || held(&format!("{claim}s"))
    }
}

fn is_email_verified(claims: &Map<String, Value>) -> bool {
    claims.get("email_verified") == Some(&Value::Bool(true))
}

/// Whether `jwk` is a key to check signatures of this algorithm with. A key that names its algorithm has only that;
/// many providers name none, and then the key's type decides.
fn signs(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)));
    let named = jwk.common.key_algorithm.as_ref();
    let fits_name = named.is_none_or(|name| name.to_string().parse::<Algorithm>().ok() == Some(algorithm));
    let fits_type = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
                | Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
        ),
        AlgorithmParameters::EllipticCurve(key) => matches!(
            (&key.curve, algorithm),
            (EllipticCurve::P256, Algorithm::ES256) | (EllipticCurve::P384, Algorithm::ES384)
        ),
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519 && algorithm == Algorithm::EdDSA,
        _ => false,
    };
    for_signatures && fits_name && fits_type
}

/// All callers are told the same; what exactly is wrong is for those who read the log.
fn refused(why: &'static str) -> Error {
    tracing::info!(decision = "deny", why, "ID token refused");
    Error::SubjectToken { reason: Reason::InvalidSubjectToken }
}

/// What a provider may sign with. No shared secrets: a secret in the provider's public key set would be known to all.
const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

#[cfg(test)]
mod tests;
