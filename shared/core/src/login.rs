//! Logins: a human proves herself to an OpenID provider, and exchanges its ID token once for a session token of Aegis
//! (RFC 8693). The ID token itself opens nothing.

mod provider;

use crate::agent::Credential;
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::human::{Human, Role};
use crate::id::{CredentialId, RecordId, RequestId};
use crate::journal;
use crate::operation::Operation;
use crate::pipeline::App;
use crate::reason::Reason;
use crate::record::{AuditRecord, Decision, Outcome, Plane};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, StoreError};
use crate::token::{Claims, Epochs, LEEWAY, SessionScope};
use provider::{ID_TOKEN_AGE, Login};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

pub use provider::{HumanClaim, Provider, ProviderKeys};

/// Longest session of a human, in seconds (DESIGN §5).
pub const SESSION: i64 = 8 * 3_600;
/// How long a login for one approval can be used, in seconds: as long as a login is fresh.
pub const APPROVING: i64 = 300;

/// The OpenID provider whose ID tokens are taken, and which claims make which role. There is one, since a subject is
/// unique only within its issuer.
pub struct Logins {
    provider: Provider,
    roles: RoleMap,
}

/// For each role the claims that give it, written `claim:value` (`group:security` also reads `groups`).
pub type RoleMap = HashMap<Role, BTreeSet<String>>;

/// How a command line logs in: by the device flow (RFC 8628), at this provider, as this public client. Told to everyone.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct DeviceLogin<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub scopes: &'a [String],
}

/// What is known of the request that brings an ID token.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    pub request_id: RequestId,
    pub arrived_at: Timestamp,
    pub source: IpAddr,
    pub user_agent: Option<&'a str>,
    /// What the session shall be for; everything, if nothing is said.
    pub scope: Option<SessionScope>,
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

    /// `None` with the local issuer, which has a way of its own.
    pub fn device(&self) -> Option<DeviceLogin<'_>> {
        let Provider { issuer, client_id, device_scopes, .. } = &self.provider;
        device_scopes.as_ref().map(|scopes| DeviceLogin { issuer, client_id, scopes })
    }

    fn roles_of(&self, login: &Login) -> BTreeSet<Role> {
        let gives = |rule: &String| rule.split_once(':').is_some_and(|(claim, wanted)| login.has(claim, wanted));
        self.roles.iter().filter(|(_, rules)| rules.iter().any(gives)).map(|(role, _)| *role).collect()
    }
}

/// Exchanges an ID token for a session. Each ID token is exchanged at most once.
///
/// # Errors
/// [`Error::SubjectToken`] for a token that is not the provider's, not for us, too old or used before, for a human who is
/// revoked, and for everybody while the deployment takes its humans from elsewhere; [`Error::Unavailable`], also if the
/// provider must be asked for its keys and does not answer.
pub async fn exchange(app: &App, id_token: &str, arrival: &Arrival<'_>) -> Result<Session, Error> {
    let now = app.clock.now();
    let login = app.logins.provider.verify(id_token, now).await?;
    let roles = app.logins.roles_of(&login);
    // What was signed, without the signature: anyone can turn an ECDSA signature into a second valid one.
    let signed = id_token.rsplit_once('.').map_or(id_token, |(signed, _)| signed);
    let digest = app.digest_key.digest(&[b"id-token", signed.as_bytes()]);
    let deployment = crate::pipeline::deployment(app).await?;
    app.logins.provider.check_tie(deployment.humans_from.as_deref())?;
    let epoch = deployment.epoch;
    for _ in 0..ATTEMPTS {
        let found: Option<Loaded<Human>> =
            repository::load(app.store.as_ref(), &repository::human_item(&login.human)).await?;
        let human = Human {
            id: login.human.clone(),
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
            journal::append(app, &mut record).await?;
            return Err(Error::SubjectToken { reason: Reason::HumanRevoked });
        }
        let (claims, credential) = session(app, &human, &login, epoch, (arrival.scope, now));
        record.credential = Some(credential.id.clone());
        let expires_at = after_seconds(now, ID_TOKEN_AGE.saturating_add(2 * LEEWAY));
        let human_expect = found.map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let exchanged = Exchanged { digest: digest.clone(), expires_at }.put(Expect::Absent)?;
        let exchanged_key = exchanged.item.key.clone();
        // Before the ID token is spent: one that cannot be signed costs nothing.
        let signed = app.tokens.sign(&claims).await?;
        let puts = vec![
            human.put(human_expect)?,
            credential.put(Expect::Absent)?,
            exchanged,
            journal::put_timed(app, &mut record)?,
        ];
        match app.store.transact(puts).await {
            Ok(()) => return Ok(Session { token: signed, expires_in: lifetime(arrival.scope) }),
            Err(StoreError::Conflict { key }) if key == exchanged_key => {
                return Err(Error::SubjectToken { reason: Reason::InvalidSubjectToken });
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

fn lifetime(scope: Option<SessionScope>) -> i64 {
    match scope {
        None => SESSION,
        Some(SessionScope::Approve) => APPROVING,
    }
}

fn session(
    app: &App,
    human: &Human,
    login: &Login,
    epoch: u32,
    (scope, now): (Option<SessionScope>, Timestamp),
) -> (Claims, Credential) {
    let id = CredentialId::new(now, &app.entropy);
    let expires_at = after_seconds(now, lifetime(scope));
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
        purpose: None,
        authorization_details: None,
        create_keys: false,
        audit: false,
        auth_time: Some(login.auth_time.unwrap_or(0).min(now.as_second())),
        amr: login.amr.clone(),
        epoch: Epochs { deployment: epoch, human: human.epoch, agents: Vec::new() },
        via: Vec::new(),
        scope,
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

/// How often the human's item is read again after another login of hers was faster.
const ATTEMPTS: u32 = 8;
