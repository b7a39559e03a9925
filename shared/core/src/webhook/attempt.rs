//! One attempt at a delivery: what is due, what is posted, and what becomes of it. The post itself is the host's.

use super::{
    Delivery, DeliveryState, Format, Part, WebhookRecord, WebhookState, WebhookUrl, delivery_item, due_of, retry,
};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{RecordId, RequestId, WebhookId};
use crate::journal;
use crate::operation::Operation;
use crate::pipeline::App;
use crate::record::{AuditRecord, Plane};
use crate::repository::{self, Loaded, due_sort};
use crate::store::{Index, Order, Put, Query, StoreError, Table};

/// What is posted.
#[derive(Debug)]
pub struct Outgoing {
    pub url: WebhookUrl,
    pub headers: [(&'static str, String); 4],
    pub body: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The receiver answered, whatever it said.
    Answered { status: u16, retry_after: Option<String> },
    /// No answer came, for a reason that holds nothing of what the other side sent.
    Unanswered { why: &'static str },
}

/// What became of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settled {
    Dead,
    Delivered,
    /// The webhook is disabled: its receiver is gone.
    Gone,
    /// Somebody else was faster; nothing was changed.
    Overtaken,
    /// Tried again later. Until `quiet_until`, if it is set, the receiver wants nothing at all.
    PutOff {
        quiet_until: Option<Timestamp>,
    },
}

/// Writes one part of a record down, in a format; `source` names the deployment.
pub type Render = fn(&AuditRecord, Part, Format, &str) -> Result<Vec<u8>, Error>;

/// Deliveries of one webhook that are due, those that wait longest first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn due(app: &App, webhook: &WebhookId, limit: usize) -> Result<Vec<Loaded<Delivery>>, Error> {
    let now = app.clock.now();
    let query = Query {
        table: Table::State,
        index: Some(Index::Fourth),
        partition: due_of(webhook),
        from: None,
        below: Some(due_sort(after_seconds(now, 1))),
        order: Order::Ascending,
        limit,
        after: None,
    };
    let mut found = Vec::new();
    for stored in app.store.query(&query).await?.items {
        let indexed: Delivery = repository::decode(&stored)?.value;
        // The index may lag: what is posted rests on the delivery as it is now.
        let item = delivery_item(webhook, &indexed.id);
        let delivery: Option<Loaded<Delivery>> = repository::load(app.store.as_ref(), &item).await?;
        found.extend(delivery.filter(|delivery| delivery.value.due.is_some_and(|due| due <= now)));
    }
    Ok(found)
}

/// What to post for a delivery, signed as of now; `None` for a webhook that is not active any more.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Damaged`] if the record or the secret is not what it was.
pub async fn prepare(app: &App, delivery: &Delivery, render: Render) -> Result<Option<Outgoing>, Error> {
    let webhook = super::load(app.store.as_ref(), &delivery.webhook).await?;
    let Some(found) = webhook.filter(|found| found.value.webhook.state == WebhookState::Active) else {
        return Ok(None);
    };
    let WebhookRecord { webhook, secrets, .. } = found.value;
    let record = journal::find(app.store.as_ref(), &delivery.record).await?;
    let gone = || Error::Damaged { what: "delivery", source: "its record is not in the journal".into() };
    let body = render(&record.ok_or_else(gone)?, delivery.part(), webhook.format, app.tokens.issuer())?;
    let (now, id) = (app.clock.now(), delivery.id.as_str());
    let mut signatures = Vec::new();
    for secret in secrets.iter().filter(|secret| secret.signs_at(now)) {
        signatures.push(secret.open(app, &webhook.id)?.sign(id, now.as_second(), &body));
    }
    let kind = match (webhook.format, delivery.event) {
        (Format::Ocsf, _) => "application/cloudevents+json; charset=utf-8",
        (Format::Plain, _) => "application/json; charset=utf-8",
    };
    Ok(Some(Outgoing {
        url: webhook.url,
        headers: [
            ("content-type", kind.to_string()),
            ("webhook-id", id.to_string()),
            ("webhook-timestamp", now.as_second().to_string()),
            ("webhook-signature", signatures.join(" ")),
        ],
        body,
    }))
}

/// Puts away what came of an attempt. If this never happens, the delivery is still due, and is posted again.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn settle(app: &App, mut delivery: Loaded<Delivery>, answer: &Answer) -> Result<Settled, Error> {
    let now = app.clock.now();
    let found = &mut delivery.value;
    found.attempts = found.attempts.saturating_add(1);
    found.attempted_at = Some(now);
    (found.status, found.error) = match answer {
        Answer::Answered { status, .. } => (Some(*status), told(*status).map(str::to_string)),
        Answer::Unanswered { why } => (None, Some((*why).to_string())),
    };
    let settled = match answer {
        Answer::Answered { status: 200..=299, .. } => {
            found.end(DeliveryState::Delivered, now);
            Settled::Delivered
        }
        Answer::Answered { status: 410, .. } => {
            found.end(DeliveryState::Dead, now);
            Settled::Gone
        }
        other => {
            let wanted = match other {
                Answer::Answered { status: 429 | 503, retry_after: Some(header) } => retry::wanted(header, now),
                _ => None,
            };
            found.due = retry::next(found.attempts, now, wanted, &app.entropy);
            match found.due {
                Some(_) => Settled::PutOff { quiet_until: wanted },
                None => {
                    found.end(DeliveryState::Dead, now);
                    Settled::Dead
                }
            }
        }
    };
    let mut puts = vec![delivery.replace()?];
    if settled == Settled::Gone {
        puts.extend(disable(app, &delivery.value).await?);
    }
    match app.store.transact(puts).await {
        Ok(()) => Ok(settled),
        Err(StoreError::Conflict { .. }) => Ok(Settled::Overtaken),
        Err(error) => Err(error.into()),
    }
}

/// The writes that disable a webhook whose receiver said that it is gone, with their record.
async fn disable(app: &App, delivery: &Delivery) -> Result<Vec<Put>, Error> {
    let webhook = super::load(app.store.as_ref(), &delivery.webhook).await?;
    let Some(mut found) = webhook.filter(|found| found.value.webhook.state == WebhookState::Active) else {
        return Ok(Vec::new());
    };
    found.value.webhook.state = WebhookState::Disabled;
    let now = app.clock.now();
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    let mut record = AuditRecord {
        human: Some(found.value.webhook.created_by.clone()),
        object: Some(delivery.webhook.to_string()),
        ..AuditRecord::new(id, now, Operation::WebhookDisable, Plane::Internal, request)
    };
    Ok(vec![found.replace()?, journal::put_timed(app, &mut record)?])
}

/// What a status that is no success means to whoever looks.
fn told(status: u16) -> Option<&'static str> {
    match status {
        200..=299 => None,
        300..=399 => Some("it redirects, which is not followed"),
        410 => Some("it is gone"),
        429 => Some("it wants fewer"),
        400..=499 => Some("it refuses"),
        _ => Some("it failed"),
    }
}
