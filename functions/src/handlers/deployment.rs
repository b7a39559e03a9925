//! What everyone may know of a deployment.

use crate::call::Call;
use crate::caller::AGENT_SCOPE;
use crate::{Reply, openapi as document};
use aegis_core::error::Error;
use aegis_core::login::DeviceLogin;
use aegis_core::pipeline;
use schemars::JsonSchema;
use serde::Serialize;
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
    resource_at(call, call.url)
}

/// Clients compare what it is of with what they ask.
pub(crate) async fn mcp_resource(call: &Call<'_>) -> Result<Reply, Error> {
    resource_at(call, &format!("{}/mcp", call.url))
}

fn resource_at(call: &Call<'_>, resource: &str) -> Result<Reply, Error> {
    let (tokens, device) = (&call.app.tokens, call.app.logins.device());
    Reply::json(&ResourceMetadata {
        resource,
        resource_name: "Aegis",
        authorization_servers: [device.as_ref().map_or(tokens.issuer(), |device| device.issuer)],
        bearer_methods_supported: ["header"],
        scopes_supported: [AGENT_SCOPE],
        authorization_details_types_supported: ["aegis_key_use"],
        aegis_device_login: device,
    })
}

/// RFC 9728 §2, with one member of our own.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ResourceMetadata<'a> {
    /// The URL that it is of. Tokens have an audience of their own, since Aegis itself issues them.
    resource: &'a str,
    resource_name: &'static str,
    /// Where humans log in.
    authorization_servers: [&'a str; 1],
    bearer_methods_supported: [&'static str; 1],
    scopes_supported: [&'static str; 1],
    authorization_details_types_supported: [&'static str; 1],
    /// How a command line logs in: RFC 9728 has no member for a client's id. Absent with the local issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    aegis_device_login: Option<DeviceLogin<'a>>,
}

pub(crate) async fn openapi(_: &Call<'_>) -> Result<Reply, Error> {
    Reply::json(document::document())
}
