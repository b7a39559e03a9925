//! MCP over HTTP: streamable HTTP without sessions, spec 2026-07-28 and 2025-11-25. A tool stands for a route, and a tool
//! call is a request of that route: identified, decided and recorded as one that came by REST. Nothing is decided here, and
//! nothing on the headers that mirror a message: they are compared with it by the transport, and then not looked at again.

mod arguments;
mod claims;
#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod outcome;
mod prompt;
mod reference;
mod server;
mod tools;
mod visit;
mod words;

use crate::inbound::{Inbound, carry_out, is_of_nobody};
use crate::problem::problem;
use crate::route::Parameters;
use crate::{Host, bearer, router};
use aegis_core::error::{Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::reason::Reason;
use aegis_core::record::Plane;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rmcp::model::{ErrorData, JsonRpcError, ProtocolVersion};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;
use visit::{Met, Visit};

pub use reference::reference;

/// The versions spoken; a request that names another is refused.
pub(crate) const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28];

#[cfg(not(feature = "mcp-fixtures"))]
type Handler = server::Aegis;
#[cfg(not(feature = "mcp-fixtures"))]
const HANDLER: Handler = server::Aegis;
#[cfg(feature = "mcp-fixtures")]
type Handler = fixtures::Fixtures;
#[cfg(feature = "mcp-fixtures")]
const HANDLER: Handler = fixtures::Fixtures;

/// How MCP is spoken, and by which names this server may be called.
pub struct Mcp {
    service: StreamableHttpService<Handler, NeverSessionManager>,
    /// Where clients find out whose tokens are taken (RFC 9728).
    metadata: String,
}

impl Mcp {
    /// `url` is what clients call this server by: its scheme, host and port. Besides, loopback names are taken, with any
    /// port: a web page that had its own name resolved to this machine comes by another.
    pub fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        let own = url.parse::<http::Uri>().ok();
        let authority = own.as_ref().and_then(|url| url.authority()).map(ToString::to_string);
        let origin = own.as_ref().and_then(|url| {
            let (scheme, authority) = (url.scheme_str()?, url.authority()?);
            // A bare name would stand for every port of it.
            let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
            Some(format!("{scheme}://{}:{port}", authority.host()))
        });
        let hosts = LOOPBACK.map(str::to_string).into_iter().chain(authority);
        let origins = LOOPBACK.iter().flat_map(|name| ["http", "https"].map(|scheme| format!("{scheme}://{name}:*")));
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(crate::MAX_BODY)
            .with_allowed_hosts(hosts)
            .with_allowed_origins(origins.chain(origin))
            .enforce_origin_validation();
        let sessions = Arc::new(NeverSessionManager::default());
        let service = StreamableHttpService::new(|| Ok(HANDLER), sessions, config);
        Self { service, metadata: format!("{url}/.well-known/oauth-protected-resource") }
    }
}

