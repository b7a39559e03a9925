//! Logins: a human proves herself to an OpenID provider, and exchanges its ID token once for a session token of Aegis
//! (RFC 8693). The ID token itself opens nothing.

use crate::agent::Credential;
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::human::{Human, Role};
use crate::id::{CredentialId, RecordId, RequestId};
use crate::journal;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::pipeline::App;
use crate::reason::Reason;
use crate::record::{AuditRecord, Decision, Outcome, Plane};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, StoreError};
use crate::token::{Claims, Epochs, LEEWAY, MAX_TOKEN};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Longest session of a human, in seconds (DESIGN §5).
pub const SESSION: i64 = 8 * 3_600;
/// Longest time between a provider's issuing an ID token and its exchange, in seconds.
const ID_TOKEN_AGE: i64 = 600;

/// The OpenID provider whose ID tokens are taken, and which claims make which role. There is one, since a subject is
/// unique only within its issuer.
pub struct Logins {
    provider: Provider,
    roles: RoleMap,
}

/// A provider: its issuer, the client id it knows Aegis by, its public keys.
pub struct Provider {
    pub issuer: String,
    pub client_id: String,
    pub keys: JwkSet,
}

/// For each role the claims that give it, written `claim:value` (`group:security` also reads `groups`).
pub type RoleMap = HashMap<Role, BTreeSet<String>>;

/// What is known of the request that brings an ID token.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    pub request_id: RequestId,
    pub arrived_at: Timestamp,
    pub source: IpAddr,
    pub user_agent: Option<&'a str>,
}

/// A human's session token, to be shown once.
pub struct Session {
    pub token: String,
    pub expires_in: i64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(..)")
    }
}

