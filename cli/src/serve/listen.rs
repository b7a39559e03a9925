//! Connections: accepted up to a bound, with TLS where it is set, and closed when nothing comes of them. What a request is
//! answered with, the router knows.

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at once; more wait until one ends.
    pub(super) connections: usize,
    /// How long a connection may take to become secure, and then to send the head of each request.
    pub(super) head: Duration,
}

impl Bounds {
    /// For those who read the metrics.
    pub(super) const FEW: Self = Self { connections: 16, head: HEAD };
}

impl Bounds {
    /// As many connections as there may be files, but for those that the store and the logs need. Where that is the most
    /// there can be, those who send their bodies slowly take half of it and no more.
    pub(super) fn of_this_process() -> Self {
        let connections = open_files().saturating_sub(OTHER_FILES).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
        Self { connections, head: HEAD }
    }
}

/// How many files may be open at once, raised as far as it is allowed and needed.
#[cfg(unix)]
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(MAX_CONNECTIONS.saturating_add(OTHER_FILES)).unwrap_or(u64::MAX);
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_some_and(|current| current < raised) {
        // Where it is not allowed the limit stays, and counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}

/// Serves until told to stop, then finishes the requests under way.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<watch::Receiver<TlsAcceptor>>,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            // An error means that the server is gone already.
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, or the peer left in between: the next one may do better, a moment later.
                tracing::warn!(error = %error, "connection not accepted");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        // As the certificate is now.
        let tls = tls.as_ref().map(|tls| tls.borrow().clone());
        let (router, watcher) = (router.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, peer, router, tls, bounds.head, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    head: Duration,
    watcher: Watcher,
) {
    // Fails only on a connection that is gone.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, peer, router, head, watcher).await,
        Some(tls) => match tokio::time::timeout(head, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, head, watcher).await,
            Ok(Err(error)) => tracing::debug!(error = %error, source = %peer, "TLS handshake failed"),
            Err(_) => tracing::debug!(source = %peer, "TLS handshake took too long"),
        },
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router, head: Duration, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = %error, source = %peer, "connection ended early");
    }
}

/// Twice the bodies that are received at once.
const MAX_CONNECTIONS: usize = 8_192;
const MIN_CONNECTIONS: usize = 64;
/// The store's, the logs', the listeners', the key folder's: some 20 in use.
const OTHER_FILES: usize = 256;
/// Long enough for a slow line, short enough that silent connections do not pile up.
const HEAD: Duration = Duration::from_secs(15);
/// Longest head of a request that must wait for more, in bytes; one that comes at once may have twice that. The longest
/// token has 6 KiB, and nginx takes 32 KiB. Hyper's own bound is 400 KB, of each of 8,192 connections.
const MAX_HEAD: usize = 32 * 1024;
/// How long to wait after a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
