//! Agents ask their humans for a wider grant. Following a request is changing the grant: [`super::agents::amend_agent`].

use super::listing::{PageOf, PageQuery, cursor_at};
use crate::access_request::{
    ALL_ACCESS_REQUESTS, AccessRequest, AccessRequestState, AskAccess, Asked, AskedDay, access_request_item,
    asked_day_item, asked_item, of_sponsor,
};
use crate::ambient::Timestamp;
use crate::approval::Answer;
use crate::error::Error;
use crate::id::{AccessRequestId, AgentId};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, Index, ItemKey, Order};

/// Asks the human of the agent that asks. What it asked before and waits, or was denied lately, is returned as it stands.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::LimitReached`] where too many wait, or too many were opened this day.
pub async fn ask(app: &App, permit: &Permit, input: &AskAccess) -> Result<Done<AccessRequest>, Error> {
    let (facts, now) = (permit.facts(), app.clock.now());
    let agent = &facts.chain.first().ok_or(Error::Denied { reason: Reason::Policy })?.value.id;
    input.check()?;
    let known = Known::read(app, permit, agent).await?;
    if let Some(same) = known.requests.iter().rev().find(|request| request.answers(input, now)) {
        let same = same.clone().as_of(now);
        return Ok(Done { note: about(&same), ..Done::read(same) });
    }
    if known.is_exhausted(permit, now) {
        return Err(Error::LimitReached { reason: Reason::AccessRequestsExhausted, retry_after: None });
    }
    let id = AccessRequestId::new(now, &app.entropy);
    let request = AccessRequest::new(id.clone(), agent.clone(), facts.human.id.clone(), input.clone(), now);
    let expect = |revision| match revision {
        Some(revision) => Expect::Current(revision),
        None => Expect::Absent,
    };
    let asked = known.asked.as_ref().map_or_else(Vec::new, |found| found.value.requests.clone());
    let day = AskedDay { human: facts.human.id.clone(), day: day_of(now), opened: known.opened(now).saturating_add(1) };
    let puts = vec![
        request.put(Expect::Absent)?,
        Asked { agent: agent.clone(), requests: asked }
            .with(id)
            .put(expect(known.asked.map(|found| found.revision)))?,
        day.put(expect(known.day.map(|found| found.revision)))?,
    ];
    Ok(Done { note: about(&request), value: request, puts })
}

/// Lists requests, newest first: all, for those who may see all; else those of the human's own agents.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor.
pub async fn list(app: &App, permit: &Permit, query: &PageQuery) -> Result<Done<PageOf<AccessRequest>>, Error> {
    let (limit, after) = (query.limit()?, query.position()?);
    let (facts, now) = (permit.facts(), app.clock.now());
    let sees_all = facts.decide(Operation::AccessRequestList, &Resource::Deployment, now).is_ok();
    let (index, partition) = match sees_all {
        true => (Index::First, ALL_ACCESS_REQUESTS.to_string()),
        false => (Index::Second, of_sponsor(&facts.human.id)),
    };
    let store = app.store.as_ref();
    let page = repository::list::<AccessRequest>(store, index, partition, Order::Descending, limit, after).await?;
    let items = page.items.into_iter().map(|request| request.as_of(now)).collect();
    Ok(Done::read(PageOf { items, next_cursor: page.next.as_ref().map(cursor_at) }))
}

/// Shows a request of the agent that the permit is about.
///
/// # Errors
/// [`Error::NotFound`], also for that of another agent.
pub async fn show(app: &App, permit: &Permit, id: &AccessRequestId) -> Result<Done<AccessRequest>, Error> {
    let request = load(app, &permit.agent()?.id, id).await?.value.as_of(app.clock.now());
    Ok(Done { note: about(&request), ..Done::read(request) })
}

/// Ends a request. The same is not asked again until its time is over.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::State`] unless it is pending.
pub async fn deny(app: &App, permit: &Permit, id: &AccessRequestId) -> Result<Done<AccessRequest>, Error> {
    let mut found = load(app, &permit.agent()?.id, id).await?;
    found.value.end(answer(app, permit, false))?;
    let puts = vec![found.replace()?];
    Ok(Done { note: about(&found.value), value: found.value, puts })
}

/// The request of this agent that a change of its grant follows, ended so.
///
/// # Errors
/// As [`deny`].
pub(super) async fn followed(
    app: &App,
    permit: &Permit,
    agent: &AgentId,
    id: &AccessRequestId,
) -> Result<Loaded<AccessRequest>, Error> {
    let mut found = load(app, agent, id).await?;
    found.value.end(answer(app, permit, true))?;
    Ok(found)
}

async fn load(app: &App, agent: &AgentId, id: &AccessRequestId) -> Result<Loaded<AccessRequest>, Error> {
    let found: Option<Loaded<AccessRequest>> = repository::load(app.store.as_ref(), &access_request_item(id)).await?;
    found.filter(|found| found.value.agent == *agent).ok_or(Error::NotFound { kind: "access request" })
}

fn answer(app: &App, permit: &Permit, approves: bool) -> Answer {
    let human = &permit.facts().human;
    let epoch = Some(human.epoch);
    Answer { human: human.id.clone(), at: app.clock.now(), approves, record: permit.id().clone(), epoch }
}

fn about(request: &AccessRequest) -> Note {
    Note { object: Some(request.id.to_string()), ..Note::default() }
}

/// What the agent asked for lately, and how much its human's agents asked for in this day.
struct Known {
    asked: Option<Loaded<Asked>>,
    day: Option<Loaded<AskedDay>>,
    /// The newest last.
    requests: Vec<AccessRequest>,
}

impl Known {
    async fn read(app: &App, permit: &Permit, agent: &AgentId) -> Result<Self, Error> {
        let (asked_item, day_item) = (asked_item(agent), asked_day_item(&permit.facts().human.id));
        let read = app.store.batch_get(&[asked_item.clone(), day_item.clone()]).await?;
        let asked: Option<Loaded<Asked>> = read.find(&asked_item).map(|found| repository::decode(found)).transpose()?;
        let day = read.find(&day_item).map(|found| repository::decode(found)).transpose()?;
        let items: Vec<ItemKey> =
            asked.iter().flat_map(|asked| &asked.value.requests).map(access_request_item).collect();
        let mut requests = Vec::with_capacity(items.len());
        if !items.is_empty() {
            let read = app.store.batch_get(&items).await?;
            for stored in items.iter().filter_map(|item| read.find(item)) {
                let found: Loaded<AccessRequest> = repository::decode(stored)?;
                requests.push(found.value);
            }
        }
        Ok(Self { asked, day, requests })
    }

    fn opened(&self, now: Timestamp) -> u32 {
        self.day.as_ref().filter(|found| found.value.day == day_of(now)).map_or(0, |found| found.value.opened)
    }

    /// Whether one more may not be opened: as many wait as approvals may.
    fn is_exhausted(&self, permit: &Permit, now: Timestamp) -> bool {
        let rules = &permit.facts().rules.approvals;
        let waits = |request: &&AccessRequest| request.state_at(now) == AccessRequestState::Pending;
        let pending = self.requests.iter().filter(waits).count();
        pending >= usize::try_from(rules.pending_per_agent).unwrap_or(usize::MAX)
            || self.opened(now) >= rules.per_human_a_day
    }
}

/// Days since 1970, UTC.
fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
}
