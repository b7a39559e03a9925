//! Approvals as humans see and answer them. What asks for one, and takes it, is the pipeline.

use super::listing::{PageOf, PageQuery, cursor_at};
use crate::agent::{Agent, Credential, Purpose};
use crate::ambient::Timestamp;
use crate::approval::{
    ALL_APPROVALS, Answer, Approval, ApprovalRecord, ApprovalState, Code, Kept, MAX_SHAPE_SECONDS, MAX_USES, Payload,
    Terms, approval_item, of_sponsor, show,
};
use crate::error::Error;
use crate::key::{KeyRecord, Tier};
use crate::name::{AgentLabel, KeyName};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit, approval_facts};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, Loaded};
use crate::store::{Index, Order, Put, Query, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which approvals to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalQuery {
    pub state: Option<ApprovalState>,
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
}

/// Lists approvals, newest first: all, for those who may see all; else those of the human's own agents. A page may be short,
/// even empty, and not the last.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor.
pub async fn list_approvals(
    app: &App,
    permit: &Permit,
    query: &ApprovalQuery,
) -> Result<Done<PageOf<Approval>>, Error> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let (limit, after) = (page.limit()?, page.position()?);
    let (facts, now) = (permit.facts(), app.clock.now());
    let sees_all = facts.decide(Operation::ApprovalList, &Resource::Deployment, now).is_ok();
    let (index, partition) = match sees_all {
        true => (Index::First, ALL_APPROVALS.to_string()),
        false => (Index::Second, of_sponsor(&facts.human.id)),
    };
    let query_store = Query {
        table: Table::State,
        index: Some(index),
        partition,
        from: None,
        below: None,
        order: Order::Descending,
        limit,
        after,
    };
    let found = app.store.query(&query_store).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for stored in &found.items {
        let record: Loaded<ApprovalRecord> = repository::decode(stored)?;
        let approval = record.value.approval.as_of(now);
        if query.state.is_none_or(|state| approval.state == state) {
            items.push(approval);
        }
    }
    Ok(Done::read(PageOf { items, next_cursor: found.next.as_ref().map(cursor_at) }))
}

/// An approval, and what would be done.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ApprovalDetail {
    #[serde(flatten)]
    pub approval: Approval,
    /// Absent for who may not answer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_label: Option<AgentLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_purpose: Option<Purpose>,
    /// The names that lead to the key now.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(default)]
    pub key_aliases: BTreeSet<KeyName>,
}

/// Shows an approval; to those who may answer it with the body of the request, while it waits.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Unavailable`].
pub async fn get_approval(app: &App, permit: &Permit) -> Result<Done<ApprovalDetail>, Error> {
    let (record, now) = (permit.approval()?, app.clock.now());
    let asked = Resource::Approval(approval_facts(&record.approval));
    let may_answer = permit.facts().decide(Operation::ApprovalApprove, &asked, now).is_ok();
    let payload = match may_answer {
        true => Some(payload(app, record, now).await?),
        false => None,
    };
    let approval = record.approval.clone().as_of(now);
    let agent: Option<Loaded<Agent>> =
        repository::load(app.store.as_ref(), &repository::agent_item(&approval.agent)).await?;
    let (agent_label, agent_purpose) = agent.map(|agent| (agent.value.label, agent.value.purpose)).unzip();
    let key: Option<Loaded<KeyRecord>> = match &approval.key {
        Some(id) => repository::load(app.store.as_ref(), &repository::key_item(id)).await?,
        None => None,
    };
    let key_aliases = key.map(|key| key.value.key.aliases).unwrap_or_default();
    Ok(Done::read(ApprovalDetail { approval, payload, agent_label, agent_purpose, key_aliases }))
}

async fn payload(app: &App, record: &ApprovalRecord, now: Timestamp) -> Result<Payload, Error> {
    Ok(match record.payload {
        // Nobody can answer it any more, though nobody has emptied it yet.
        _ if record.approval.state_at(now) == ApprovalState::Expired => Payload::Deleted,
        Kept::Deleted => Payload::Deleted,
        Kept::Sealed { .. } => record.body(app).await?.map_or(Payload::Deleted, |body| show(&body)),
        Kept::TooLarge { length } => Payload::TooLarge { length },
        Kept::Withheld { length } => Payload::Withheld { length },
    })
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// As the agent was shown it.
    #[schemars(length(max = 32))]
    pub code: String,
    /// Covers so many uses of this operation on this key, whatever their body. With `for_seconds` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub uses: Option<u32>,
    /// For so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 3600))]
    pub for_seconds: Option<u32>,
}

