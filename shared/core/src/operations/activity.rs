//! What an agent did, as it was told at the time. The audit trail says more: what a request led to, and what detectors
//! made of it, is not the agent's to know.

use super::listing::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{ApprovalId, KeyId, RecordId, RequestId};
use crate::journal::{self, Search};
use crate::name::KeyRef;
use crate::operation::Operation;
use crate::pipeline::{App, Done, Permit};
use crate::reason::Reason;
use crate::record::{AuditRecord, Decision, Outcome, Plane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to find of one's own past. All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityQuery {
    #[serde(default)]
    pub op: Option<Operation>,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
    /// Up to, not including.
    #[serde(default)]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// 1 to 200; 50 if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    #[serde(default)]
    pub cursor: Option<RecordId>,
}

/// Newest first. A page may be short, even empty, and not the last.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ActivityPage {
    pub items: Vec<Activity>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<RecordId>,
}

/// One request, as its answer told of it.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Activity {
    /// The record.
    pub id: RecordId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub operation: Operation,
    pub outcome: Outcome,
    pub decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The key that was used; of a refused request only its name is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_requested: Option<KeyRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    pub plane: Plane,
    pub request_id: RequestId,
    /// Whether it was only asked about.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub checked: bool,
}

impl Activity {
    fn of(record: AuditRecord) -> Self {
        Self {
            key: record.key.filter(|_| record.outcome == Outcome::Ok),
            id: record.id,
            at: record.at,
            operation: record.operation,
            outcome: record.outcome,
            decision: record.decision,
            reason: record.reason.map(Reason::told),
            key_requested: record.key_requested,
            key_version: record.key_version,
            approval: record.approval,
            plane: record.plane,
            request_id: record.request_id,
            checked: record.checked,
        }
    }
}

/// Finds what the agent that asks did. Nobody else's: not even what those below it did.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit.
pub async fn own_activity(app: &App, permit: &Permit, query: &ActivityQuery) -> Result<Done<ActivityPage>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::invalid("limit", "it must lie between 1 and 200"));
    }
    let agent = permit.facts().chain.first().ok_or(Error::Denied { reason: Reason::Policy })?;
    let search = Search {
        agent: Some(agent.value.id.clone()),
        operation: query.op,
        outcome: query.outcome,
        since: query.since,
        until: query.until,
        before: query.cursor.clone(),
        ..Search::default()
    };
    let page = journal::search(app.store.as_ref(), &search, agent.value.created_at, app.clock.now(), limit).await?;
    let own = page.records.into_iter().filter(|record| record.agents.first() == Some(&agent.value.id));
    Ok(Done::read(ActivityPage { items: own.map(Activity::of).collect(), next_cursor: page.next }))
}
