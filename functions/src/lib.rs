//! The route table of Aegis and what turns HTTP into operations, for every host. No server, no cloud in it: a host hands
//! in a request with the address it came from, and gets a response back.

mod agent_ai;
mod call;
mod caller;
pub mod deployed;
pub mod edge;
pub mod forward;
mod gate;
mod handlers;
mod inbound;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod mcp;
mod metrics;
#[cfg(feature = "oidc")]
pub mod oidc;
mod openapi;
#[cfg(feature = "oidc")]
pub mod page;
mod problem;
mod route;
mod router;
pub mod routes;
mod tools;
#[cfg(feature = "webhooks")]
pub mod webhooks;

pub use gate::Gate;
pub use metrics::Metrics;
pub use problem::{PROBLEMS, Stranded, problem};
pub use route::{Access, Route, TargetKind};

use crate::agent_ai::authzen::request_id;
use crate::edge::{Crossed, Read};
use crate::forward::Operations;
use crate::inbound::{Inbound, carry_out};
use crate::route::{Handler, Parameters};
use crate::tools::NotDone;
use aegis_core::ambient::Timestamp;
use aegis_core::error::{Chain, Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::maintenance;
use aegis_core::pipeline::App;
use aegis_core::reason::Reason;
use aegis_core::record::Claimed;
use aegis_core::trace;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use tracing::Instrument;

/// Largest body of a request, in bytes (DESIGN §7).
pub const MAX_BODY: usize = 1024 * 1024;
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A deployment as HTTP reaches it.
pub struct Host {
    pub app: Arc<App>,
    /// Counts and bounds requests without a verified principal.
    pub gate: Gate,
    pub metrics: Metrics,
    /// How MCP is spoken, at `/mcp`.
    pub mcp: mcp::Mcp,
    /// Where what messages ask for is carried out.
    pub operations: Operations,
}

impl Host {
    fn count_refusal(&self, error: &Error) {
        if let Error::Unauthenticated { reason }
        | Error::Denied { reason }
        | Error::LimitReached { reason, .. }
        | Error::SubjectToken { reason } = error
        {
            self.metrics.refused(*reason);
        }
        if let Error::ApprovalNeeded(_) = error {
            self.metrics.refused(Reason::StepUp);
        }
    }
}

/// Answers one request. `source` is where the host knows it to come from.
pub async fn handle(host: &Arc<Host>, request: http::Request<Bytes>, source: IpAddr) -> Response<Bytes> {
    handle_as(host, request, source, None).await
}

/// The same, of a request that an edge may have decided on.
async fn handle_as(
    host: &Arc<Host>,
    request: http::Request<Bytes>,
    source: IpAddr,
    crossed: Option<Crossed<'_>>,
) -> Response<Bytes> {
    let app = &host.app;
    let (id, began) = (RequestId::new(app.clock.now(), &app.entropy), app.clock.precise());
    let found = router::find(request.method(), request.uri().path());
    let operation = match &found {
        // What a message asks for is counted as what it is.
        Ok((route, _)) if route.takes_messages() => route.path,
        Ok((route, _)) => route.operation(),
        Err(_) => "none",
    };
    let answers_as_oauth = found.as_ref().is_ok_and(|(route, _)| route.answers_as_oauth);
    let given_id = match &found {
        Ok((Route { handler: Handler::AuthZen(_), .. }, _)) => request.headers().get(REQUEST_ID).and_then(request_id),
        _ => None,
    };
    let of_agents = found.as_ref().is_ok_and(|(route, _)| route.plane.is_for_agents());
    // What the caller's trace is called, each line of the log says, too.
    let trace_id = traceparent(request.headers());
    let trace_id = trace_id.as_deref().and_then(trace::trace_id);
    let span = tracing::info_span!("request", request_id = %id, operation, trace_id);
    let result = match found {
        Ok(found) => respond(host, found, &request, &id, source, crossed).instrument(span).await,
        Err(missing) => Ok(missing.response(&id)),
    };
    let response = result.unwrap_or_else(|failed| {
        host.count_refusal(&failed.error);
        let shape = if answers_as_oauth { problem::token_problem } else { problem };
        let response = shape(&failed, &id);
        if of_agents {
            caller::challenge(response, &failed.error, &host.mcp.metadata(request.uri().path()))
        } else {
            response
        }
    });
    let elapsed = app.clock.precise().duration_since(began).as_secs_f64();
    host.metrics.answered(operation, response.status().as_u16(), elapsed);
    let mut response = finished(response, &id);
    if let Some(given) = given_id {
        response.headers_mut().insert(REQUEST_ID, given.clone());
    }
    response
}

/// Answers what the host cannot hand in, or what [`handle`] never answered.
pub fn strand(host: &Host, why: Stranded) -> Response<Bytes> {
    let id = RequestId::new(host.app.clock.now(), &host.app.entropy);
    finished(why.response(&id), &id)
}

/// Writes to the journal how many requests of the minutes before proved nothing, or came too often.
pub async fn write_summaries(host: &Host, before: Timestamp) {
    for tally in host.gate.take_before(before) {
        let written = maintenance::record_unverified(&host.app, tally.minute, tally.key, tally.count).await;
        if let Err(error) = written {
            tracing::error!(error = %Chain(&error), count = tally.count, source = ?tally.key, "summary not recorded");
        }
    }
    for throttled in host.app.throttle.take_before(before) {
        if let Err(error) = maintenance::record_throttled(&host.app, &throttled).await {
            tracing::error!(error = %Chain(&error), ?throttled, "summary not recorded");
        }
    }
}

/// What every response has.
fn finished(mut response: Response<Bytes>, id: &RequestId) -> Response<Bytes> {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn respond(
    host: &Arc<Host>,
    (route, parameters): (&'static Route, Parameters),
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
    crossed: Option<Crossed<'_>>,
) -> Result<Response<Bytes>, Failed> {
    let told = |reply: Reply| reply.response(route.status);
    let message = match route.handler {
        Handler::AuthZen(endpoint) => {
            Some(agent_ai::authzen::answer(host, endpoint, request, id, source).await.map(told))
        }
        Handler::Calls => Some(agent_ai::answer(host, request, id, source).await.map(told)),
        Handler::Evaluate => Some(agent_ai::evaluate(host, request, id, source).await.map(told)),
        Handler::Mcp => Some(mcp::answer(host, request, id, source).await),
        Handler::Permitted(_) | Handler::Public(_) => None,
    };
    if let Some(answered) = message {
        return answered.or_else(|not_done| match not_done {
            NotDone::Refused(refusal) => Ok(refusal.response()),
            NotDone::TurnedAway(failed) => Err(failed),
        });
    }
    let crossing = match crossed {
        Some(crossed) => match crossed.read(route, host.app.clock.now()).await? {
            Ok(Read::Answer(answer)) => return Ok(edge::said(answer)),
            Ok(Read::Permit(crossing)) => Some(Ok(crossing)),
            Err(reason) => Some(Err(reason)),
        },
        None => None,
    };
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let claims = traced(request.headers());
    let inbound = Inbound {
        id,
        route,
        parameters,
        token: bearer(request.headers()),
        plane: route.plane,
        source,
        user_agent: header(USER_AGENT),
        claims: claims.as_ref(),
        content_type: header(CONTENT_TYPE),
        query: request.uri().query().unwrap_or_default(),
        body: request.body(),
        idempotency_key: idempotency_key(route, request.headers().get(IDEMPOTENCY_KEY)),
        crossing,
        malformed: None,
    };
    Ok(carry_out(host, inbound).await?.response(route.status))
}

/// Two credentials are as good as none: which one counts must not be a matter of order.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let only = given.next().filter(|_| given.next().is_none())?;
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What every plane records of where a request comes from: the trace it is part of.
fn traced(headers: &HeaderMap) -> Option<Claimed> {
    Claimed { traceparent: traceparent(headers), ..Claimed::default() }.or_none()
}

/// Of two none is followed, as the standard says.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none())?;
    trace::traceparent(only.to_str().ok()?)
}

/// An idempotency key counts only on routes that take one; elsewhere it is refused rather than ignored.
fn idempotency_key<'a>(route: &Route, header: Option<&'a HeaderValue>) -> Option<Result<&'a str, &'static str>> {
    let text = header?.to_str().unwrap_or_default();
    Some(match route.takes_idempotency_key {
        true => fitting_idempotency_key(text),
        false => Err("this route does not take one"),
    })
}

/// The text, if it can be an idempotency key.
fn fitting_idempotency_key(text: &str) -> Result<&str, &'static str> {
    let fits =
        (1..=aegis_core::idempotency::MAX_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(text).ok_or("it has 1 to 64 visible ASCII characters")
}

/// What a handler returns: JSON.
pub(crate) struct Reply {
    body: Bytes,
    /// The route's, if absent.
    pub(crate) status: Option<StatusCode>,
}

impl Reply {
    pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<Self, Error> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Error::Damaged { what: "reply", source: error.into() })?;
        Ok(Self { body: Bytes::from(bytes), status: None })
    }

    fn response(self, status: StatusCode) -> Response<Bytes> {
        let status = self.status.unwrap_or(status);
        let empty = status == StatusCode::NO_CONTENT;
        let mut response = Response::new(if empty { Bytes::new() } else { self.body });
        *response.status_mut() = status;
        if !empty {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}
