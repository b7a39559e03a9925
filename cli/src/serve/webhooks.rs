//! Webhooks, sent while the server runs.

use super::config::Settings;
use crate::Failure;
use aegis_core::error::Chain;
use aegis_core::feed::Feed;
use aegis_events::published::render;
use aegis_functions::Host;
use aegis_functions::oidc::tls;
use aegis_functions::webhooks::{Courier, PATIENCE, Poster};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the journal is looked at: an alert waits no longer, and a journal that rests costs a query each time.
const LOOK: Duration = Duration::from_millis(500);

/// Who takes the events of this deployment to their receivers.
pub(super) fn courier(host: &Host, feed: Arc<dyn Feed>, settings: &Settings) -> Result<Courier, Failure> {
    let ca_file = settings.webhooks_ca_file.as_deref();
    let tls = match tls(ca_file) {
        Ok(tls) => Some(tls),
        Err(error) if ca_file.is_some() => return Err(error.into()),
        // Nobody may want a webhook here; if somebody does, its deliveries say so.
        Err(_) => None,
    };
    let poster = Poster::new(tls, settings.webhooks_reach(), PATIENCE);
    Ok(Courier::new(Arc::clone(&host.app), feed, poster, render))
}

/// Until the server stops; then what is under way is finished.
pub(super) async fn deliver(host: Arc<Host>, courier: Courier, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => break,
        }
        match courier.turn().await {
            Ok(backlog) => host.metrics.webhooks_stand(backlog.pending, backlog.lag_seconds),
            Err(error) => tracing::error!(error = %Chain(&error), "webhooks not served"),
        }
        let posts = courier.take_posts();
        host.metrics.posted(posts.delivered, posts.failed, posts.dead);
    }
    courier.stop().await;
}
