//! Counts uses of keys from the journal.

use super::follow::follow;
use aegis_core::usage::consumer::count_next;
use aegis_embedded::store::SqliteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records: while detection has just read them, and they are at hand.
const PAUSE: Duration = Duration::from_millis(250);

/// Counts until the server stops.
pub(super) async fn count(store: Arc<SqliteStore>, stopped: watch::Receiver<bool>) {
    let next = || {
        let store = Arc::clone(&store);
        async move { count_next(store.as_ref(), store.as_ref()).await }
    };
    follow("counting uses", PAUSE, stopped, next).await;
}
