//! From committed records to deliveries. Each webhook reads the journal from its own place: one whose receiver is away holds
//! up none of the others, and what waits for it waits in the journal. Where there is no webhook, nothing is written.

use super::{Delivery, DeliveryState, WebhookRecord, WebhookState, deliveries_in};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::feed::{BATCH, Feed, Place};
use crate::id::RecordId;
use crate::pipeline::App;
use crate::record::AuditRecord;
use crate::repository::{Document, decode};
use crate::store::{Expect, Index, ItemKey, MAX_BATCH, MAX_PAGE, Order, Put, Query, Store, StoreError, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most deliveries of one webhook that wait at once.
pub const MAX_QUEUE: usize = MAX_PAGE;
/// Seconds after which a place that nothing was delivered from is put away all the same.
const PUT_AWAY: i64 = 60;

/// How far one webhook has read. Kept by the host between calls: what is lost with it is read again, and adds nothing.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    expect: Expect,
    put_away_at: Timestamp,
}

impl Reader {
    /// From where the webhook stood, or from its creation on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn open(app: &App, webhook: &WebhookRecord) -> Result<Self, Error> {
        let (mut place, expect) = Place::of(app.store.as_ref(), &format!("webhook/{}", webhook.webhook.id)).await?;
        place.last.get_or_insert_with(|| webhook.since.clone());
        Ok(Self { place, expect, put_away_at: app.clock.now() })
    }

    /// Puts on its way what the webhook is told of among the records committed since. Returns how many deliveries there
    /// are more. A call that failed is followed by [`Reader::open`].
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Contended`] if another process reads for this webhook.
    pub async fn drain(&mut self, app: &App, feed: &dyn Feed, webhook: &WebhookRecord) -> Result<usize, Error> {
        if webhook.webhook.state != WebhookState::Active {
            return Ok(0);
        }
        let mut added: usize = 0;
        loop {
            let waiting = count(app.store.as_ref(), webhook, DeliveryState::Pending).await?;
            let room = MAX_QUEUE.saturating_sub(waiting.number);
            if room == 0 {
                return Ok(added);
            }
            let records = feed.after(self.place.last.as_ref(), BATCH.min(room)).await?;
            let read = records.len();
            added = added.saturating_add(self.take_in(app, webhook, records).await?);
            if read < BATCH.min(room) {
                return Ok(added);
            }
        }
    }

    async fn take_in(
        &mut self,
        app: &App,
        webhook: &WebhookRecord,
        records: Vec<Arc<AuditRecord>>,
    ) -> Result<usize, Error> {
        let now = app.clock.now();
        let (mut waiting, mut added): (Vec<Delivery>, usize) = (Vec::new(), 0);
        for record in records {
            let parts = webhook.webhook.wants(&record);
            // With the place, no more than fit in a transaction.
            if waiting.len().saturating_add(parts.len()) >= MAX_BATCH {
                added = added.saturating_add(self.write(app, std::mem::take(&mut waiting)).await?);
            }
            waiting.extend(parts.into_iter().map(|part| Delivery::of(&webhook.webhook.id, &record.id, part, now)));
            self.place.last = Some(record.id.clone());
        }
        if waiting.is_empty() && now < after_seconds(self.put_away_at, PUT_AWAY) {
            return Ok(added);
        }
        Ok(added.saturating_add(self.write(app, waiting).await?))
    }

    /// The deliveries and the place are one write: neither is there without the other.
    async fn write(&mut self, app: &App, deliveries: Vec<Delivery>) -> Result<usize, Error> {
        let mut puts = fresh(app, &deliveries).await?;
        let added = puts.len();
        puts.push(self.place.put(self.expect)?);
        commit(app, puts).await?;
        (self.expect, self.put_away_at) = (Expect::Current(self.expect.next()), app.clock.now());
        Ok(added)
    }
}

/// Those of the deliveries that are not there yet.
async fn fresh(app: &App, deliveries: &[Delivery]) -> Result<Vec<Put>, Error> {
    let keys: Vec<ItemKey> = deliveries.iter().map(Document::item_key).collect();
    let known = if keys.is_empty() { Default::default() } else { app.store.batch_get(&keys).await? };
    let fresh = deliveries.iter().filter(|delivery| known.find(&delivery.item_key()).is_none());
    fresh.map(|delivery| delivery.put(Expect::Absent)).collect()
}

async fn commit(app: &App, puts: Vec<Put>) -> Result<(), Error> {
    app.store.transact(puts).await.map_err(|error| match error {
        StoreError::Conflict { .. } => Error::Contended,
        other => other.into(),
    })
}

/// Puts on its way what the webhook is told of among `records`, where they come by a queue: in whatever order, and each
/// as often as it likes. Returns how many deliveries there are more.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Contended`] if somebody else takes in the same records now.
pub async fn deliver(app: &App, webhook: &WebhookRecord, records: &[AuditRecord]) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut parts: BTreeMap<_, Delivery> = BTreeMap::new();
    // Within one moment ids say nothing of what was first.
    for record in records.iter().filter(|record| record.id.at() >= webhook.since.at()) {
        let of = webhook.webhook.wants(record).into_iter();
        let deliveries = of.map(|part| Delivery::of(&webhook.webhook.id, &record.id, part, now));
        // A batch may hold one record twice.
        parts.extend(deliveries.map(|delivery| (delivery.id.clone(), delivery)));
    }
    let (deliveries, mut added): (Vec<Delivery>, usize) = (parts.into_values().collect(), 0);
    for some in deliveries.chunks(MAX_BATCH) {
        let puts = fresh(app, some).await?;
        added = added.saturating_add(puts.len());
        if !puts.is_empty() {
            commit(app, puts).await?;
        }
    }
    Ok(added)
}

/// How many deliveries are in a state, and the oldest record among them.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// At most [`MAX_PAGE`].
    pub number: usize,
    pub oldest: Option<RecordId>,
}

/// # Errors
/// [`Error::Unavailable`].
pub async fn count(store: &dyn Store, webhook: &WebhookRecord, state: DeliveryState) -> Result<Waiting, Error> {
    let page = store.query(&in_state(webhook, state, MAX_PAGE)).await?;
    let oldest = page.items.first().map(decode::<Delivery>).transpose()?;
    Ok(Waiting { number: page.items.len(), oldest: oldest.map(|oldest| oldest.value.record) })
}

/// Deliveries in a state, the oldest record first.
pub(crate) fn in_state(webhook: &WebhookRecord, state: DeliveryState, limit: usize) -> Query {
    Query {
        table: Table::State,
        index: Some(Index::Second),
        partition: deliveries_in(&webhook.webhook.id, state),
        from: None,
        below: None,
        order: Order::Ascending,
        limit,
        after: None,
    }
}
