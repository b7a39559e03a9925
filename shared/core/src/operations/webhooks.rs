//! Webhooks: made, shown, deleted, and what was not delivered sent again. The secret is in the answer to whoever made it and
//! nowhere else.

use super::listing::{PageOf, PageQuery, cursor_at};
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{DeliveryId, WebhookId};
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, Index, Order};
use crate::webhook::outbox::{self, count};
use crate::webhook::{
    self, Delivery, DeliveryState, Format, MAX_WEBHOOKS, Part, Reach, Secret, Selection, Webhook, WebhookRecord,
    WebhookState, WebhookUrl, deliveries_in, is_reachable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// `https`, or `http` on this machine; without credentials and fragment.
    #[schemars(length(max = 2048), regex(pattern = "^https?://[!-~]+$"))]
    pub url: String,
    /// It is told of what any of these names.
    #[schemars(length(min = 1, max = 16))]
    pub events: Vec<Selection>,
    /// `ocsf` if absent.
    #[serde(default)]
    pub format: Format,
}

/// A webhook with its secret, shown once.
#[derive(JsonSchema, Serialize)]
pub struct CreatedWebhook {
    #[serde(flatten)]
    pub webhook: Webhook,
    /// `whsec_` and base64: what signs, as Standard Webhooks has it.
    pub secret: String,
}

impl std::fmt::Debug for CreatedWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedWebhook").field("webhook", &self.webhook.id).finish_non_exhaustive()
    }
}

/// A webhook, and how its deliveries stand.
#[derive(Debug, JsonSchema, Serialize)]
pub struct WebhookStatus {
    #[serde(flatten)]
    pub webhook: Webhook,
    /// Deliveries that wait; at most 1000 do at once, and the rest of the journal waits behind them.
    pub pending: usize,
    /// Deliveries given up in the last 30 days; 1000 stands for more, too.
    pub dead: usize,
    /// Seconds since the oldest record that waits; 0 if none does.
    pub lag_seconds: i64,
    /// The record time of the oldest that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub waiting_since: Option<Timestamp>,
}

/// Which deliveries of a webhook.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryQuery {
    /// `pending` if absent.
    pub state: Option<DeliveryState>,
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// Only this one; all dead letters if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Redriven {
    /// How many are on their way again.
    pub redriven: usize,
    /// Whether there are more: the same call sends those.
    pub more: bool,
}

/// Dead letters sent again by one call: with the webhook and the record, what fits in a transaction.
const REDRIVEN_AT_ONCE: usize = 90;

/// Makes a webhook, which is told of what is committed from now on.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::State`] where there are 32 already; [`Error::AlreadyDone`] for a repeated request, since
/// the secret is not kept for showing.
pub async fn create_webhook(
    app: &App,
    permit: &Permit,
    input: &CreateWebhook,
    earlier: Option<String>,
) -> Result<Done<CreatedWebhook>, Error> {
    if let Some(id) = earlier {
        return Err(Error::AlreadyDone { id });
    }
    let url = WebhookUrl::try_from(input.url.clone()).map_err(|error| Error::invalid("url", error))?;
    // Of a name this is known only when it is connected to.
    let Reach { private, this_machine } = app.webhooks_reach;
    let may = match url.is_this_machine() {
        true => this_machine,
        false => url.address().is_none_or(|address| is_reachable(address, private)),
    };
    if !may {
        return Err(Error::invalid("url", webhook::InvalidUrl::Unreachable));
    }
    if !(1..=16).contains(&input.events.len()) {
        return Err(Error::invalid("events", "there must be 1 to 16 of them"));
    }
    if live(app).await?.len() >= MAX_WEBHOOKS {
        return Err(Error::State { kind: "deployment", state: "at its most of 32 webhooks" });
    }
    let now = app.clock.now();
    let (id, secret) = (WebhookId::new(now, &app.entropy), Secret::new(&app.entropy));
    let webhook = Webhook {
        id: id.clone(),
        url,
        events: input.events.clone(),
        format: input.format,
        state: WebhookState::Active,
        created_at: now,
        created_by: permit.facts().human.id.clone(),
        secret_since: now,
        former_secret_until: None,
    };
    let secrets = vec![secret.seal(app, &id)?];
    let record = WebhookRecord { webhook: webhook.clone(), secrets, since: permit.id().clone(), closed: false };
    let puts = vec![record.put(Expect::Absent)?];
    Ok(Done { value: CreatedWebhook { webhook, secret: secret.expose().to_string() }, puts, note: note(&id) })
}

/// # Errors
/// [`Error::Unavailable`].
pub async fn list_webhooks(app: &App) -> Result<Done<PageOf<WebhookStatus>>, Error> {
    let mut items = Vec::new();
    for record in live(app).await? {
        items.push(status(app, record).await?);
    }
    Ok(Done::read(PageOf { items, next_cursor: None }))
}

/// # Errors
/// [`Error::NotFound`].
pub async fn show_webhook(app: &App, id: &WebhookId) -> Result<Done<WebhookStatus>, Error> {
    let value = status(app, load(app, id).await?.value).await?;
    Ok(Done { note: note(id), ..Done::read(value) })
}

/// From now on nothing is sent to it. What still waits for it is never sent.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn delete_webhook(app: &App, id: &WebhookId) -> Result<Done<()>, Error> {
    let mut found = load(app, id).await?;
    found.value.webhook.state = WebhookState::Deleted;
    Ok(Done { value: (), puts: vec![found.replace()?], note: note(id) })
}

