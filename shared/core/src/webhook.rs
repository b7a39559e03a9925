//! Webhooks: who is told of what, over HTTP, signed as Standard Webhooks has it. What is here is pure, or reads and
//! writes the store; a host fetches records with [`outbox::Reader::drain`], posts what [`attempt::prepare`] returns, and hands
//! the answer to [`attempt::settle`].

mod address;
pub mod attempt;
mod closing;
pub mod outbox;
mod retry;
mod secret;
mod url;

pub use address::{Reach, is_reachable};
pub use closing::close;
pub use secret::{SealedSecret, Secret};
pub use url::{InvalidUrl, WebhookUrl};

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{DeliveryId, RecordId, WebhookId};
use crate::name::HumanId;
use crate::operation::Operation;
use crate::recommendation::Severity;
use crate::record::{AuditRecord, Outcome};
use crate::repository::{self, Document, Loaded, due_sort};
use crate::store::{Index, IndexEntry, ItemKey, Order, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most webhooks of a deployment: each reads the journal by itself.
pub const MAX_WEBHOOKS: usize = 32;

/// A receiver, and what it is told of.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: WebhookUrl,
    /// It is told of what any of these names.
    pub events: Vec<Selection>,
    pub format: Format,
    pub state: WebhookState,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    pub created_by: HumanId,
    /// Since when the present secret signs.
    #[schemars(with = "DateTime")]
    pub secret_since: Timestamp,
    /// Until when the secret before it signs, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub former_secret_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    Active,
    Deleted,
    /// The receiver said that it is gone (410). A redrive makes it active again.
    Disabled,
}

impl WebhookState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
        }
    }
}

/// One kind of what is on record.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// Every record, every recommendation, every response.
    All {},
    /// Uses of keys.
    KeyUse {
        /// Those that ended in one of these ways; all, if there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 3))]
        outcomes: Vec<Outcome>,
    },
    /// What detectors found.
    Recommendations {
        /// At least this grave; `low` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_severity: Option<Severity>,
    },
    /// What was done about it.
    Responses {},
}

/// How an event is written down.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// CloudEvents 1.0 in structured JSON, with a body in the words of OCSF 1.6.
    #[default]
    Ocsf,
    /// The record or recommendation itself, as the API shows it.
    Plain,
}

/// What of a record is told.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// That it happened.
    Activity,
    /// Nothing: somebody tests whether the receiver hears.
    Ping,
    /// The recommendation in it.
    Recommendation,
    /// One response in it.
    Response,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Ping => "ping",
            Self::Recommendation => "recommendation",
            Self::Response => "response",
        }
    }
}

/// One event: a part of one record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    pub kind: EventKind,
    /// Which of the record's responses.
    pub index: Option<u16>,
}

impl Part {
    pub const ACTIVITY: Self = Self { kind: EventKind::Activity, index: None };
    pub const PING: Self = Self { kind: EventKind::Ping, index: None };
    pub const RECOMMENDATION: Self = Self { kind: EventKind::Recommendation, index: None };
}

impl Webhook {
    /// What of `record` it is told.
    pub fn wants(&self, record: &AuditRecord) -> Vec<Part> {
        let any = |chosen: &dyn Fn(&Selection) -> bool| self.events.iter().any(chosen);
        let activity = any(&|selection| match selection {
            Selection::All {} => true,
            Selection::KeyUse { outcomes } => {
                record.operation.action().is_some() && (outcomes.is_empty() || outcomes.contains(&record.outcome))
            }
            // One that failed: those that were carried out are told one by one.
            Selection::Responses {} => record.operation == Operation::ResponseAct,
            Selection::Recommendations { .. } => false,
        });
        let recommendation = record.recommendation.as_ref().is_some_and(|found| {
            any(&|selection| match selection {
                Selection::All {} => true,
                Selection::Recommendations { min_severity } => found.severity >= min_severity.unwrap_or(Severity::Low),
                Selection::KeyUse { .. } | Selection::Responses {} => false,
            })
        });
        let responses = any(&|selection| matches!(selection, Selection::All {} | Selection::Responses {}));
        let responses = (0_u16..).zip(&record.responses).filter(|_| responses);
        let responses = responses.map(|(index, _)| Part { kind: EventKind::Response, index: Some(index) });
        let first = [(activity, Part::ACTIVITY), (recommendation, Part::RECOMMENDATION)];
        first.into_iter().filter(|(wanted, _)| *wanted).map(|(_, part)| part).chain(responses).collect()
    }
}

/// A webhook as it lies in the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WebhookRecord {
    pub webhook: Webhook,
    /// The present one, then the one before it.
    pub secrets: Vec<SealedSecret>,
    /// The record of its creation: it is told of what was committed later.
    pub since: RecordId,
    /// Whether nothing is left of a deleted one.
    #[serde(default)]
    pub closed: bool,
}

