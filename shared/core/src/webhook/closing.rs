//! What still waits for a webhook that is told nothing any more: it becomes a dead letter. A deleted webhook loses its
//! secrets with the last of them, and only its item stays, so that its id is never another's.

use super::{Delivery, DeliveryState, WebhookRecord, WebhookState, outbox};
use crate::error::Error;
use crate::pipeline::App;
use crate::repository::{self, Loaded};
use crate::store::{MAX_BATCH, StoreError};

/// Closes deliveries of a webhook that is disabled or deleted. Safe to repeat and to be cut short; a call that finds
/// nothing left closes a deleted webhook for good. Returns how many it closed.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn close(app: &App, webhook: &WebhookRecord) -> Result<usize, Error> {
    let deleted = match webhook.webhook.state {
        WebhookState::Active => return Ok(0),
        WebhookState::Deleted => true,
        WebhookState::Disabled => false,
    };
    let now = app.clock.now();
    let mut puts = Vec::new();
    for stored in app.store.query(&outbox::in_state(webhook, DeliveryState::Pending, MAX_BATCH)).await?.items {
        let mut delivery: Loaded<Delivery> = repository::decode(&stored)?;
        delivery.value.error = Some(format!("the webhook is {}", webhook.webhook.state.as_str()));
        delivery.value.end(DeliveryState::Dead, now);
        puts.push(delivery.replace()?);
    }
    let closed = puts.len();
    if closed == 0 && deleted {
        let Some(mut found) = super::load(app.store.as_ref(), &webhook.webhook.id).await? else { return Ok(0) };
        found.value.closed = true;
        found.value.secrets.clear();
        puts.push(found.replace()?);
    }
    if puts.is_empty() {
        return Ok(0);
    }
    match app.store.transact(puts).await {
        // Somebody else was faster: what is left is left for the next call.
        Ok(()) | Err(StoreError::Conflict { .. }) => Ok(closed),
        Err(error) => Err(error.into()),
    }
}
