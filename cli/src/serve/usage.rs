//! Counts uses of keys from the journal, and tells of keys that several use far more than ever.

use super::follow::follow;
use aegis_embedded::store::SqliteStore;
use aegis_events::stream;
use aegis_functions::Host;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records: while detection has just read them, and they are at hand.
const PAUSE: Duration = Duration::from_millis(250);

/// Counts until the server stops.
pub(super) async fn count(host: Arc<Host>, store: Arc<SqliteStore>, stopped: watch::Receiver<bool>) {
    let next = || {
        let (host, store) = (Arc::clone(&host), Arc::clone(&store));
        async move { stream::count_next(&host.app, store.as_ref()).await }
    };
    follow("counting uses", PAUSE, stopped, next).await;
}
