//! Responses that take more than the transaction they were ordered in. Each stays written down, and is tried again, until it
//! is done; whoever looks at the trail sees when it fails.

use crate::agent::{Agent, AgentState, Stopped};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::{Chain, Error};
use crate::id::{AgentId, KeyId, RecommendationId, RecordId, RequestId};
use crate::journal;
use crate::key::{KeyState, Transition};
use crate::keystore::Calls;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::operations::key_lifecycle::{load_key, rotation};
use crate::pipeline::App;
use crate::recommendation::{Response, ResponseAction, ResponseOutcome};
use crate::record::{AuditRecord, Outcome, Plane};
use crate::repository::{self, Document, Loaded, due_sort};
use crate::store::{Index, IndexEntry, ItemKey, Order, Put, Query, StoreError, Table};
use serde::{Deserialize, Serialize};

/// One response, until it is done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct PendingResponse {
    response: Response,
    /// The sponsor of the agent it answers.
    human: HumanId,
    attempts: u32,
    /// When it is tried next; absent once it is done.
    due: Option<Timestamp>,
    done_at: Option<Timestamp>,
    /// It can never be done.
    #[serde(default)]
    given_up: bool,
    /// Somebody took it back before it was done.
    #[serde(default)]
    undone: bool,
}

const PENDING: &str = "responses-pending";
/// Seconds until the second try; each further one waits twice as long, at most ten minutes.
const FIRST_WAIT: i64 = 2;
const LONGEST_WAIT: i64 = 600;
/// Seconds until one is tried again that lost a race; nothing failed.
const LOST: i64 = 10;
/// Seconds for which one that is done is kept, for people who look into what happened.
const KEPT: i64 = 86_400;
/// Seconds for which a response is its claimer's: a function is given at most one minute (`infra/variables.tf`), and a back end
/// answers within it.
const CLAIMED: i64 = 120;
const AT_ONCE: usize = 100;

impl PendingResponse {
    pub(super) fn new(response: Response, human: HumanId, due: Timestamp) -> Self {
        Self { response, human, attempts: 0, due: Some(due), done_at: None, given_up: false, undone: false }
    }

    /// What takes more than one transaction.
    pub(crate) const ACTIONS: [ResponseAction; 3] =
        [ResponseAction::DeactivateKey, ResponseAction::RevokeFleet, ResponseAction::RotateKey];

    pub(crate) fn item(cause: &RecommendationId, action: ResponseAction) -> ItemKey {
        ItemKey::state(format!("response/{cause}"), action.as_str())
    }

    /// Each try waits for longer.
    fn wait(&mut self, now: Timestamp) {
        let wait = FIRST_WAIT.saturating_mul(1_i64.checked_shl(self.attempts).unwrap_or(LONGEST_WAIT));
        self.attempts = self.attempts.saturating_add(1).min(20);
        self.due = Some(after_seconds(now, wait.clamp(FIRST_WAIT, LONGEST_WAIT)));
    }

    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// How it stands, and when it is tried next; `None` once it is done.
    pub(crate) fn not_done(&self) -> Option<(ResponseOutcome, Option<Timestamp>)> {
        match (self.due, self.attempts) {
            (None, _) if self.undone => Some((ResponseOutcome::Undone, None)),
            (None, _) => self.given_up.then_some((ResponseOutcome::Failed, None)),
            (due, 0) => Some((ResponseOutcome::Pending, due)),
            (due, _) => Some((ResponseOutcome::Failed, due)),
        }
    }
}

impl Document for PendingResponse {
    fn item_key(&self) -> ItemKey {
        Self::item(&self.response.cause, self.response.action)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let sort = |due| format!("{}/{}/{}", due_sort(due), self.response.cause, self.response.action.as_str());
        let entry = |due| IndexEntry { index: Index::Fourth, partition: PENDING.to_string(), sort: sort(due) };
        self.due.map(entry).into_iter().collect()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        // Its revision is what keeps a second try from doing it twice: it stays longer than a slow one could take.
        // What is given up people must be able to see later, too.
        self.done_at.filter(|_| !self.given_up && !self.undone).map(|at| after_seconds(at, KEPT))
    }
}

