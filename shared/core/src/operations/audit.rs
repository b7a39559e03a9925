//! Reading the audit trail. Each query is itself on record, once.

use super::aliases::resolve;
use super::listing::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{AgentId, KeyId, RecordId};
use crate::journal::{self, Search};
use crate::name::{HumanId, KeyRef};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Once, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::record::{AuditRecord, Outcome};
use crate::risk::Risk;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to find. All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// A human: her own records and those of every agent she ever sponsored. Or an agent's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9._@+:|-]{1,128}$"))]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Operation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
    /// Up to, not including.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// Only requests of at least this risk: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_risk: Option<f64>,
    /// 1 to 200; 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<RecordId>,
}

/// Records, newest first. A page may be short, even empty, and not the last.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditPage {
    pub items: Vec<AuditRecord>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<RecordId>,
}

/// Finds records: any, for those who may read all; a human's own and her agents', for herself. An agent is told less of each.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Denied`] for another human's records.
pub async fn query_audit(app: &App, permit: &Permit, query: &AuditQuery) -> Result<Done<AuditPage>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::invalid("limit", "it must lie between 1 and 200"));
    }
    if query.min_risk.is_some_and(|least| !(0.0..=1.0).contains(&least)) {
        return Err(Error::invalid("min_risk", "it must lie between 0 and 1"));
    }
    let search = search_for(app, permit, query).await?;
    let beginning = permit.facts().deployment.created_at;
    let page = journal::search(app.store.as_ref(), &search, beginning, app.clock.now(), limit).await?;
    let by_key = query.key.is_some();
    let told = page.records.into_iter().filter_map(|record| told(permit, record, by_key));
    // Of what is told, not of what is not.
    let told = told.filter(|record| query.min_risk.is_none_or(|least| record.risk.score >= least));
    let value = AuditPage { items: told.collect(), next_cursor: page.next };
    // The pages of a query, and its repetitions from a later moment on, are one read of whoever has this credential.
    // What reaches further back, or shows more at once, is another.
    let same = AuditQuery { since: None, limit: None, cursor: None, ..query.clone() };
    let read = format!("{} {same:?}", permit.facts().claims.jti);
    let once = Once {
        read: app.digest_key.digest(&[read.as_bytes()]),
        since: query.since,
        before: query.cursor.clone(),
        limit,
    };
    Ok(Done { note: Note { once: Some(once), ..Note::default() }, ..Done::read(value) })
}

async fn search_for(app: &App, permit: &Permit, query: &AuditQuery) -> Result<Search, Error> {
    let facts = permit.facts();
    let mut search = Search {
        agent: query.agent.clone(),
        operation: query.op,
        outcome: query.outcome,
        // Of what an agent is not told, neither what is found tells nor where a page ends.
        min_risk: query.min_risk.filter(|_| facts.chain.is_empty()),
        since: query.since,
        until: query.until,
        before: query.cursor.clone(),
        ..Search::default()
    };
    if let Some(actor) = &query.actor {
        match AgentId::try_from(actor.clone()) {
            Ok(agent) => search.agent = Some(agent),
            Err(_) => search.human = Some(actor.parse().map_err(|error| Error::invalid("actor", error))?),
        }
    }
    if facts.decide(Operation::AuditQuery, &Resource::Deployment, app.clock.now()).is_err() {
        let own: &HumanId = &facts.human.id;
        if search.human.as_ref().is_some_and(|human| human != own) {
            return Err(Error::Denied { reason: Reason::Policy });
        }
        // Only her own partition is walked: how much there is of a key or an agent is not hers to know.
        search.human = Some(own.clone());
        search.by_human = true;
    }
    if let Some(key) = &query.key {
        // A name that leads nowhere finds nothing, and takes as long.
        search.key = Some(resolve(app, key).await?.unwrap_or_else(KeyId::none));
    }
    Ok(search)
}

/// Shows one record.
///
/// # Errors
/// [`Error::NotFound`], also of what an agent is not told.
pub async fn get_record(app: &App, permit: &Permit, id: &RecordId) -> Result<Done<AuditRecord>, Error> {
    let found = journal::find(app.store.as_ref(), id).await?.and_then(|record| told(permit, record, false));
    Ok(Done::read(found.ok_or(Error::NotFound { kind: "record" })?))
}

/// What an agent may read of a record: not what detection made of it, which it might be about; nor which keys are traps, or
/// are not there. `by_key` says whether records of a key were asked for: then those of refusals would tell.
fn told(permit: &Permit, mut record: AuditRecord, by_key: bool) -> Option<AuditRecord> {
    if permit.facts().chain.is_empty() {
        return Some(record);
    }
    let of_detection = matches!(
        record.operation,
        Operation::BaselineGet
            | Operation::RecommendationDismiss
            | Operation::RecommendationGet
            | Operation::RecommendationList
            | Operation::RecommendationRaise
            | Operation::RecommendationUndo
            | Operation::ResponseAct
            | Operation::ResponseList
    );
    let refused = record.outcome != Outcome::Ok;
    if of_detection || by_key && refused {
        return None;
    }
    (record.recommendation, record.responses, record.suppressed) = (None, Vec::new(), Vec::new());
    record.risk.factors.clear();
    if refused {
        // It knows the key: its tier, and whether it is there.
        record.risk = Risk::default();
    }
    record.reason = record.reason.map(Reason::told);
    record.key = record.key.filter(|_| !refused);
    Some(record)
}
