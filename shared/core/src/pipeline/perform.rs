//! From a permit to a reply: act, write the record, then answer.

use super::facts::Facts;
use super::once::Once;
use super::permit::Obligation;
use super::refuse::begin_record;
use super::step_up;
use super::{ATTEMPTS, App, Permit, Request};
use crate::ambient::after_seconds;
use crate::error::{Error, Failed};
use crate::id::{KeyId, RecordId};
use crate::idempotency::{REMEMBERED, Replay};
use crate::journal;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::record::{AuditRecord, Decision, Outcome};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Put, StoreError};

/// What an operation found or made: the value to return, what must be written first, and what the record shall say.
#[derive(Debug)]
pub struct Done<T> {
    pub value: T,
    pub puts: Vec<Put>,
    pub note: Note,
}

/// What only the operation knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Note {
    pub key: Option<KeyId>,
    pub key_version: Option<u32>,
    /// The id of what was made or acted upon; a repeated request with the same idempotency key finds it.
    pub object: Option<String>,
    /// Of reads that say the same here, and show no more, one a minute is recorded.
    pub once: Option<Once>,
    /// Why nothing was done, where the reply must not tell.
    pub refused: Option<Reason>,
    /// The use that was only asked about, and that the record tells of as refused.
    pub checked: Option<Operation>,
    /// Why the request is refused, although what it leads to is written. The reply tells.
    pub denied: Option<Reason>,
}

