//! Tokens that a caller shows rather than uses: given up (RFC 7009), or asked about (RFC 7662). What she may not see looks
//! like what does not exist.

use crate::agent::Credential;
use crate::error::Error;
use crate::id::{CredentialId, KeyId};
use crate::name::HumanId;
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, Loaded};
use crate::scope::Scope;
use crate::token::{Act, Claims};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Refuses the credential behind `token` from the next request on, if it is the caller's to revoke. If not, nothing
/// happens, which the record tells and the reply does not. Repeating it changes nothing.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn revoke_token(app: &App, permit: &Permit, token: &str) -> Result<Done<()>, Error> {
    let Some(Presented { mut credential, .. }) = presented(app, token).await? else { return Ok(Done::read(())) };
    let refused = refusal(app, permit, &credential.value);
    let note = Note { object: Some(credential.value.id.to_string()), refused, ..Note::default() };
    if refused.is_some() || credential.value.revoked {
        return Ok(Done { note, ..Done::read(()) });
    }
    credential.value.revoked = true;
    Ok(Done { value: (), puts: vec![credential.replace()?], note })
}

/// What a token is good for.
#[derive(Debug, Default, JsonSchema, Serialize)]
pub struct Introspection {
    /// Whether a request with it would be identified now. False too for what the caller may not see.
    pub active: bool,
    /// Present if active.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenInfo>,
}

/// What an active token says (RFC 7662 §2.2, RFC 9396 §9.2).
#[derive(Debug, JsonSchema, Serialize)]
pub struct TokenInfo {
    pub token_type: &'static str,
    pub iss: String,
    pub sub: HumanId,
    pub aud: String,
    pub client_id: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub jti: CredentialId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<Scope<KeyId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

/// Whether `token` is good now, and for what.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn introspect_token(app: &App, permit: &Permit, token: &str) -> Result<Done<Introspection>, Error> {
    let Some(Presented { claims, credential }) = presented(app, token).await? else {
        return Ok(Done::read(Introspection::default()));
    };
    let refused = refusal(app, permit, &credential.value);
    let active = refused.is_none() && app.holds(Arc::clone(&claims), app.clock.now()).await?;
    let note = Note { object: Some(credential.value.id.to_string()), refused, ..Note::default() };
    let value = Introspection { active, token: active.then(|| TokenInfo::of(&claims)) };
    Ok(Done { note, ..Done::read(value) })
}

struct Presented {
    claims: Arc<Claims>,
    credential: Loaded<Credential>,
}

/// The credential that a token proves; `None` for what is not ours, or is over.
async fn presented(app: &App, token: &str) -> Result<Option<Presented>, Error> {
    let Ok(claims) = app.tokens.verify(token, app.clock.now()) else { return Ok(None) };
    let credential = repository::load(app.store.as_ref(), &repository::credential_item(&claims.jti)).await?;
    Ok(credential.map(|credential| Presented { claims, credential }))
}

/// Why the operation that was permitted to the caller in general is not on this credential.
fn refusal(app: &App, permit: &Permit, credential: &Credential) -> Option<Reason> {
    let (id, human, agent) = (&credential.id, &credential.human, credential.agent.as_ref());
    let operation: Operation = permit.operation();
    permit.facts().decide(operation, &Resource::Credential { id, human, agent }, app.clock.now()).err()
}

impl TokenInfo {
    fn of(claims: &Claims) -> Self {
        Self {
            token_type: "Bearer",
            iss: claims.iss.clone(),
            sub: claims.sub.clone(),
            aud: claims.aud.clone(),
            client_id: claims.client_id.clone(),
            iat: claims.iat,
            nbf: claims.nbf,
            exp: claims.exp,
            jti: claims.jti.clone(),
            act: claims.act.clone(),
            authorization_details: claims.authorization_details.clone(),
            auth_time: claims.auth_time,
            amr: claims.amr.clone(),
        }
    }
}
