//! Counts uses of keys from the journal.

use super::follow::follow;
use aegis_core::usage::consumer::count_next;
use aegis_embedded::store::SqliteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts until the server stops.
pub(super) async fn count(store: Arc<SqliteStore>, stopped: watch::Receiver<bool>) {
    let next = || {
        let store = Arc::clone(&store);
        async move { count_next(store.as_ref(), store.as_ref()).await }
    };
    follow("counting uses", PAUSE, stopped, next).await;
}
