//! Requests over HTTP: taken in, bounded in number, size and time, and handed to the route table.

mod finish;

use super::local_issuer::LocalIssuer;
use super::proxies::Proxies;
use aegis_core::error::Chain;
use aegis_core::id::RequestId;
use aegis_functions::page::{self, AtProvider};
use aegis_functions::{Host, MAX_BODY, Stranded, handle, problem, strand};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use finish::Finish;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most requests under way at once; one more is told to come back.
const AT_ONCE: usize = 512;
/// Most bodies being received at once: slow senders wait for each other, not the others for them.
const BODIES: usize = 1_024;
/// How long a request's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Shared {
    host: Arc<Host>,
    logins: LoginsAt,
    proxies: Arc<Proxies>,
    bodies: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// Where humans log in, as far as this process answers for it.
#[derive(Clone)]
pub(super) enum LoginsAt {
    LocalIssuer(Arc<LocalIssuer>),
    /// Elsewhere; with the page on which approvals are answered, if there is one.
    Provider(Option<Arc<AtProvider>>),
}

/// Everything that is answered: the route table, and the local issuer or the page where there is one.
pub(super) fn router(host: Arc<Host>, logins: LoginsAt, proxies: Proxies) -> Router {
    let (bodies, room) = (Arc::new(Semaphore::new(BODIES)), Arc::new(Semaphore::new(AT_ONCE)));
    Router::new().fallback(answer).with_state(Shared { host, logins, proxies: Arc::new(proxies), bodies, room })
}

/// The metrics, which have a listener of their own.
pub(super) fn metrics(host: Arc<Host>) -> Router {
    let page = async |State(host): State<Arc<Host>>| {
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        ([(CONTENT_TYPE, kind)], host.metrics.text())
    };
    Router::new().route("/metrics", get(page)).with_state(host)
}

async fn answer(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let host = Arc::clone(&shared.host);
    let refuse = |why| strand(&host, why).map(Body::from);
    let (parts, body) = request.into_parts();
    let body = {
        let Ok(_receiving) = shared.bodies.try_acquire() else { return refuse(Stranded::Overloaded) };
        match tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if is_too_large(&error) => return refuse(Stranded::TooLarge),
            Ok(Err(_)) => return refuse(Stranded::Malformed),
            Err(_) => return refuse(Stranded::TooSlow),
        }
    };
    let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else { return refuse(Stranded::Overloaded) };
    let source = shared.proxies.source(peer.ip(), &parts.headers);
    let request = Request::from_parts(parts, body);
    // To its end: a caller who goes away does not cut off a refusal before it is on record.
    let answered = Finish::new(async move {
        let _room = room;
        let path = request.uri().path();
        match &shared.logins {
            LoginsAt::LocalIssuer(local) if path.starts_with("/local/") => {
                local.answer(&shared.host, request, source, peer).await
            }
            LoginsAt::Provider(Some(page)) if request.method() == Method::GET && page::is_one(path, page::PATH) => {
                let clock = &shared.host.app.clock;
                let id = RequestId::new(clock.now(), &shared.host.app.entropy);
                page.answer(clock.now()).await.unwrap_or_else(|error| problem(&error.into(), &id))
            }
            _ => handle(&shared.host, request, source).await,
        }
    });
    match answered.await {
        Ok(response) => response.map(Body::from),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "request failed");
            refuse(Stranded::Crashed)
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}
