//! Intents: a change of a back end is written down before it is made, so that none is left behind unknown. The record that
//! goes with the change settles its intent in the same transaction; what is not settled in time is undone.

use crate::ambient::{Timestamp, after_seconds};
use crate::error::{Chain, Error};
use crate::id::{KeyId, RecordId, RequestId};
use crate::journal;
use crate::keystore::VersionRef;
use crate::name::{BackendName, HumanId};
use crate::operation::Operation;
use crate::pipeline::App;
use crate::record::{AuditRecord, Plane};
use crate::repository::{self, Document, Loaded, due_sort};
use crate::store::{Expect, Index, IndexEntry, ItemKey, Order, Put, Query, StoreError, Table};
use serde::{Deserialize, Serialize};

/// One object that a back end was asked to make, under a token that is the intent's id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Intent {
    /// The token. For what somebody asked for, also the id of the record that the change will have.
    pub id: RecordId,
    pub backend: BackendName,
    pub key: KeyId,
    pub version: u32,
    pub human: HumanId,
    pub state: IntentState,
    /// When it is undone, unless it is settled.
    pub due: Timestamp,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentState {
    Begun,
    /// The change is on record, or undone.
    Settled,
    /// Nobody may settle it as done any more.
    Undoing,
}

/// Whose change it is.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    pub id: &'a RecordId,
    pub human: &'a HumanId,
}

/// Seconds after which an intent is undone: ten times the life of a permit.
const PATIENCE: i64 = 300;
/// Seconds for which a settled intent is kept: a day, for people who look into what happened.
const KEPT: i64 = 86_400;
const UNSETTLED: &str = "intents";
/// Intents read at once.
const AT_ONCE: usize = 100;

