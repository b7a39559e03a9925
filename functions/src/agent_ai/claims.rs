//! What a caller claims of itself and of the model it runs. Recorded as claims: anybody writes what she likes.

use aegis_core::record::Claimed;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// Nothing is decided on it. Of each, 128 characters are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// The program that speaks for the agent, and its version.
    client: Option<String>,
    client_version: Option<String>,
    model: Option<String>,
    /// The conversation.
    session: Option<String>,
}

/// With the call's id, and the trace that the request is part of.
pub(crate) fn claimed(claims: Option<&Claims>, call: Option<&str>, headers: &HeaderMap) -> Option<Claimed> {
    let kept =
        |of: fn(&Claims) -> &Option<String>| claims.and_then(|claims| of(claims).as_deref()).and_then(Claimed::kept);
    let claimed = Claimed {
        client: kept(|claims| &claims.client),
        client_version: kept(|claims| &claims.client_version),
        model: kept(|claims| &claims.model),
        session: kept(|claims| &claims.session),
        tool_call: call.and_then(Claimed::kept),
        traceparent: crate::traceparent(headers),
    };
    claimed.or_none()
}
