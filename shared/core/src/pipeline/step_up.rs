//! Step-up: the request of an agent that a human must approve. It takes the leave that humans gave to this very request, or
//! to all of its shape; else it waits with those that were asked before, or asks them.
//!
//! INVARIANT: leave is taken in the transaction that writes the record of what is done with it, by a write that expects the
//! approval as it was read. So it is used once, however many requests come at once and whatever fails.

use super::perform::{Failure, tell};
use super::{ATTEMPTS, App, Found, Permit, Request};
use crate::agent::{Agent, AgentState, HoldKind, Stopped};
use crate::ambient::{Timestamp, after_seconds};
use crate::approval::{
    self, Approval, ApprovalRecord, ApprovalState, Asked, Cause, Code, Day, Kept, Ledger, MAX_PAYLOAD,
    MAX_SHAPE_SECONDS, Use,
};
use crate::error::Error;
use crate::human::Human;
use crate::id::ApprovalId;
use crate::journal;
use crate::key::Tier;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::record::AuditRecord;
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Put, StoreError};
use std::sync::Arc;

/// The writes that take a human's leave for this request. `raced` says that another writer was faster since the last try.
///
/// # Errors
/// [`Error::ApprovalNeeded`] while it is not given; [`Error::Denied`] where it was denied, where another request has just
/// taken it, and where too many were asked for: then the agent is frozen.
pub(super) async fn redeem(
    app: &App,
    request: &Request<'_>,
    permit: &Permit,
    record: &mut AuditRecord,
    raced: bool,
) -> Result<Vec<Put>, Failure> {
    let ask = Ask::new(app, request, permit, raced)?;
    for _ in 0..ATTEMPTS {
        let now = app.clock.precise();
        let known = Known::read(app, &ask, now).await?;
        match known.answer(&ask, now) {
            Some(found) => {
                record.approval = Some(found.value.approval.id.clone());
                is_still_given(app, &found.value.approval, now).await?;
                return decide(app, found, &ask, now);
            }
            None if known.is_exhausted(permit, now) => return Err(freeze(app, &ask, record).await?),
            None => match open(app, request, permit, &ask, known, record).await {
                Ok(error) => return Err(Failure::Recorded(error)),
                Err(NotOpened::Lost) => {}
                Err(NotOpened::Failed(error)) => return Err(error.into()),
            },
        }
    }
    Err(Error::Contended.into())
}

/// Leave of a human who was revoked since is none: whoever could approve in her name may have.
async fn is_still_given(app: &App, approval: &Approval, now: Timestamp) -> Result<(), Error> {
    if approval.state_at(now) != ApprovalState::Approved {
        return Ok(());
    }
    let items: Vec<ItemKey> = approval.answers.iter().map(|answer| repository::human_item(&answer.human)).collect();
    let read = app.store.batch_get(&items).await?;
    for (item, answer) in items.iter().zip(&approval.answers) {
        let human: Option<Loaded<Human>> = read.find(item).map(|stored| repository::decode(stored)).transpose()?;
        let stands = |human: &Human| !human.revoked && answer.epoch.is_none_or(|epoch| epoch == human.epoch);
        if !human.is_some_and(|human| stands(&human.value)) {
            return Err(Error::Denied { reason: Reason::ApprovalDenied });
        }
    }
    Ok(())
}

/// What an approval says to the request it is about.
fn decide(app: &App, mut found: Loaded<ApprovalRecord>, ask: &Ask<'_>, now: Timestamp) -> Result<Vec<Put>, Failure> {
    let denied = |reason| Err(Error::Denied { reason }.into());
    let approval = &mut found.value.approval;
    match approval.state_at(now) {
        ApprovalState::Approved => {
            approval.take(Use { at: now, record: ask.permit.id.clone() })?;
            Ok(found.writes()?)
        }
        ApprovalState::Denied => denied(Reason::ApprovalDenied),
        ApprovalState::Pending => Err(Error::ApprovalNeeded(Box::new(asked(app, approval))).into()),
        ApprovalState::Used | ApprovalState::Expired => denied(Reason::ApprovalUsed),
    }
}

/// The request, as far as an approval is bound to it.
struct Ask<'a> {
    permit: &'a Permit,
    agent: &'a Loaded<Arc<Agent>>,
    arrived_at: Timestamp,
    tier: Option<Tier>,
    binding: String,
    /// Another writer was faster since the last try.
    raced: bool,
}

impl<'a> Ask<'a> {
    fn new(app: &App, request: &Request<'_>, permit: &'a Permit, raced: bool) -> Result<Self, Error> {
        let agent = permit.facts.chain.first().ok_or(Error::Denied { reason: Reason::StepUp })?;
        let key = permit.key().ok().map(|record| &record.key);
        let tier = key.map(|key| key.tier);
        // A key is what its name leads to now; everything else is what the path says.
        let target = match &permit.found {
            Found::Key { .. } => String::new(),
            _ => format!("{:?}", request.target),
        };
        let binding = app.digest_key.digest(&[
            b"approval",
            &permit.facts.deployment.epoch.to_be_bytes(),
            agent.value.id.as_str().as_bytes(),
            permit.operation.as_str().as_bytes(),
            key.map_or("", |key| key.id.as_str()).as_bytes(),
            format!("{tier:?}").as_bytes(),
            target.as_bytes(),
            request.body(),
        ]);
        Ok(Self { permit, agent, arrived_at: request.arrived_at, tier, binding, raced })
    }
}

