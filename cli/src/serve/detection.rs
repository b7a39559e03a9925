//! Detection: reads committed records, a moment behind the requests, and answers what it finds. No request waits for this.

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
pub(super) async fn respond(host: Arc<Host>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(RESPONSES);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => return,
        }
        if let Err(error) = response::run_pending(&host.app).await {
            tracing::error!(error = %error, "responses failed, to be tried again");
        }
    }
}

/// Goes on until the server stops. What fails is tried again.
pub(super) async fn detect(host: Arc<Host>, store: Arc<SqliteStore>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(PAUSE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => return,
        }
        loop {
            match stream::drain(&host.app, store.as_ref()).await {
                Ok(0) => break,
                Ok(_) if *stopped.borrow() => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = %error, "detection failed, to be tried again");
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            }
        }
    }
}
