//! Which receivers take long for a post, as this process has seen. Nothing is decided by it but who posts to them.

use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::id::WebhookId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Receivers that were slow lately. What has no time for them leaves them to what has.
#[derive(Debug)]
pub struct SlowReceivers {
    /// What takes longer is slow.
    after: Duration,
    until: Mutex<HashMap<WebhookId, Timestamp>>,
}

/// Seconds after which a slow receiver is tried again.
const REMEMBERED: i64 = 60;

impl SlowReceivers {
    pub fn new(after: Duration) -> Self {
        Self { after, until: Mutex::default() }
    }

    pub(super) fn note(&self, webhook: &WebhookId, took: Duration, now: Timestamp) {
        if took > self.after {
            let until = after_seconds(now, REMEMBERED);
            self.until.lock().unwrap_or_else(PoisonError::into_inner).insert(webhook.clone(), until);
        }
    }

    pub(super) fn knows(&self, webhook: &WebhookId, now: Timestamp) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| now < *until);
        until.contains_key(webhook)
    }
}
