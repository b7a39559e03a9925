//! MCP over HTTP: streamable HTTP without sessions, spec 2026-07-28 and 2025-11-25. A tool stands for a route, and a tool
//! call is a request of that route: identified, decided and recorded as one that came by REST. Nothing is decided here, and
//! nothing on the headers that mirror a message: they are compared with it by the transport, and then not looked at again.

mod claims;
#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod outcome;
mod prompt;
mod reference;
mod server;
mod visit;

use crate::forward::ask;
use crate::inbound::{Inbound, Malformed};
use crate::route::Parameters;
use crate::tools::{NotDone, words};
use crate::{Host, bearer, caller};
use aegis_core::id::RequestId;
use aegis_core::record::Plane;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rmcp::model::{ErrorCode, ErrorData, JsonRpcError, ProtocolVersion};
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
    /// Without a slash at its end.
    pub(crate) url: String,
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
        Self { service, url: url.to_string() }
    }
}

impl Mcp {
    /// Where clients find out whose tokens a path takes (RFC 9728).
    pub(crate) fn metadata(&self, path: &str) -> String {
        let own = if path == PATH { PATH } else { "" };
        format!("{}/.well-known/oauth-protected-resource{own}", self.url)
    }

    /// What comes in the header `Host` of who calls it by its URL.
    #[cfg(feature = "lambda")]
    pub(crate) fn authority(&self) -> Option<HeaderValue> {
        let url = self.url.parse::<http::Uri>().ok()?;
        HeaderValue::from_str(url.authority()?.as_str()).ok()
    }
}

/// Answers one message. Who sends it is identified, and that is on record, whatever the message is.
pub(crate) async fn answer(
    host: &Arc<Host>,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Result<Response<Bytes>, NotDone> {
    caller::prove(host, request.headers(), source)?;
    if let Some(response) = of_another_version(request) {
        return Ok(response);
    }
    let visit = Visit::new(Arc::clone(host), id.clone(), source);
    if let Some(response) = of_no_parameter(request) {
        return identify(host, request, &visit, response).await;
    }
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
        Some(Met::TurnedAway(failed)) => Err(failed.into()),
        Some(Met::Admitted) => Ok(response),
        None => identify(host, request, &visit, response).await,
    }
}

/// A header that stands for an argument which no tool has stand in a header. The transport compares those alone that a tool
/// declares, and what stands in front may have decided on it.
fn of_no_parameter(request: &http::Request<Bytes>) -> Option<Response<Bytes>> {
    let headers = request.headers();
    let is_modern =
        headers.get("mcp-protocol-version").is_some_and(|value| value == ProtocolVersion::V_2026_07_28.as_str());
    let mut names = headers.keys().filter(|name| name.as_str().starts_with("mcp-param-"));
    let name = names.next().filter(|_| is_modern && !HAS_PARAMETERS)?;
    let why = format!("no tool has the header {name}");
    Some(malformed(request, ErrorData::new(ErrorCode::HEADER_MISMATCH, why, None)))
}

/// Whether any tool declares an argument that stands in a header, too: of the product's none does.
const HAS_PARAMETERS: bool = cfg!(feature = "mcp-fixtures");

/// The transport knows versions that this server does not speak.
fn of_another_version(request: &http::Request<Bytes>) -> Option<Response<Bytes>> {
    let named = request.headers().get("mcp-protocol-version")?.to_str().ok()?;
    if VERSIONS.iter().any(|version| version.as_str() == named) {
        return None;
    }
    let requested: ProtocolVersion = serde_json::from_value(words::told(named).into()).ok()?;
    Some(malformed(request, ErrorData::unsupported_protocol_version(requested, &VERSIONS)))
}

fn malformed(request: &http::Request<Bytes>, error: ErrorData) -> Response<Bytes> {
    let asked = serde_json::from_slice::<Numbered>(request.body()).ok().and_then(|message| message.id);
    let error = JsonRpcError::new(asked, error);
    let mut response = Response::new(Bytes::from(serde_json::to_vec(&error).unwrap_or_default()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
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
) -> Result<Response<Bytes>, NotDone> {
    let route = caller::whoami()?;
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
        crossing: None,
        malformed: refused.as_deref().map(|why| Malformed { field: "arguments", why }),
    };
    match ask(host, inbound).await {
        Err(NotDone::Refused(refusal)) if refused.is_some() && refusal.is_of_form() => Ok(response),
        other => other.map(|_| response),
    }
}

/// Where messages come.
const PATH: &str = "/mcp";

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
