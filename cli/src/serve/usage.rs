//! Counts uses of keys from the journal, a moment behind it. No request waits for this.

use aegis_core::usage::consumer::count_next;
use aegis_embedded::store::SqliteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts until the server stops. What fails is tried again.
pub(super) async fn count(store: Arc<SqliteStore>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(PAUSE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => return,
        }
        loop {
            match count_next(store.as_ref(), store.as_ref()).await {
                Ok(0) => break,
                Ok(_) if *stopped.borrow() => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = %error, "uses not counted");
                    break;
                }
            }
        }
    }
}