/// Makes a new secret. The one before it signs for another day, beside it; one before that no more.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn rotate_secret(app: &App, id: &WebhookId) -> Result<Done<CreatedWebhook>, Error> {
    let mut found = load(app, id).await?;
    let (now, secret) = (app.clock.now(), Secret::new(&app.entropy));
    let record = &mut found.value;
    let former = record.secrets.drain(..).next().map(|former| former.retire(now));
    record.webhook.former_secret_until = former.as_ref().and_then(|former| former.until);
    record.webhook.secret_since = now;
    record.secrets = [secret.seal(app, id)?].into_iter().chain(former).collect();
    let puts = vec![found.replace()?];
    let value = CreatedWebhook { webhook: found.value.webhook, secret: secret.expose().to_string() };
    Ok(Done { value, puts, note: note(id) })
}

/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`].
pub async fn list_deliveries(
    app: &App,
    id: &WebhookId,
    query: &DeliveryQuery,
) -> Result<Done<PageOf<Delivery>>, Error> {
    load(app, id).await?;
    let page = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let partition = deliveries_in(id, query.state.unwrap_or(DeliveryState::Pending));
    let (limit, after) = (page.limit()?, page.position()?);
    let found = repository::list(app.store.as_ref(), Index::Second, partition, Order::Ascending, limit, after).await?;
    let value = PageOf { items: found.items, next_cursor: found.next.as_ref().map(cursor_at) };
    Ok(Done { note: note(id), ..Done::read(value) })
}

/// Sends dead letters again, from the first attempt on. A disabled webhook is active again.
///
/// # Errors
/// [`Error::NotFound`] for a webhook or a delivery that is not there; [`Error::State`] for a delivery that is not dead.
pub async fn redrive(app: &App, id: &WebhookId, input: &Redrive) -> Result<Done<Redriven>, Error> {
    let mut found = load(app, id).await?;
    let now = app.clock.now();
    let dead = match &input.delivery {
        Some(delivery) => vec![load_dead(app, id, delivery).await?],
        None => {
            let query = outbox::in_state(&found.value, DeliveryState::Dead, REDRIVEN_AT_ONCE.saturating_add(1));
            let page = app.store.query(&query).await?;
            page.items.iter().map(repository::decode).collect::<Result<Vec<Loaded<Delivery>>, Error>>()?
        }
    };
    let more = dead.len() > REDRIVEN_AT_ONCE;
    let mut puts = Vec::new();
    for mut delivery in dead.into_iter().take(REDRIVEN_AT_ONCE) {
        delivery.value.revive(now);
        puts.push(delivery.replace()?);
    }
    let value = Redriven { redriven: puts.len(), more };
    if found.value.webhook.state == WebhookState::Disabled {
        found.value.webhook.state = WebhookState::Active;
        puts.push(found.replace()?);
    }
    Ok(Done { value, puts, note: note(id) })
}

/// Sends an event that says nothing, to see whether the receiver hears.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::State`] for a webhook that is not active.
pub async fn test_webhook(app: &App, permit: &Permit, id: &WebhookId) -> Result<Done<Delivery>, Error> {
    let found = load(app, id).await?;
    if found.value.webhook.state != WebhookState::Active {
        return Err(Error::State { kind: "webhook", state: found.value.webhook.state.as_str() });
    }
    // The record of this very request.
    let delivery = Delivery::of(id, permit.id(), Part::PING, app.clock.now());
    let puts = vec![delivery.put(Expect::Absent)?];
    Ok(Done { value: delivery, puts, note: note(id) })
}

async fn load_dead(app: &App, webhook: &WebhookId, id: &DeliveryId) -> Result<Loaded<Delivery>, Error> {
    let item = webhook::delivery_item(webhook, id);
    let found: Option<Loaded<Delivery>> = repository::load(app.store.as_ref(), &item).await?;
    let found = found.ok_or(Error::NotFound { kind: "delivery" })?;
    match found.value.state {
        DeliveryState::Dead => Ok(found),
        other => Err(Error::State { kind: "delivery", state: other.as_str() }),
    }
}

async fn live(app: &App) -> Result<Vec<WebhookRecord>, Error> {
    let listed = webhook::all(app.store.as_ref()).await?;
    Ok(listed.into_iter().filter(|found| found.webhook.state != WebhookState::Deleted).collect())
}

async fn load(app: &App, id: &WebhookId) -> Result<Loaded<WebhookRecord>, Error> {
    let found = webhook::load(app.store.as_ref(), id).await?;
    let found = found.filter(|found| found.value.webhook.state != WebhookState::Deleted);
    found.ok_or(Error::NotFound { kind: "webhook" })
}

async fn status(app: &App, record: WebhookRecord) -> Result<WebhookStatus, Error> {
    let pending = count(app.store.as_ref(), &record, DeliveryState::Pending).await?;
    let dead = count(app.store.as_ref(), &record, DeliveryState::Dead).await?;
    let waiting_since = pending.oldest.map(|oldest| oldest.at());
    let age = |since: Timestamp| app.clock.now().as_second().saturating_sub(since.as_second()).max(0);
    Ok(WebhookStatus {
        webhook: record.webhook,
        pending: pending.number,
        dead: dead.number,
        lag_seconds: waiting_since.map_or(0, age),
        waiting_since,
    })
}

fn note(id: &WebhookId) -> Note {
    Note { object: Some(id.to_string()), ..Note::default() }
}