/// One event on its way to one webhook, or at its end.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Delivery {
    /// Sent as `webhook-id`, the same each time.
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub event: EventKind,
    /// Which of the record's responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u16>,
    pub record: RecordId,
    pub state: DeliveryState,
    /// Posts until now.
    pub attempts: u32,
    /// When it is posted next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub due: Option<Timestamp>,
    /// When it was posted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub attempted_at: Option<Timestamp>,
    /// What the receiver answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the last post failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub kept_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Given up. Kept for 30 days, and sent again on request.
    Dead,
    /// The receiver has it. Kept for ten minutes, for people who look.
    Delivered,
    Pending,
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Pending => "pending",
        }
    }
}

/// Seconds for which a dead letter is kept.
const DEAD_KEPT: i64 = 30 * 86_400;
/// Seconds for which a delivered one is kept: long enough to look, too short to pile up.
const DELIVERED_KEPT: i64 = 600;

impl Delivery {
    /// Of one part of a record, to be posted at `due`. The same id each time.
    pub fn of(webhook: &WebhookId, record: &RecordId, part: Part, due: Timestamp) -> Self {
        let words = format!("{webhook}/{record}/{}/{}", part.kind.as_str(), part.index.unwrap_or(0));
        Self {
            id: DeliveryId::derived(record.at(), &words),
            webhook: webhook.clone(),
            event: part.kind,
            index: part.index,
            record: record.clone(),
            state: DeliveryState::Pending,
            attempts: 0,
            due: Some(due),
            attempted_at: None,
            status: None,
            error: None,
            kept_until: None,
        }
    }

    pub fn part(&self) -> Part {
        Part { kind: self.event, index: self.index }
    }

    fn end(&mut self, state: DeliveryState, now: Timestamp) {
        let kept = if state == DeliveryState::Dead { DEAD_KEPT } else { DELIVERED_KEPT };
        (self.state, self.due, self.kept_until) = (state, None, Some(after_seconds(now, kept)));
    }

    /// Puts a dead one on its way again, from the first attempt on.
    pub fn revive(&mut self, now: Timestamp) {
        (self.state, self.attempts, self.due, self.kept_until) = (DeliveryState::Pending, 0, Some(now), None);
    }
}

pub(crate) const ALL_WEBHOOKS: &str = "webhooks";
const CLOSING: &str = "webhooks-closing";

pub(crate) fn webhook_item(id: &WebhookId) -> ItemKey {
    ItemKey::state(format!("webhook/{id}"), "webhook")
}

pub(crate) fn delivery_item(webhook: &WebhookId, id: &DeliveryId) -> ItemKey {
    ItemKey::state(format!("webhook/{webhook}"), format!("delivery/{id}"))
}

pub(crate) fn deliveries_in(webhook: &WebhookId, state: DeliveryState) -> String {
    format!("deliveries/{webhook}/{}", state.as_str())
}

fn due_of(webhook: &WebhookId) -> String {
    format!("webhook-due/{webhook}")
}

impl Document for WebhookRecord {
    fn item_key(&self) -> ItemKey {
        webhook_item(&self.webhook.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let partition = match self.webhook.state {
            WebhookState::Active | WebhookState::Disabled => ALL_WEBHOOKS,
            WebhookState::Deleted if !self.closed => CLOSING,
            WebhookState::Deleted => return Vec::new(),
        };
        let sort = self.webhook.id.to_string();
        vec![IndexEntry { index: Index::First, partition: partition.to_string(), sort }]
    }
}

impl Document for Delivery {
    fn item_key(&self) -> ItemKey {
        delivery_item(&self.webhook, &self.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let entry = |index, partition, sort| IndexEntry { index, partition, sort };
        let listed = entry(Index::Second, deliveries_in(&self.webhook, self.state), self.id.to_string());
        let due =
            self.due.map(|due| entry(Index::Fourth, due_of(&self.webhook), format!("{}/{}", due_sort(due), self.id)));
        [listed].into_iter().chain(due).collect()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.kept_until
    }
}

/// Every webhook that is not deleted, then those whose deliveries are still to be closed.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn all(store: &dyn Store) -> Result<Vec<WebhookRecord>, Error> {
    let mut found = Vec::new();
    for partition in [ALL_WEBHOOKS, CLOSING] {
        let listing =
            repository::list(store, Index::First, partition.to_string(), Order::Ascending, MAX_LISTED, None).await?;
        found.extend(listing.items);
    }
    Ok(found)
}

/// More than there can be.
const MAX_LISTED: usize = 200;

/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn load(store: &dyn Store, id: &WebhookId) -> Result<Option<Loaded<WebhookRecord>>, Error> {
    repository::load(store, &webhook_item(id)).await
}

#[cfg(test)]
mod tests;
