//! The HTTP server: takes requests in, bounded in number, size and time, and hands them to the route table.

use super::local_issuer::LocalIssuer;
use aegis_functions::{Host, MAX_BODY, Stranded, handle, strand};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Most requests under way at once; one more is told to come back.
const AT_ONCE: usize = 512;
/// Most bodies being received at once: slow senders wait for each other, not the others for them.
const BODIES: usize = 4_096;
/// How long a request's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Shared {
    host: Arc<Host>,
    local: Option<Arc<LocalIssuer>>,
    bodies: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// Serves until told to stop, then finishes the requests under way.
pub(super) async fn serve(
    listener: TcpListener,
    host: Arc<Host>,
    local: Option<Arc<LocalIssuer>>,
    mut stopped: watch::Receiver<bool>,
) {
    let (bodies, room) = (Arc::new(Semaphore::new(BODIES)), Arc::new(Semaphore::new(AT_ONCE)));
    let router = Router::new().fallback(answer).with_state(Shared { host, local, bodies, room });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move {
        // An error means that the server is gone already.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
        tracing::error!(error = %error, "server failed");
    }
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
            Ok(Err(_)) => return refuse(Stranded::TooLarge),
            Err(_) => return refuse(Stranded::TooSlow),
        }
    };
    let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else { return refuse(Stranded::Overloaded) };
    let request = Request::from_parts(parts, body);
    // In a task of its own: a caller who goes away does not cut off a refusal before it is on record.
    let answered = tokio::spawn(async move {
        let _room = room;
        match &shared.local {
            Some(local) if request.uri().path().starts_with("/local/") => {
                local.answer(&shared.host, request, peer.ip()).await
            }
            _ => handle(&shared.host, request, peer.ip()).await,
        }
    });
    match answered.await {
        Ok(response) => response.map(Body::from),
        Err(error) => {
            tracing::error!(error = %error, "request failed");
            refuse(Stranded::Crashed)
        }
    }
}