impl<T> Done<T> {
    /// Nothing to write but the record.
    pub fn read(value: T) -> Self {
        Self { value, puts: Vec::new(), note: Note::default() }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Done<U> {
        Done { value: f(self.value), puts: self.puts, note: self.note }
    }
}

/// Carries out what `permit` allows: runs `act`, writes what it changes and the record in one transaction, and only then
/// returns its value. `act` gets the id that an earlier request with the same idempotency key led to, and is run again
/// when another writer was faster; whatever it returns unwritten is dropped.
///
/// # Errors
/// What `act` returned, on record; [`Error::Contended`]; [`Error::Unavailable`], after which the change may have
/// happened; [`Error::IdempotencyMismatch`].
pub async fn perform<T, F, R>(app: &App, request: &Request<'_>, permit: &Permit, act: F) -> Result<T, Failed>
where
    F: Fn(Option<String>) -> R,
    R: Future<Output = Result<Done<T>, Error>>,
{
    let mut record = begun(app, request, permit);
    match commit(app, request, permit, &mut record, act).await {
        Ok(value) => Ok(value),
        Err(Failure::Recorded(error)) => Err(Failed::recorded(error, record.id)),
        Err(Failure::Unrecorded(error @ Error::Unavailable { dependency: "the store", .. })) => Err(error.into()),
        Err(Failure::Unrecorded(error)) => {
            let is_replay = matches!(error, Error::Denied { reason: Reason::PermitReplayed });
            if !is_replay {
                tell(&mut record, &error);
                match journal::append(app, &mut record).await {
                    Ok(()) => return Err(Failed::recorded(error, record.id)),
                    // Only a permit that was acted upon before finds its record there.
                    Err(Error::Contended) if permit.crossed => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // The permit's own record is that of the first time.
            record.id = RecordId::new(app.clock.now(), &app.entropy);
            let error = Error::Denied { reason: Reason::PermitReplayed };
            tell(&mut record, &error);
            journal::append(app, &mut record).await?;
            Err(Failed::recorded(error, record.id))
        }
    }
}

/// The record of a permitted request, before anything is done.
fn begun(app: &App, request: &Request<'_>, permit: &Permit) -> AuditRecord {
    AuditRecord {
        policy_version: permit.facts.policies.version,
        risk: permit.risk.clone(),
        ..begin_record(app, request, permit.id.clone(), &permit.facts.claims, &permit.found)
    }
}

/// Why there is no reply, and whether that is on record already.
pub(super) enum Failure {
    Recorded(Error),
    Unrecorded(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unrecorded(error)
    }
}

/// What the record of a request says that ends with `error`.
pub(super) fn tell(record: &mut AuditRecord, error: &Error) {
    record.outcome = Outcome::Error;
    let refused = match error {
        Error::ApprovalNeeded(_) => Some((Decision::StepUp, Reason::StepUp)),
        Error::Denied { reason } | Error::LimitReached { reason, .. } => Some((Decision::Deny, *reason)),
        _ => None,
    };
    if let Some((decision, reason)) = refused {
        (record.outcome, record.decision, record.reason) = (Outcome::Denied, decision, Some(reason));
    }
    record.error = Some(error.to_string());
}

async fn commit<T, F, R>(
    app: &App,
    request: &Request<'_>,
    permit: &Permit,
    record: &mut AuditRecord,
    act: F,
) -> Result<T, Failure>
where
    F: Fn(Option<String>) -> R,
    R: Future<Output = Result<Done<T>, Error>>,
{
    let _turn = match permit.key() {
        Ok(record) => {
            let (key, who) = (&record.key, || permit.facts.claims.root());
            app.shares.enter(who, permit.operation, key.algorithm, key.backend.as_ref(), app.clock.now())?
        }
        Err(_) => None,
    };
    let mut counted = permit.obligation.is_none() || !permit.operation.is_counted();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            // What a try that lost said of itself is not so.
            *record = begun(app, request, permit);
        }
        if permit.operation != request.operation || permit.expires_at < app.clock.now() {
            return Err(Error::State { kind: "permit", state: "expired, or made for another operation" }.into());
        }
        let replay = find_replay(app, request, &permit.facts).await?;
        let earlier = replay.as_ref().and_then(|replay| replay.earlier.clone());
        let repeated = earlier.is_some();
        // What was carried out before is only read again.
        let leave = match permit.obligation {
            Some(Obligation::StepUp) if !repeated => step_up::redeem(app, request, permit, record, attempt > 0).await?,
            _ => Vec::new(),
        };
        if !std::mem::replace(&mut counted, true) {
            app.count_use(&permit.facts.chain, app.clock.now()).await??;
        }
        let acted = act(earlier).await;
        record.backend_requests = permit.calls.noted();
        let mut done = acted?;
        done.puts.extend(leave);
        record.key = done.note.key.clone().or_else(|| record.key.clone());
        record.key_version = done.note.key_version;
        record.object = done.note.object.clone().or_else(|| record.object.clone());
        if let Some(reason) = done.note.refused {
            (record.outcome, record.decision, record.reason) = (Outcome::Denied, Decision::Deny, Some(reason));
        }
        if let Some(operation) = done.note.checked {
            (record.operation, record.checked) = (operation, true);
        }
        let denied = done.note.denied.map(|reason| Error::Denied { reason });
        if let Some(error) = &denied {
            tell(record, error);
        }
        if done.puts.is_empty() {
            let now = app.clock.now();
            // A permit that crossed is used up by its record.
            let covers = |once: &Once| !permit.crossed && app.reads.covers(once, now);
            if !done.note.once.as_ref().is_some_and(covers) {
                let put = journal::put_timed(app, record)?;
                app.store.put_if(put.item, put.expect).await.map_err(|error| lost(permit, error))?;
                done.note.once.into_iter().for_each(|once| app.reads.insert(once, now));
            }
            return Ok(done.value);
        }
        if let Some(replay) = replay.filter(|_| !repeated) {
            let resource = done.note.object.clone().or_else(|| record.key.as_ref().map(ToString::to_string));
            done.puts.push(replay.remember(resource.unwrap_or_default())?);
        }
        done.puts.push(journal::put_timed(app, record)?);
        match app.store.transact(done.puts).await {
            Ok(()) => return denied.map_or(Ok(done.value), |error| Err(Failure::Recorded(error))),
            Err(StoreError::Conflict { key }) if key != journal::item_key(&record.id) => {}
            Err(error) => return Err(lost(permit, error).into()),
        }
    }
    Err(Error::Contended.into())
}

/// Why a record could not be written: another of the same id is there only if the permit was acted upon before.
fn lost(permit: &Permit, error: StoreError) -> Error {
    match error {
        StoreError::Conflict { .. } if permit.crossed => Error::Denied { reason: Reason::PermitReplayed },
        other => other.into(),
    }
}

/// The place where a request with an idempotency key is remembered.
struct Slot {
    replay: Replay,
    expect: Expect,
    /// The id an earlier, equal request led to.
    earlier: Option<String>,
}

impl Slot {
    fn remember(self, resource: String) -> Result<Put, Error> {
        Replay { resource, ..self.replay }.put(self.expect)
    }
}

async fn find_replay(app: &App, request: &Request<'_>, facts: &Facts) -> Result<Option<Slot>, Error> {
    let Some(Ok(key)) = request.idempotency_key else { return Ok(None) };
    let now = app.clock.now();
    let target = format!("{:?}", request.target);
    let replay = Replay {
        actor: facts.actor(),
        slot: format!("{}/{key}", request.operation),
        digest: app.digest_key.digest(&[target.as_bytes(), request.body()]),
        resource: String::new(),
        expires_at: after_seconds(now, REMEMBERED),
    };
    let item: ItemKey = replay.item_key();
    let found: Option<Loaded<Replay>> = repository::load(app.store.as_ref(), &item).await?;
    match found {
        None => Ok(Some(Slot { replay, expect: Expect::Absent, earlier: None })),
        Some(old) if old.value.expires_at <= now => {
            Ok(Some(Slot { replay, expect: Expect::Current(old.revision), earlier: None }))
        }
        Some(old) if old.value.digest != replay.digest => Err(Error::IdempotencyMismatch),
        Some(old) => {
            let (expect, earlier) = (Expect::Current(old.revision), Some(old.value.resource));
            Ok(Some(Slot { replay, expect, earlier }))
        }
    }
}