#[derive(Clone, Debug, Deserialize)]
struct IdToken {
    sub: HumanId,
    iat: i64,
    exp: i64,
    #[serde(default)]
    auth_time: Option<i64>,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// An ID token that was exchanged. Kept until it could no longer be exchanged again.
#[derive(Deserialize, Serialize)]
struct Exchanged {
    digest: String,
    expires_at: Timestamp,
}

impl Document for Exchanged {
    fn item_key(&self) -> ItemKey {
        ItemKey::state(format!("exchanged/{}", self.digest), "exchanged")
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

impl Logins {
    pub fn new(provider: Provider, roles: RoleMap) -> Self {
        Self { provider, roles }
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<IdToken, Reason> {
        let refused = |_| Reason::InvalidToken;
        if token.len() > MAX_TOKEN {
            return Err(Reason::InvalidToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(refused)?;
        let provider = &self.provider;
        let kid = header.kid.as_deref().unwrap_or_default();
        let jwk = provider.keys.find(kid).ok_or(Reason::InvalidToken)?;
        // The algorithm is the key's own; a provider's key without one is not taken.
        let algorithm: Option<Algorithm> = jwk.common.key_algorithm.and_then(|alg| alg.to_string().parse().ok());
        let algorithm = algorithm.filter(|alg| ASYMMETRIC.contains(alg)).ok_or(Reason::InvalidToken)?;
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&provider.client_id]);
        validation.set_issuer(&[&provider.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_jwk(jwk).map_err(refused)?;
        let claims: IdToken = jsonwebtoken::decode(token, &key, &validation).map_err(refused)?.claims;
        let now = now.as_second();
        match () {
            () if claims.exp.saturating_add(LEEWAY) <= now => Err(Reason::CredentialExpired),
            () if claims.iat.saturating_add(ID_TOKEN_AGE) <= now => Err(Reason::CredentialExpired),
            () if claims.iat.saturating_sub(LEEWAY) > now => Err(Reason::InvalidToken),
            () => Ok(claims),
        }
    }

    fn roles_of(&self, token: &IdToken) -> BTreeSet<Role> {
        let held = |name: &str| match token.rest.get(name) {
            Some(serde_json::Value::String(one)) => vec![one.as_str()],
            Some(serde_json::Value::Array(many)) => many.iter().filter_map(|value| value.as_str()).collect(),
            _ => Vec::new(),
        };
        let gives = |rule: &String| {
            let Some((claim, wanted)) = rule.split_once(':') else { return false };
            held(claim).contains(&wanted) || held(&format!("{claim}s")).contains(&wanted)
        };
        self.roles.iter().filter(|(_, rules)| rules.iter().any(gives)).map(|(role, _)| *role).collect()
    }
}

/// Exchanges an ID token for a session. Each ID token is exchanged at most once.
///
/// # Errors
/// [`Error::Unauthenticated`] for a token that is not the provider's, not for us, too old or used before, and for a human
/// who is revoked; [`Error::Unavailable`].
pub async fn exchange(app: &App, id_token: &str, arrival: &Arrival<'_>) -> Result<Session, Error> {
    let now = app.clock.now();
    let token = app.logins.verify(id_token, now).map_err(|reason| Error::Unauthenticated { reason })?;
    let roles = app.logins.roles_of(&token);
    let epoch = crate::pipeline::deployment(app).await?.epoch;
    for _ in 0..ATTEMPTS {
        let found: Option<Loaded<Human>> =
            repository::load(app.store.as_ref(), &repository::human_item(&token.sub)).await?;
        let human = Human {
            id: token.sub.clone(),
            roles: roles.clone(),
            epoch: found.as_ref().map_or(1, |found| found.value.epoch),
            revoked: found.as_ref().is_some_and(|found| found.value.revoked),
            last_login_at: now,
        };
        let mut record = login_record(&human, arrival, RecordId::new(now, &app.entropy));
        if human.revoked {
            record.outcome = Outcome::Denied;
            record.decision = Decision::Deny;
            record.reason = Some(Reason::HumanRevoked);
            journal::append(app, &record).await?;
            return Err(Error::Unauthenticated { reason: Reason::HumanRevoked });
        }
        let (claims, credential) = session(app, &human, &token, epoch, now);
        record.credential = Some(credential.id.clone());
        let digest = app.digest_key.digest(&[b"id-token", id_token.as_bytes()]);
        let expires_at = after_seconds(now, ID_TOKEN_AGE.saturating_add(2 * LEEWAY));
        let human_expect = found.map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let exchanged = Exchanged { digest, expires_at }.put(Expect::Absent)?;
        let exchanged_key = exchanged.item.key.clone();
        record.latency_us = journal::elapsed_us(app, record.at);
        let puts = vec![human.put(human_expect)?, credential.put(Expect::Absent)?, exchanged, journal::put(&record)?];
        match app.store.transact(puts).await {
            Ok(()) => return Ok(Session { token: app.tokens.sign(&claims)?, expires_in: SESSION }),
            Err(StoreError::Conflict { key }) if key == exchanged_key => {
                return Err(Error::Unauthenticated { reason: Reason::InvalidToken });
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

fn session(app: &App, human: &Human, token: &IdToken, epoch: u32, now: Timestamp) -> (Claims, Credential) {
    let id = CredentialId::new(now, &app.entropy);
    let expires_at = after_seconds(now, SESSION);
    let credential =
        Credential { id: id.clone(), human: human.id.clone(), agent: None, issued_at: now, expires_at, revoked: false };
    let claims = Claims {
        iss: app.tokens.issuer().to_string(),
        sub: human.id.clone(),
        aud: app.tokens.audience().to_string(),
        client_id: "aegis".to_string(),
        iat: now.as_second(),
        nbf: now.as_second(),
        exp: expires_at.as_second(),
        jti: id,
        act: None,
        authorization_details: None,
        auth_time: Some(token.auth_time.unwrap_or(0).min(now.as_second())),
        amr: token.amr.clone(),
        epoch: Epochs { deployment: epoch, human: human.epoch, agents: Vec::new() },
        via: Vec::new(),
        cnf: None,
    };
    (claims, credential)
}

fn login_record(human: &Human, arrival: &Arrival<'_>, id: RecordId) -> AuditRecord {
    AuditRecord {
        human: Some(human.id.clone()),
        source: Some(arrival.source),
        user_agent: AuditRecord::kept_user_agent(arrival.user_agent),
        ..AuditRecord::new(id, arrival.arrived_at, Operation::HumanLogin, Plane::Rest, arrival.request_id.clone())
    }
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

/// How often the human's item is read again after another login of hers was faster.
const ATTEMPTS: u32 = 8;
