//! Detection: reads committed records and answers what it finds.

use super::follow::follow;
use aegis_core::error::Chain;
use aegis_core::heartbeat::Heartbeat;
use aegis_core::response;
use aegis_embedded::store::SqliteStore;
use aegis_events::stream;
use aegis_functions::Host;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records: a burst goes on for no longer than this and what it takes to answer.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it looks for responses that take more than the write they were ordered in.
const RESPONSES: Duration = Duration::from_millis(250);

/// Carries those out until the server stops: one after the other, here alone, and apart from detection, which no slow back
/// end keeps waiting.
pub(super) async fn respond(host: Arc<Host>, stopped: watch::Receiver<bool>) {
    let next = || {
        let host = Arc::clone(&host);
        async move { response::run_pending(&host.app, response::AtBackEnds::Rotates).await }
    };
    follow("responses", RESPONSES, stopped, next).await;
}

/// Detects until the server stops.
pub(super) async fn detect(host: Arc<Host>, store: Arc<SqliteStore>, stopped: watch::Receiver<bool>) {
    let next = || {
        let (host, store) = (Arc::clone(&host), Arc::clone(&store));
        async move {
            let drained = stream::drain(&host.app, store.as_ref()).await;
            if let Some(heartbeat) = Heartbeat::read(store.as_ref()).await? {
                host.metrics.detection_stands(heartbeat.lag(host.app.clock.now()));
            }
            drained
        }
    };
    follow("detection", PAUSE, stopped, next).await;
}

/// Batches that a start waits for.
const AT_START: usize = 20;

/// Takes in what was on record when the server stopped, so that nobody is asked about for want of it; where that is a lot,
/// the rest is left to [`detect`].
pub(super) async fn catch_up(host: &Host, store: &SqliteStore) {
    for _ in 0..AT_START {
        match stream::drain(&host.app, store).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return tracing::error!(error = %Chain(&error), "detection failed, to be tried again"),
        }
    }
}