/// The writes that take back what is not done yet for this cause. Whoever is at it meanwhile finds that it came too late.
pub(crate) async fn take_back(app: &App, cause: &RecommendationId) -> Result<Vec<Put>, Error> {
    let items = PendingResponse::ACTIONS.map(|action| PendingResponse::item(cause, action));
    let mut puts = Vec::new();
    for stored in app.store.batch_get(&items).await?.0 {
        let mut found: Loaded<PendingResponse> = repository::decode(&stored)?;
        if found.value.due.is_some() {
            (found.value.due, found.value.done_at, found.value.undone) = (None, Some(app.clock.now()), true);
            puts.push(found.replace()?);
        }
    }
    Ok(puts)
}

/// Whether who calls may have back ends make keys. What it may not do it leaves, as it is, to who may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtBackEnds {
    Leaves,
    Rotates,
}

/// Carries out what is due. Returns how many were done. May be called twice at once: each response is done in one transaction
/// with what says that it is, or step by step where each step is the same however often it is made; and what a back end has a
/// part in is claimed first.
///
/// # Errors
/// [`Error::Unavailable`] of the store; what was done until then stays done.
pub async fn run_pending(app: &App, at_back_ends: AtBackEnds) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut query = Query {
        table: Table::State,
        index: Some(Index::Fourth),
        partition: PENDING.to_string(),
        from: None,
        below: Some(due_sort(after_seconds(now, 1))),
        order: Order::Ascending,
        limit: AT_ONCE,
        after: None,
    };
    let (mut fleets, mut others): (Vec<ItemKey>, Vec<ItemKey>) = (Vec::new(), Vec::new());
    loop {
        let page = app.store.query(&query).await?;
        for stored in page.items {
            let is_fleet = stored.item.key.sort == ResponseAction::RevokeFleet.as_str();
            if is_fleet { &mut fleets } else { &mut others }.push(stored.item.key.clone());
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    // A large fleet takes long, and a back end may: what takes neither waits for neither, and no fleet for a back end.
    let quick = others.iter().chain(&fleets).map(|item| (item, AtBackEnds::Leaves));
    let slow = others.iter().map(|item| (item, AtBackEnds::Rotates)).filter(|_| at_back_ends == AtBackEnds::Rotates);
    let mut done: usize = 0;
    for (item, at_back_ends) in quick.chain(slow) {
        done = done.saturating_add(try_one(app, item, at_back_ends).await?.into());
    }
    Ok(done)
}

/// Carries one out, if it is due, and returns whether it is done.
async fn try_one(app: &App, item: &ItemKey, at_back_ends: AtBackEnds) -> Result<bool, Error> {
    // The index may lag: what is done rests on the response as it is now.
    let found: Option<Loaded<PendingResponse>> = repository::load(app.store.as_ref(), item).await?;
    let now = app.clock.now();
    let Some(pending) = found.filter(|found| found.value.due.is_some_and(|due| due <= now)) else { return Ok(false) };
    let pending = match claim(app, pending, at_back_ends).await {
        Ok(Some(pending)) => pending,
        Ok(None) | Err(Error::Contended) => return Ok(false),
        Err(error) => return Err(error),
    };
    match carry_out(app, pending.clone()).await {
        Ok(Carried::Done) => return Ok(true),
        Ok(Carried::Waits) => come_back(app, pending).await?,
        Err(error @ Error::Unavailable { dependency: "the store", .. }) => return Err(error),
        // One that is claimed would else be looked at only once that is over.
        Err(Error::Contended) if pending.value.due.is_some_and(|due| due > now) => come_back(app, pending).await?,
        Err(Error::Contended) => {}
        Err(error) => match put_off(app, pending, &error).await {
            Ok(()) | Err(Error::Contended) => {}
            Err(error) => return Err(error),
        },
    }
    Ok(false)
}

/// How far one was carried out.
enum Carried {
    Done,
    /// It cannot be now, and nothing failed.
    Waits,
}

/// The response, for who is to carry it out; `None` where it is another's. Of two that have the same key rotated at a back end, one
/// would have to wait for what the other makes: who does it says so first, and nobody else looks at it until whoever died of it is
/// surely dead.
async fn claim(
    app: &App,
    mut pending: Loaded<PendingResponse>,
    at_back_ends: AtBackEnds,
) -> Result<Option<Loaded<PendingResponse>>, Error> {
    let (ResponseAction::RotateKey, Some(id)) = (pending.value.response.action, &pending.value.response.key) else {
        return Ok(Some(pending));
    };
    let at_back_end = match load_key(app, id).await {
        Ok(loaded) => loaded.value.key.backend.is_some(),
        Err(error @ Error::Unavailable { dependency: "the store", .. }) => return Err(error),
        // Whoever carries it out tells that.
        Err(_) => false,
    };
    match (at_back_end, at_back_ends) {
        (false, _) => Ok(Some(pending)),
        (true, AtBackEnds::Leaves) => Ok(None),
        (true, AtBackEnds::Rotates) => {
            pending.value.due = Some(after_seconds(app.clock.now(), CLAIMED));
            let put = pending.replace()?;
            pending.revision = app.store.put_if(put.item, put.expect).await?;
            Ok(Some(pending))
        }
    }
}

/// It is to be tried soon, as it stands then: somebody changed what it is about, or has to.
async fn come_back(app: &App, mut pending: Loaded<PendingResponse>) -> Result<(), Error> {
    pending.value.due = Some(after_seconds(app.clock.now(), LOST));
    let put = pending.replace()?;
    match app.store.put_if(put.item, put.expect).await {
        // Another carried it out, or took it back.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn carry_out(app: &App, pending: Loaded<PendingResponse>) -> Result<Carried, Error> {
    match (pending.value.response.action, pending.value.response.key.clone()) {
        (ResponseAction::RevokeFleet, _) => revoke_fleet(app, pending).await,
        (ResponseAction::DeactivateKey, Some(key)) => deactivate(app, pending, &key).await,
        (ResponseAction::RotateKey, Some(key)) => rotate(app, pending, &key).await,
        _ => finish(app, pending, Vec::new()).await,
    }
}

/// Each agent is stopped on a record of its own; the last write says that none is left. An agent issued meanwhile is found
/// by the walk or was issued after it: a human who must issue no more is revoked herself.
async fn revoke_fleet(app: &App, pending: Loaded<PendingResponse>) -> Result<Carried, Error> {
    let item = pending.value.item_key();
    let (mut after, mut whole) = (None, true);
    loop {
        let partition = repository::agents_of(&pending.value.human);
        let store = app.store.as_ref();
        let page = repository::list::<Agent>(store, Index::Second, partition, Order::Ascending, AT_ONCE, after).await?;
        // Once and for all: those of before, of whom there may be many, are not read again.
        for agent in page.items.iter().filter(|agent| agent.state != AgentState::Revoked) {
            // Taken back meanwhile: whom it has not reached goes on.
            let found: Option<Loaded<PendingResponse>> = repository::load(app.store.as_ref(), &item).await?;
            if found.is_none_or(|found| found.value.due.is_none()) {
                return Ok(Carried::Waits);
            }
            match revoke(app, &pending.value, &agent.id).await {
                Ok(()) => {}
                // The others do not wait for it.
                Err(Error::Contended) => whole = false,
                Err(error) => return Err(error),
            }
        }
        after = page.next;
        match after {
            Some(_) => {}
            None if whole => return finish(app, pending, Vec::new()).await,
            None => return Err(Error::Contended),
        }
    }
}

async fn revoke(app: &App, pending: &PendingResponse, id: &AgentId) -> Result<(), Error> {
    let found: Option<Loaded<Agent>> = repository::load(app.store.as_ref(), &repository::agent_item(id)).await?;
    let Some(mut agent) = found.filter(|found| found.value.state != AgentState::Revoked) else { return Ok(()) };
    let mut record = internal_record(app, pending, Operation::AgentRevoke);
    record.object = Some(id.to_string());
    record.responses = vec![Response { agent: Some(id.clone()), ..pending.response.clone() }];
    let stopped = Stopped::by_aegis(record.at, record.id.clone());
    agent.value.revoke(stopped);
    let puts = vec![agent.replace()?, journal::put_timed(app, &mut record)?];
    Ok(app.store.transact(puts).await?)
}

async fn deactivate(app: &App, pending: Loaded<PendingResponse>, id: &KeyId) -> Result<Carried, Error> {
    let mut loaded = load_key(app, id).await?;
    if loaded.value.key.state != KeyState::Active {
        return finish(app, pending, Vec::new()).await;
    }
    loaded.value.key.apply(Transition::Deactivate)?;
    let mut record = key_record(app, &pending.value, Operation::KeyDeactivate, id);
    record.key_version = Some(loaded.value.key.version);
    let puts = vec![loaded.replace()?, journal::put_timed(app, &mut record)?];
    finish(app, pending, puts).await
}

/// Its token is the same however often it is tried: at a back end the next try finds what this one began.
async fn rotate(app: &App, pending: Loaded<PendingResponse>, id: &KeyId) -> Result<Carried, Error> {
    let mut loaded = load_key(app, id).await?;
    if loaded.value.key.state != KeyState::Active {
        return finish(app, pending, Vec::new()).await;
    }
    // It may be resumed: until then it is used for nothing that a rotation would protect.
    if loaded.value.key.suspended || loaded.value.key.destroy_at.is_some() {
        return Ok(Carried::Waits);
    }
    let mut record = key_record(app, &pending.value, Operation::KeyRotate, id);
    let next = loaded.value.key.version.saturating_add(1);
    let words = format!("{}/{id}/{next}", pending.value.response.cause);
    let token = RecordId::derived(loaded.value.key.created_at, &words);
    let calls = Calls::default();
    let mut puts = rotation(app, &mut loaded, &token, &calls).await?;
    record.backend_requests = calls.noted();
    record.key_version = Some(loaded.value.key.version);
    puts.push(journal::put_timed(app, &mut record)?);
    finish(app, pending, puts).await
}

/// In one transaction with what was done, so that it is done once.
async fn finish(app: &App, mut pending: Loaded<PendingResponse>, mut puts: Vec<Put>) -> Result<Carried, Error> {
    (pending.value.due, pending.value.done_at) = (None, Some(app.clock.now()));
    puts.push(pending.replace()?);
    app.store.transact(puts).await?;
    Ok(Carried::Done)
}

/// On record, so that it is told to whoever is told of responses. What can never be done is given up.
async fn put_off(app: &App, mut pending: Loaded<PendingResponse>, error: &Error) -> Result<(), Error> {
    pending.value.wait(app.clock.now());
    if matches!(error, Error::Invalid { .. } | Error::KeyState { .. } | Error::NotFound { .. } | Error::State { .. }) {
        (pending.value.due, pending.value.done_at) = (None, Some(app.clock.now()));
        pending.value.given_up = true;
    }
    let mut record = internal_record(app, &pending.value, Operation::ResponseAct);
    (record.outcome, record.error) = (Outcome::Error, Some(error.to_string()));
    record.key = pending.value.response.key.clone();
    record.object = Some(pending.value.response.cause.to_string());
    let (action, again) = (pending.value.response.action.as_str(), pending.value.due.is_some());
    tracing::error!(action, again, error = %Chain(&error), "response failed");
    let puts = vec![pending.replace()?, journal::put_timed(app, &mut record)?];
    Ok(app.store.transact(puts).await?)
}

fn key_record(app: &App, pending: &PendingResponse, operation: Operation, key: &KeyId) -> AuditRecord {
    AuditRecord {
        key: Some(key.clone()),
        responses: vec![pending.response.clone()],
        ..internal_record(app, pending, operation)
    }
}

fn internal_record(app: &App, pending: &PendingResponse, operation: Operation) -> AuditRecord {
    let now = app.clock.now();
    let (id, request) = (RecordId::new(now, &app.entropy), RequestId::new(now, &app.entropy));
    AuditRecord { human: Some(pending.human.clone()), ..AuditRecord::new(id, now, operation, Plane::Internal, request) }
}