/// Writes down that a back end will be asked for an object. A repetition with the same token finds the first, and one that
/// was undone begins anew. What is on record does not: it would be undone with what it made, which is in use.
///
/// # Errors
/// [`Error::Contended`] if another has it on record, or it took so long that it is being undone; [`Error::Unavailable`].
pub(crate) async fn begin(
    app: &App,
    backend: &BackendName,
    version: VersionRef<'_>,
    by: Begun<'_>,
) -> Result<Loaded<Intent>, Error> {
    let intent = Intent {
        id: by.id.clone(),
        backend: backend.clone(),
        key: version.key.clone(),
        version: version.version,
        human: by.human.clone(),
        state: IntentState::Begun,
        due: after_seconds(app.clock.now(), PATIENCE),
    };
    let Put { item, expect } = intent.put(Expect::Absent)?;
    let key = item.key.clone();
    match app.store.put_if(item, expect).await {
        Ok(revision) => Ok(Loaded { value: intent, revision }),
        Err(StoreError::Conflict { .. }) => {
            let found: Option<Loaded<Intent>> = repository::load(app.store.as_ref(), &key).await?;
            let found = found.ok_or(Error::Contended)?;
            match found.value.state {
                // Another try of one request is about another key.
                IntentState::Begun => Ok(Loaded { value: Intent { due: found.value.due, ..intent }, ..found }),
                IntentState::Settled if is_on_record(app, &found.value).await? => Err(Error::Contended),
                IntentState::Settled => {
                    let put = intent.put(Expect::Current(found.revision))?;
                    let revision = app.store.put_if(put.item, put.expect).await?;
                    Ok(Loaded { value: intent, revision })
                }
                IntentState::Undoing => Err(Error::Contended),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether what it was begun for is: the version was written in the transaction that settled it.
async fn is_on_record(app: &App, intent: &Intent) -> Result<bool, Error> {
    let version = repository::version_item(&intent.key, intent.version);
    Ok(app.store.get(&version).await?.is_some())
}

impl Loaded<Intent> {
    /// The write that settles it, for the transaction that records the change.
    pub(crate) fn settle(self) -> Result<Put, Error> {
        self.into(IntentState::Settled)
    }

    fn into(mut self, state: IntentState) -> Result<Put, Error> {
        self.value.state = state;
        self.replace()
    }
}

impl Document for Intent {
    fn item_key(&self) -> ItemKey {
        ItemKey::state(format!("intent/{}", self.id), "intent")
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let sort = format!("{}/{}", due_sort(self.due), self.id);
        let unsettled = IndexEntry { index: Index::Fourth, partition: UNSETTLED.to_string(), sort };
        Some(unsettled).filter(|_| self.state != IntentState::Settled).into_iter().collect()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(after_seconds(self.due, KEPT)).filter(|_| self.state == IntentState::Settled)
    }
}

/// Undoes what was begun and never recorded. Returns how many.
///
/// # Errors
/// [`Error::Unavailable`] of the store; what was done until then stays done.
pub async fn undo_due(app: &App) -> Result<usize, Error> {
    let below = due_sort(after_seconds(app.clock.now(), 1));
    let mut query = Query {
        table: Table::State,
        index: Some(Index::Fourth),
        partition: UNSETTLED.to_string(),
        from: None,
        below: Some(below),
        order: Order::Ascending,
        limit: AT_ONCE,
        after: None,
    };
    let mut done: usize = 0;
    loop {
        let page = app.store.query(&query).await?;
        for stored in page.items {
            match undo(app, &stored.item.key).await {
                Ok(undone) => done = done.saturating_add(usize::from(undone)),
                Err(error @ Error::Unavailable { dependency: "the store", .. }) => return Err(error),
                // A back end that does not answer keeps its own intents waiting, and no others.
                Err(error) => {
                    tracing::warn!(intent = %stored.item.key.partition, error = %Chain(&error), "undoing put off")
                }
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(done);
        }
    }
}

/// First nobody may settle it any more, then its object goes, then that is on record: whichever step is the last that
/// happened, the next call goes on.
async fn undo(app: &App, item: &ItemKey) -> Result<bool, Error> {
    let load = || repository::load::<Intent>(app.store.as_ref(), item);
    // The index may lag: what is done rests on the intent as it is now, which may have begun anew.
    let now = app.clock.now();
    let unsettled = |found: &Loaded<Intent>| found.value.state != IntentState::Settled && found.value.due <= now;
    let Some(found) = load().await?.filter(unsettled) else { return Ok(false) };
    if found.value.state == IntentState::Begun {
        commit(app, vec![found.into(IntentState::Undoing)?]).await?;
    }
    let Some(found) = load().await?.filter(|found| found.value.state == IntentState::Undoing) else { return Ok(false) };
    let intent = &found.value;
    app.keystores.backend(&intent.backend)?.undo(&intent.id).await?;
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    let mut record = AuditRecord {
        human: Some(intent.human.clone()),
        key: Some(intent.key.clone()),
        key_version: Some(intent.version),
        object: Some(intent.id.to_string()),
        ..AuditRecord::new(id, now, Operation::IntentUndo, Plane::Internal, request)
    };
    let put = journal::put_timed(app, &mut record)?;
    commit(app, vec![found.settle()?, put]).await?;
    Ok(true)
}

async fn commit(app: &App, puts: Vec<Put>) -> Result<(), Error> {
    Ok(app.store.transact(puts).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;

    #[test]
    fn a_settled_intent_is_looked_for_no_more_and_kept_for_a_day() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let intent = Intent {
            id: RecordId::new(now, &Entropy::system()),
            backend: "stick".parse().unwrap(),
            key: KeyId::none(),
            version: 1,
            human: "alice@org".parse().unwrap(),
            state: IntentState::Begun,
            due: now,
        };
        for (state, looked_for, kept_until) in [
            (IntentState::Begun, true, None),
            (IntentState::Undoing, true, None),
            (IntentState::Settled, false, Some(after_seconds(now, 86_400))),
        ] {
            let intent = Intent { state, ..intent.clone() };
            assert_eq!((!intent.indexes().is_empty(), intent.expires_at()), (looked_for, kept_until), "{state:?}");
        }
    }
}
