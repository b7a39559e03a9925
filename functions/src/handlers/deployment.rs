//! What everyone may know of a deployment.

use crate::call::Call;
use crate::{Reply, openapi as document};
use aegis_core::error::Error;
use aegis_core::pipeline;
use serde_json::json;

pub(crate) async fn health(_: &Call<'_>) -> Result<Reply, Error> {
    Reply::json(&json!({ "status": "ok" }))
}

/// Reads one item, as every request will.
pub(crate) async fn ready(call: &Call<'_>) -> Result<Reply, Error> {
    pipeline::deployment(call.app).await?;
    Reply::json(&json!({ "status": "ready" }))
}

pub(crate) async fn jwks(call: &Call<'_>) -> Result<Reply, Error> {
    Reply::json(call.app.tokens.jwks())
}

pub(crate) async fn resource(call: &Call<'_>) -> Result<Reply, Error> {
    Reply::json(&json!({
        "resource": call.app.tokens.audience(),
        "authorization_servers": [call.app.tokens.issuer()],
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["aegis_key_use"],
    }))
}

pub(crate) async fn openapi(_: &Call<'_>) -> Result<Reply, Error> {
    Reply::json(document::document())
}
