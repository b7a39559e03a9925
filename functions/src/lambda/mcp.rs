//! What reads the messages of agents: MCP, function calls, access evaluations. What they ask for it forwards to the
//! operations, with the credential that came with them; it holds no key, and decides on nothing.

use super::Function;
use super::events::{GatewayRequest, GatewayResponse};
use crate::problem::{Stranded, problem};
use crate::{MAX_BODY, edge, handle};
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::error::{Cause, Failed};
use aegis_core::id::RequestId;
use http::header::HOST;
use std::sync::Arc;

/// # Errors
/// An event that no gateway makes.
pub async fn answer(function: Arc<Function>, request: GatewayRequest) -> Result<GatewayResponse, Cause> {
    let (source, gateway) = (request.source()?, request.url());
    let mut request = request.into_http()?;
    let id = || RequestId::new(Timestamp::now(), &Entropy::system());
    if let Some(response) = edge::missing(request.method(), request.uri().path(), &id()) {
        return Ok(response.into());
    }
    if !edge::is_message(request.method(), request.uri().path()) {
        return Ok(Stranded::NoSuchPath.response(&id()).into());
    }
    if request.body().len() > MAX_BODY {
        return Ok(Stranded::TooLarge.response(&id()).into());
    }
    let host = match function.messages(gateway).await {
        Ok(host) => host,
        Err(error) => return Ok(problem(&Failed::from(error), &id()).into()),
    };
    // By whatever name it was called: the gateway answers to its own alone.
    if let Some(authority) = host.mcp.authority() {
        request.headers_mut().insert(HOST, authority);
    }
    let response = handle(host, request, source).await;
    super::summarize(host).await;
    Ok(response.into())
}