/// The approvals of the agent that may decide on something, and what its human's agents opened in this day.
struct Known {
    ledger: Option<Loaded<Ledger>>,
    day: Option<Loaded<Day>>,
    /// The newest last.
    approvals: Vec<Loaded<ApprovalRecord>>,
}

impl Known {
    async fn read(app: &App, ask: &Ask<'_>, now: Timestamp) -> Result<Self, Error> {
        let (agent, human) = (&ask.agent.value.id, &ask.permit.facts.human.id);
        let (ledger_item, day_item) = (approval::ledger_item(agent), approval::day_item(human));
        let read = app.store.batch_get(&[ledger_item.clone(), day_item.clone()]).await?;
        let ledger: Option<Loaded<Ledger>> =
            read.find(&ledger_item).map(|stored| repository::decode(stored)).transpose()?;
        let day: Option<Loaded<Day>> = read.find(&day_item).map(|stored| repository::decode(stored)).transpose()?;
        let ids = ledger.iter().flat_map(|ledger| &ledger.value.approvals);
        let items: Vec<ItemKey> = ids.map(approval::approval_item).collect();
        let mut approvals = Vec::with_capacity(items.len());
        if !items.is_empty() {
            let read = app.store.batch_get(&items).await?;
            for stored in items.iter().filter_map(|item| read.find(item)) {
                let found: Loaded<ApprovalRecord> = repository::decode(stored)?;
                if found.value.approval.counts_at(now) && found.value.epoch == ask.permit.facts.deployment.epoch {
                    approvals.push(found);
                }
            }
        }
        Ok(Self { ledger, day, approvals })
    }

    /// The approval that decides on the request, if there is one: leave for this very request, its denial, leave for its
    /// shape, then what is still pending.
    fn answer(&self, ask: &Ask<'_>, now: Timestamp) -> Option<Loaded<ApprovalRecord>> {
        let exact = self.approvals.iter().rev().find(|found| found.value.binding == ask.binding);
        let shape = self.approvals.iter().rev().find(|found| {
            let Approval { operation, key, tier, any_body, .. } = &found.value.approval;
            *any_body
                && found.value.approval.state_at(now) == ApprovalState::Approved
                && *operation == ask.permit.operation
                && key.as_ref() == ask.permit.key().ok().map(|record| &record.key.id)
                && *tier == ask.tier
        });
        let decided = |found: &&Loaded<ApprovalRecord>| {
            matches!(found.value.approval.state_at(now), ApprovalState::Approved | ApprovalState::Denied)
        };
        // Of what is used only those are told that competed for it; who asks later asks a human again.
        let competed = |found: &&Loaded<ApprovalRecord>| match found.value.approval.state_at(now) {
            ApprovalState::Pending => true,
            ApprovalState::Used => {
                let used = found.value.approval.used.last();
                ask.raced || used.is_some_and(|used| ask.arrived_at <= used.at)
            }
            _ => false,
        };
        exact.filter(decided).or(shape).or(exact.filter(competed)).cloned()
    }

    /// Whether one more may not be asked for.
    fn is_exhausted(&self, permit: &Permit, now: Timestamp) -> bool {
        let rules = &permit.facts.rules.approvals;
        let pending =
            self.approvals.iter().filter(|found| found.value.approval.state_at(now) == ApprovalState::Pending);
        let opened = self.day.as_ref().filter(|found| found.value.day == day_of(now)).map_or(0, |day| day.value.opened);
        pending.count() >= usize::try_from(rules.pending_per_agent).unwrap_or(usize::MAX)
            || opened >= rules.per_human_a_day
    }
}

/// Why an approval was not opened.
enum NotOpened {
    Failed(Error),
    /// Another writer was faster.
    Lost,
}