impl std::fmt::Debug for Approve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Approve")
            .field("uses", &self.uses)
            .field("for_seconds", &self.for_seconds)
            .finish_non_exhaustive()
    }
}

impl Approve {
    /// The bounds of a shape, if one is asked for.
    fn shape(&self) -> Result<Option<(u32, u32)>, Error> {
        match (self.uses, self.for_seconds) {
            (None, None) => Ok(None),
            (Some(uses), Some(_)) if !(1..=MAX_USES).contains(&uses) => {
                Err(Error::invalid("uses", "it must lie between 1 and 20"))
            }
            (Some(_), Some(seconds)) if !(60..=MAX_SHAPE_SECONDS).contains(&seconds) => {
                Err(Error::invalid("for_seconds", "it must lie between 60 and 3600"))
            }
            (Some(uses), Some(seconds)) => Ok(Some((uses, seconds))),
            _ => Err(Error::invalid("uses", "uses and for_seconds go together")),
        }
    }
}

/// Gives a human's leave, and ends the login that gave it. A wrong code is counted, and ends nothing but, at the fifth, the
/// approval.
///
/// # Errors
/// [`Error::Denied`] for a wrong code, and for who is not among the approvers; [`Error::State`]; [`Error::Invalid`].
pub async fn approve(app: &App, permit: &Permit, input: &Approve) -> Result<Done<Approval>, Error> {
    let mut found = load(app, permit).await?;
    let (facts, now) = (permit.facts(), app.clock.now());
    let (rules, human) = (&facts.rules.approvals, &facts.human.id);
    let approval = &mut found.value.approval;
    let is_named = rules.approvers.as_ref().is_none_or(|approvers| approvers.contains(human));
    if approval.tier == Some(Tier::High) && !is_named {
        return Err(Error::Denied { reason: Reason::Policy });
    }
    let terms = Terms { use_seconds: rules.use_seconds(), shape: input.shape()? };
    if !Code::of(&app.digest_key, &approval.id).matches(&input.code) {
        approval.count_wrong_code(now)?;
        let note = Note { denied: Some(Reason::ApprovalCode), ..Note::default() };
        return Ok(Done { value: found.value.approval.clone(), puts: found.writes()?, note });
    }
    approval.approve(answer(permit, true, now), terms)?;
    answered(app, permit, found).await
}

/// Refuses what is asked. One human is enough, and needs no code. Also takes back leave that is not used yet.
///
/// # Errors
/// [`Error::State`] for what is over.
pub async fn deny(app: &App, permit: &Permit) -> Result<Done<Approval>, Error> {
    let mut found = load(app, permit).await?;
    found.value.approval.deny(answer(permit, false, app.clock.now()))?;
    answered(app, permit, found).await
}

fn answer(permit: &Permit, approves: bool, at: Timestamp) -> Answer {
    let human = &permit.facts().human;
    Answer { human: human.id.clone(), at, approves, record: permit.id().clone(), epoch: Some(human.epoch) }
}

async fn answered(app: &App, permit: &Permit, found: Loaded<ApprovalRecord>) -> Result<Done<Approval>, Error> {
    let value = found.value.approval.clone();
    let mut puts = found.writes()?;
    puts.push(end_login(app, permit).await?);
    Ok(Done { value, puts, note: Note::default() })
}

/// As it is now: the permit's copy is of when the request came.
async fn load(app: &App, permit: &Permit) -> Result<Loaded<ApprovalRecord>, Error> {
    let found = repository::load(app.store.as_ref(), &approval_item(&permit.approval()?.approval.id)).await?;
    found.ok_or(Error::NotFound { kind: "approval" })
}

/// The write that ends the login: one answer, one login, also of two answers that come at once.
async fn end_login(app: &App, permit: &Permit) -> Result<Put, Error> {
    let item = repository::credential_item(&permit.facts().claims.jti);
    let found: Option<Loaded<Credential>> = repository::load(app.store.as_ref(), &item).await?;
    let unused = |found: &Loaded<Credential>| !found.value.revoked;
    let mut found = found.filter(unused).ok_or(Error::Denied { reason: Reason::ApprovalLogin })?;
    found.value.revoked = true;
    found.replace()
}