/// Answers one message. Who sends it is identified, and that is on record, whatever the message is.
pub(crate) async fn answer(
    host: &Arc<Host>,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Response<Bytes> {
    let spoken = speak(host, request, id, source).await;
    spoken.unwrap_or_else(|failed| {
        host.count_refusal(&failed.error);
        challenge(problem(&failed, id), &failed.error, &host.mcp.metadata)
    })
}

async fn speak(
    host: &Arc<Host>,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Result<Response<Bytes>, Failed> {
    prove(host, request, source)?;
    if let Some(response) = of_another_version(request) {
        return Ok(response);
    }
    let visit = Visit::new(Arc::clone(host), id.clone(), source);
    let mut message = http::Request::new(Full::new(request.body().clone()));
    *message.method_mut() = request.method().clone();
    *message.uri_mut() = request.uri().clone();
    *message.headers_mut() = request.headers().clone();
    message.extensions_mut().insert(visit.clone());
    let response = host.mcp.service.handle(message).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let response = Response::from_parts(parts, body.to_bytes());
    match visit.met() {
        Some(Met::TurnedAway(failed)) => Err(failed),
        Some(Met::Admitted) => Ok(response),
        None => identify(host, request, &visit, response).await,
    }
}

/// A token that proves nothing gets no message read. What it stands on, the pipeline asks with each request.
fn prove(host: &Host, request: &http::Request<Bytes>, source: IpAddr) -> Result<(), Failed> {
    let (app, now) = (&host.app, host.app.clock.now());
    let token = app.tokens.look_up(bearer(request.headers()).unwrap_or_default());
    if token.is_empty() {
        host.gate.count(source, now)?;
        return Err(Error::Unauthenticated { reason: Reason::MissingToken }.into());
    }
    if !token.is_known() {
        host.gate.check(source, now)?;
    }
    if let Err(reason) = app.tokens.verify_presented(&token, now) {
        let error = Error::Unauthenticated { reason };
        if is_of_nobody(&error) {
            host.gate.count(source, now)?;
        }
        return Err(error.into());
    }
    Ok(())
}

/// The transport knows versions that this server does not speak.
fn of_another_version(request: &http::Request<Bytes>) -> Option<Response<Bytes>> {
    let named = request.headers().get("mcp-protocol-version")?.to_str().ok()?;
    if VERSIONS.iter().any(|version| version.as_str() == named) {
        return None;
    }
    let requested: ProtocolVersion = serde_json::from_value(words::told(named).into()).ok()?;
    let asked = serde_json::from_slice::<Numbered>(request.body()).ok().and_then(|message| message.id);
    let error = JsonRpcError::new(asked, ErrorData::unsupported_protocol_version(requested, &VERSIONS));
    let mut response = Response::new(Bytes::from(serde_json::to_vec(&error).unwrap_or_default()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(response)
}

/// All that is read of a message in another version.
#[derive(Deserialize)]
struct Numbered {
    id: Option<rmcp::model::RequestId>,
}

/// A message that asked for nothing in a route's name: who sent it must be an agent all the same, and is on record as
/// somebody who asked who she is. Where the transport refused the message, the record says so.
async fn identify(
    host: &Arc<Host>,
    request: &http::Request<Bytes>,
    visit: &Visit,
    response: Response<Bytes>,
) -> Result<Response<Bytes>, Failed> {
    let Ok((route, _)) = router::find(&Method::GET, "/v1/whoami") else { return Ok(response) };
    let refused = (!response.status().is_success()).then(|| format!("the message was refused: {}", response.status()));
    let claims = visit.claims();
    let inbound = Inbound {
        id: &visit.id,
        route,
        parameters: Parameters::default(),
        token: bearer(request.headers()),
        plane: Plane::Mcp,
        source: visit.source,
        user_agent: request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()),
        claims: claims.as_ref(),
        content_type: None,
        query: "",
        body: request.body(),
        idempotency_key: None,
        malformed: refused.as_deref(),
    };
    match carry_out(host, inbound).await {
        Err(Failed { error: Error::Invalid { .. }, .. }) if refused.is_some() => Ok(response),
        other => other.map(|_| response),
    }
}

/// Tells where tokens come from (RFC 9728 §5.1), and of a human's session what is missing.
fn challenge(mut response: Response<Bytes>, error: &Error, metadata: &str) -> Response<Bytes> {
    let headers = response.headers_mut();
    let given = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = match (given, error) {
        (Some("Bearer"), _) => format!("Bearer resource_metadata=\"{metadata}\""),
        (Some(given), _) => format!("{given}, resource_metadata=\"{metadata}\""),
        // One scope covers all there is here: what an agent may do with which keys, its authorization details say.
        (None, Error::Denied { reason: Reason::AgentCredentialRequired }) => format!(
            "Bearer error=\"insufficient_scope\", scope=\"aegis_key_use\", error_description=\"{}\", \
             resource_metadata=\"{metadata}\"",
            Reason::AgentCredentialRequired.sentence()
        ),
        (None, _) => return response,
    };
    if let Ok(value) = HeaderValue::from_str(&challenge) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    response
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