impl From<Error> for NotOpened {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes down what is asked, with the record of the request that is refused until it is answered.
async fn open(
    app: &App,
    request: &Request<'_>,
    permit: &Permit,
    ask: &Ask<'_>,
    known: Known,
    record: &mut AuditRecord,
) -> Result<Error, NotOpened> {
    let now = app.clock.now();
    let (rules, human) = (&permit.facts.rules.approvals, &permit.facts.human.id);
    let id = ApprovalId::new(now, &app.entropy);
    let holds = permit.facts.chain.iter().flat_map(|agent| &agent.value.holds);
    let hold = holds.filter(|hold| hold.kind == HoldKind::StepUp && now < hold.until).max_by_key(|hold| hold.until);
    let expires_at = after_seconds(now, rules.decide_seconds());
    let approval = Approval {
        id: id.clone(),
        agent: ask.agent.value.id.clone(),
        sponsor: human.clone(),
        operation: permit.operation,
        key: permit.key().ok().map(|record| record.key.id.clone()),
        tier: ask.tier,
        request_digest: record.request_digest.clone().unwrap_or_default(),
        cause: if hold.is_some() { Cause::Hold } else { Cause::Risk },
        recommendation: hold.map(|hold| hold.cause.clone()),
        risk: permit.risk.clone(),
        state: ApprovalState::Pending,
        created_at: now,
        expires_at,
        needs: rules.needed(ask.tier),
        answers: Vec::new(),
        wrong_codes: 0,
        any_body: false,
        uses: 1,
        used: Vec::new(),
    };
    let asked = asked(app, &approval);
    let length = approval::length(request.body());
    let (payload, parts) = match request.body().len() {
        _ if permit.operation == Operation::KeyWrap => (Kept::Withheld { length }, Vec::new()),
        0..=MAX_PAYLOAD => {
            // Whatever becomes of it, nobody can use it for longer.
            let longest = after_seconds(expires_at, rules.use_seconds().max(i64::from(MAX_SHAPE_SECONDS)));
            let parts = approval::seal(&app.digest_key, &app.entropy, &id, request.body(), longest)?;
            (Kept::Sealed { parts: u8::try_from(parts.len()).unwrap_or(u8::MAX) }, parts)
        }
        _ => (Kept::TooLarge { length }, Vec::new()),
    };
    let epoch = permit.facts.deployment.epoch;
    let mut puts = vec![ApprovalRecord { approval, binding: ask.binding.clone(), epoch, payload }.put(Expect::Absent)?];
    for part in parts {
        puts.push(part.put(Expect::Absent)?);
    }
    puts.push(known.ledger_with(ask, id.clone())?);
    puts.push(known.day_with_one_more(human, now)?);
    let error = Error::ApprovalNeeded(Box::new(asked));
    // Of its own: where another writer is faster, the request may yet come to another end.
    let mut told = AuditRecord { approval: Some(id), ..record.clone() };
    tell(&mut told, &error);
    puts.push(journal::put_timed(app, &mut told)?);
    match app.store.transact(puts).await {
        Ok(()) => {
            *record = told;
            tracing::info!(decision = "step-up", record = %record.id, "approval opened");
            Ok(error)
        }
        Err(StoreError::Conflict { .. }) => Err(NotOpened::Lost),
        Err(error) => Err(NotOpened::Failed(error.into())),
    }
}

impl Known {
    fn ledger_with(&self, ask: &Ask<'_>, id: ApprovalId) -> Result<Put, Error> {
        let expect = self.ledger.as_ref().map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let kept = self.approvals.iter().map(|found| found.value.approval.id.clone());
        Ledger { agent: ask.agent.value.id.clone(), approvals: kept.chain([id]).collect() }.put(expect)
    }

    fn day_with_one_more(&self, human: &crate::name::HumanId, now: Timestamp) -> Result<Put, Error> {
        let expect = self.day.as_ref().map_or(Expect::Absent, |found| Expect::Current(found.revision));
        let day = day_of(now);
        let opened = self.day.as_ref().filter(|found| found.value.day == day).map_or(0, |found| found.value.opened);
        Day { human: human.clone(), day, opened: opened.saturating_add(1) }.put(expect)
    }
}

/// Days since 1970, UTC.
fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
}

fn asked(app: &App, approval: &Approval) -> Asked {
    Asked {
        approval: approval.id.clone(),
        page: app.approval_page.as_ref().map(|page| format!("{page}{}", approval.id)),
        code: Code::of(&app.digest_key, &approval.id),
        expires_at: approval.expires_at,
        risk: approval.risk.clone(),
    }
}

/// Stops the agent that asks too often, in one transaction with the record that tells why: it wears its human out, or is
/// no longer what she takes it for.
async fn freeze(app: &App, ask: &Ask<'_>, record: &mut AuditRecord) -> Result<Failure, Error> {
    let mut agent = ask.agent.to_owned();
    for _ in 0..ATTEMPTS {
        let error = Error::Denied { reason: Reason::ApprovalsExhausted };
        if agent.value.state != AgentState::Active {
            return Ok(Failure::Unrecorded(error));
        }
        agent.value.freeze(Stopped::by_aegis(record.at, record.id.clone()));
        tell(record, &error);
        let puts = vec![agent.replace()?, journal::put_timed(app, record)?];
        match app.store.transact(puts).await {
            Ok(()) => {
                tracing::warn!(agent = %agent.value.id, record = %record.id, "agent frozen: too many approvals asked for");
                return Ok(Failure::Recorded(error));
            }
            Err(StoreError::Conflict { .. }) => {
                let again = repository::load(app.store.as_ref(), &repository::agent_item(&agent.value.id)).await?;
                agent = again.ok_or(Error::NotFound { kind: "agent" })?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
