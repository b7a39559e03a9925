//! The OAuth endpoints.

use super::{Answered, json};
use crate::Reply;
use crate::call::Call;
use aegis_core::error::Error;
use aegis_core::login::{Arrival, exchange};
use aegis_core::operations::tokens::{introspect_token, revoke_token};
use aegis_core::pipeline::Permit;
use aegis_core::token::SessionScope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// RFC 8693 §2.1, as far as Aegis takes it. Unknown parameters are ignored (RFC 6749 §3.2).
#[derive(Deserialize, JsonSchema)]
pub(crate) struct TokenRequest {
    grant_type: GrantType,
    /// The ID token of the identity provider. It can be exchanged once.
    subject_token: String,
    subject_token_type: SubjectTokenType,
    /// For a session that answers one approval, within five minutes, and does nothing else.
    #[serde(default)]
    #[schemars(with = "SessionScope")]
    scope: Option<SessionScope>,
}

#[derive(Deserialize)]
struct AnyGrant {
    grant_type: String,
}

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

#[derive(Deserialize, JsonSchema)]
enum GrantType {
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

#[derive(Deserialize, JsonSchema)]
enum SubjectTokenType {
    #[serde(rename = "urn:ietf:params:oauth:token-type:id_token")]
    IdToken,
}

/// RFC 8693 §2.2.
#[derive(JsonSchema, Serialize)]
pub(crate) struct TokenReply {
    access_token: String,
    issued_token_type: &'static str,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

pub(crate) async fn token(call: &Call<'_>) -> Result<Reply, Error> {
    // First, as RFC 6749 has an error of its own for it.
    let asked: AnyGrant = call.form()?;
    if asked.grant_type != TOKEN_EXCHANGE {
        return Err(Error::invalid("grant_type", format!("it must be {TOKEN_EXCHANGE}")));
    }
    let TokenRequest { grant_type: GrantType::TokenExchange, subject_token, subject_token_type, scope } =
        call.form()?;
    let SubjectTokenType::IdToken = subject_token_type;
    let arrival = Arrival {
        request_id: call.id.clone(),
        arrived_at: call.arrived_at,
        source: call.source,
        user_agent: call.user_agent,
        scope,
    };
    let session = exchange(call.app, &subject_token, &arrival).await?;
    Reply::json(&TokenReply {
        access_token: session.token,
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        token_type: "Bearer",
        expires_in: session.expires_in,
    })
}

/// RFC 7009 §2.1 and RFC 7662 §2.1. There is one type of token, so a hint at it says nothing.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct PresentedToken {
    /// An access token of Aegis's.
    token: String,
}

/// Answers as if the token had been revoked, whatever it was.
pub(crate) async fn revoke(call: &Call<'_>, permit: &Permit) -> Answered {
    let done = revoke_token(call.app, permit, &call.form::<PresentedToken>()?.token).await?;
    json(done.map(|()| serde_json::Map::new()))
}

pub(crate) async fn introspect(call: &Call<'_>, permit: &Permit) -> Answered {
    json(introspect_token(call.app, permit, &call.form::<PresentedToken>()?.token).await?)
}
