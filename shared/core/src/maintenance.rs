//! What happens by itself: destruction at the end of its window, scheduled rotation, the end of approvals, and the summary records of requests
//! without a verified principal. A host calls these now and then; each call may be repeated or cut short at any point.

use crate::ambient::Timestamp;
use crate::approval;
use crate::error::{Chain, Error};
use crate::id::{AgentId, RecordId, RequestId};
use crate::intent;
use crate::journal;
use crate::key::{Key, KeyRecord, VersionRecord};
use crate::keystore::Calls;
use crate::operation::Operation;
use crate::operations::key_lifecycle::{load_key, rotation};
use crate::pipeline::{App, Throttled};
use crate::reason::Reason;
use crate::record::{AuditRecord, Decision, Outcome, Plane};
use crate::repository::{self, DUE, Loaded};
use crate::store::{Index, Order, Query, StoreError, Table};
use crate::survey::{AtBackend, DisabledBy, ObjectState, Refusal};
use std::net::IpAddr;

/// Keys read at once.
const AT_ONCE: usize = 100;

/// Destroys keys whose window is over, has back ends disable those that are suspended or to be destroyed, rotates those that are due, asks back ends what they
/// say of theirs, expires approvals, and undoes what was begun at a back end and never recorded. Returns how many.
///
/// # Errors
/// [`Error::Unavailable`]; what was done until then stays done.
pub async fn run_due(app: &App) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut query = Query {
        table: Table::State,
        index: Some(Index::Fourth),
        partition: DUE.to_string(),
        from: None,
        below: Some(repository::due_sort(crate::ambient::after_seconds(now, 1))),
        order: Order::Ascending,
        limit: AT_ONCE,
        after: None,
    };
    let mut done: usize = 0;
    loop {
        let page = app.store.query(&query).await?;
        for stored in page.items {
            let indexed: KeyRecord = repository::decode(&stored)?.value;
            // The index may lag: what is done rests on the key as it is now.
            let loaded = load_key(app, &indexed.key.id).await?;
            let key = &loaded.value.key;
            let result = match (key.destroy_at, key.rotation_due()) {
                (Some(at), _) if at <= now => destroy(app, loaded, now).await,
                _ if key.disabling_due().is_some() => tell_disabled(app, loaded, now).await,
                (None, Some(at)) if at <= now => rotate(app, loaded).await,
                _ if key.survey_due().is_some_and(|at| at <= now) => survey(app, loaded, now).await,
                _ => continue,
            };
            match result {
                Ok(()) => done = done.saturating_add(1),
                Err(error @ Error::Unavailable { dependency: "the store", .. }) => return Err(error),
                // Another writer was faster, or this key or its back end is at fault: the others are not kept waiting.
                Err(error) => tracing::warn!(key = %indexed.key.id, error = %Chain(&error), "scheduled work put off"),
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let expired = approval::expire_due(app).await?;
    Ok(done.saturating_add(expired).saturating_add(intent::undo_due(app).await?))
}

/// First the key itself, in one write with the record: from then on it can be neither used nor kept. Then the material of
/// its versions; the key stays due until none is left, so that an interrupted destruction goes on.
async fn destroy(app: &App, mut loaded: Loaded<KeyRecord>, now: Timestamp) -> Result<(), Error> {
    let id = loaded.value.key.id.clone();
    if !loaded.value.key.state.is_destroyed() {
        loaded.value.key.destroy(now)?;
        loaded.value.material = None;
        let mut record = internal_record(app, &loaded.value.key, Operation::KeyDestroy);
        commit(app, vec![loaded.replace()?, journal::put_timed(app, &mut record)?]).await?;
        loaded = load_key(app, &id).await?;
    }
    let keystore = app.keystores.of(&loaded.value.key)?;
    for version in 1..=loaded.value.key.version {
        let item = repository::version_item(&id, version);
        let found: Option<Loaded<VersionRecord>> = repository::load(app.store.as_ref(), &item).await?;
        let Some(mut found) = found else { continue };
        if let Some(material) = found.value.material.take() {
            keystore.destroy(loaded.value.key.version_ref(version), &material).await?;
            commit(app, vec![found.replace()?]).await?;
        }
    }
    (loaded.value.key.destroy_at, loaded.value.key.at_backend) = (None, None);
    commit(app, vec![loaded.replace()?]).await
}

async fn rotate(app: &App, mut loaded: Loaded<KeyRecord>) -> Result<(), Error> {
    let mut record = internal_record(app, &loaded.value.key, Operation::KeyRotate);
    // However often it is tried, it is one change: at a back end the next try finds what this one began.
    let next = loaded.value.key.version.saturating_add(1);
    let token = RecordId::derived(loaded.value.key.created_at, &format!("{}/{next}", loaded.value.key.id));
    let calls = Calls::default();
    let mut puts = rotation(app, &mut loaded, &token, &calls).await?;
    record.backend_requests = calls.noted();
    record.key_version = Some(loaded.value.key.version);
    puts.push(journal::put_timed(app, &mut record)?);
    commit(app, puts).await
}

/// That it has begun is written down first, and that it is done only with the state of the key that it was done for: whichever
/// step was the last that happened, and whatever became of the key meanwhile, it is done again to its end. One version that
/// cannot be told keeps none of the others.
async fn tell_disabled(app: &App, mut loaded: Loaded<KeyRecord>, now: Timestamp) -> Result<(), Error> {
    let (id, disabled) = (loaded.value.key.id.clone(), loaded.value.key.is_to_be_disabled());
    if let Some(there) = loaded.value.key.at_backend.as_mut().filter(|there| there.refusal != Refusal::Changing) {
        there.refusal = Refusal::Changing;
        commit(app, vec![loaded.replace()?]).await?;
        loaded = load_key(app, &id).await?;
    }
    let calls = Calls::default();
    let mut told = Ok(());
    let mut present = false;
    // The present version first: it is the one that protects. The earlier ones still verify and decrypt.
    for version in (1..=loaded.value.key.version).rev() {
        let result = tell_version(app, &loaded.value.key, version, disabled, &calls).await;
        present |= version == loaded.value.key.version && matches!(result, Ok(true));
        told = told.and(result.map(|_| ()));
    }
    told?;
    let found = asked(app, &loaded.value, now).await?;
    let before = loaded.value.key.at_backend.take();
    let refusal = if disabled { Refusal::Told } else { Refusal::None };
    let by = if present { DisabledBy::Aegis } else { DisabledBy::Others };
    let disabled_by = Some(by).filter(|_| disabled);
    loaded.value.key.at_backend = found.map(|there| AtBackend { refusal, disabled_by, ..there });
    commit_survey(app, loaded, before.as_ref(), &calls).await
}

/// Whether it is Aegis that has it disabled now. What others disabled is theirs to enable.
async fn tell_version(app: &App, key: &Key, version: u32, disabled: bool, calls: &Calls) -> Result<bool, Error> {
    let keystore = app.keystores.of(key)?;
    let item = repository::version_item(&key.id, version);
    let load = async || repository::load::<VersionRecord>(app.store.as_ref(), &item).await;
    let Some(mut found) = load().await? else { return Ok(false) };
    let Some(material) = found.value.material.clone() else { return Ok(false) };
    if disabled && !found.value.disabled {
        let survey = keystore.survey(&material).await?;
        if survey.is_none_or(|survey| survey.state != ObjectState::Enabled) {
            return Ok(false);
        }
        found.value.disabled = true;
        commit(app, vec![found.replace()?]).await?;
        let Some(again) = load().await? else { return Ok(false) };
        found = again;
    }
    if found.value.disabled {
        keystore.set_enabled(key.version_ref(version).noting(calls), &material, !disabled).await?;
        if !disabled {
            found.value.disabled = false;
            commit(app, vec![found.replace()?]).await?;
        }
    }
    Ok(disabled)
}

/// What others change at a back end past Aegis is on record once it is found.
async fn survey(app: &App, mut loaded: Loaded<KeyRecord>, now: Timestamp) -> Result<(), Error> {
    let found = asked(app, &loaded.value, now).await?;
    let before = loaded.value.key.at_backend.take();
    let (refusal, disabled_by) = before.as_ref().map(|before| (before.refusal, before.disabled_by)).unwrap_or_default();
    loaded.value.key.at_backend = found.map(|there| AtBackend { refusal, disabled_by, ..there });
    commit_survey(app, loaded, before.as_ref(), &Calls::default()).await
}

async fn asked(app: &App, record: &KeyRecord, now: Timestamp) -> Result<Option<AtBackend>, Error> {
    let Some(material) = &record.material else { return Ok(None) };
    let survey = app.keystores.of(&record.key)?.survey(material).await?;
    Ok(survey.map(|survey| AtBackend { as_of: now, refusal: Refusal::None, disabled_by: None, survey }))
}

async fn commit_survey(
    app: &App,
    loaded: Loaded<KeyRecord>,
    before: Option<&AtBackend>,
    calls: &Calls,
) -> Result<(), Error> {
    let found = loaded.value.key.at_backend.as_ref();
    let drifted = match (before, found) {
        (Some(before), Some(found)) => found.survey.drifted(&before.survey),
        _ => true,
    };
    let mut puts = Vec::new();
    if drifted {
        let mut record = internal_record(app, &loaded.value.key, Operation::KeySurvey);
        record.object = found.map(|there| there.survey.words());
        record.backend_requests = calls.noted();
        tracing::warn!(key = %loaded.value.key.id, now = record.object, "a key changed at its back end");
        puts.push(journal::put_timed(app, &mut record)?);
    }
    puts.push(loaded.replace()?);
    commit(app, puts).await
}

async fn commit(app: &App, puts: Vec<crate::store::Put>) -> Result<(), Error> {
    app.store.transact(puts).await.map_err(|error| match error {
        StoreError::Conflict { .. } => Error::Contended,
        other => other.into(),
    })
}

fn internal_record(app: &App, key: &Key, operation: Operation) -> AuditRecord {
    let now = app.clock.now();
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    AuditRecord {
        human: Some(key.changed_by.clone()),
        key: Some(key.id.clone()),
        key_version: Some(key.version),
        ..AuditRecord::new(id, now, operation, Plane::Internal, request)
    }
}

/// Writes how many requests without a verified principal one source made in one minute; without a source, all beyond
/// those that were told apart.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn record_unverified(app: &App, minute: Timestamp, source: Option<IpAddr>, count: u64) -> Result<(), Error> {
    let now = app.clock.now();
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    let mut record = AuditRecord {
        outcome: Outcome::Denied,
        decision: Decision::Deny,
        source,
        count: Some(count),
        ..AuditRecord::new(id, minute, Operation::Unidentified, Plane::Rest, request)
    };
    journal::append(app, &mut record).await
}

/// Writes how many requests of one actor were turned away in one minute because it made too many.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn record_throttled(app: &App, throttled: &Throttled) -> Result<(), Error> {
    let actor = throttled.actor.as_deref();
    let now = app.clock.now();
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    let mut record = AuditRecord {
        outcome: Outcome::Denied,
        decision: Decision::Deny,
        reason: Some(Reason::RateLimited),
        human: actor.and_then(|actor| actor.parse().ok()),
        agents: actor.and_then(|actor| AgentId::try_from(actor.to_string()).ok()).into_iter().collect(),
        count: Some(throttled.refused),
        ..AuditRecord::new(id, throttled.minute, Operation::Unidentified, Plane::Rest, request)
    };
    journal::append(app, &mut record).await
}
