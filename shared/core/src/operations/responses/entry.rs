//! One response as it is listed: what an audit record says was done, and how that stands now.

use crate::agent::{Agent, AgentState};
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::human::Human;
use crate::id::{AgentId, CredentialId, KeyId, RecommendationId, RecordId};
use crate::key::KeyRecord;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::recommendation::{Detector, RecommendationRecord, Response, ResponseAction, ResponseOutcome, Severity};
use crate::record::{AuditRecord, Outcome, Plane};
use crate::repository::{self, decode};
use crate::response::PendingResponse;
use crate::store::{ItemKey, Items};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that was done about misuse, or is to be done.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ResponseEntry {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    /// The audit record that tells of it, or of its being ordered.
    pub record: RecordId,
    pub action: Taken,
    pub outcome: ResponseOutcome,
    /// What caused it; absent where a human ordered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<RecommendationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<Detector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Whom or what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// Whom a human revoked, or whose agents all are to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human: Option<HumanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// What caused it, where that was no recommendation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The human who ordered it; absent where a rule did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_by: Option<HumanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of the rules it stands in; 0 for those that Aegis ships with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_version: Option<u32>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub next_try: Option<Timestamp>,
}

/// What was done: by a rule, or by a human who may do more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    Alert,
    /// Its material may be known to others: it verifies and decrypts what is old.
    CompromiseKey,
    DeactivateKey,
    Deny,
    FreezeAgent,
    RevokeAgent,
    RevokeCredential,
    RevokeFleet,
    RevokeHuman,
    RotateKey,
    StepUp,
    SuspendKey,
}

impl From<ResponseAction> for Taken {
    fn from(action: ResponseAction) -> Self {
        match action {
            ResponseAction::Alert => Self::Alert,
            ResponseAction::DeactivateKey => Self::DeactivateKey,
            ResponseAction::Deny => Self::Deny,
            ResponseAction::FreezeAgent => Self::FreezeAgent,
            ResponseAction::RevokeAgent => Self::RevokeAgent,
            ResponseAction::RevokeCredential => Self::RevokeCredential,
            ResponseAction::RevokeFleet => Self::RevokeFleet,
            ResponseAction::RotateKey => Self::RotateKey,
            ResponseAction::StepUp => Self::StepUp,
        }
    }
}

/// The items that say how the responses of a record stand.
pub(super) fn needs(record: &AuditRecord) -> Vec<ItemKey> {
    let mut items = Vec::new();
    for response in &record.responses {
        items.push(repository::recommendation_item(&response.cause));
        items.extend(response.agent.as_ref().map(repository::agent_item));
    }
    if let Some(recommendation) = &record.recommendation {
        items.push(repository::recommendation_item(&recommendation.id));
        items.extend(PendingResponse::ACTIONS.map(|action| PendingResponse::item(&recommendation.id, action)));
    }
    if let Some(entry) = ordered(record).or_else(|| exhausted(record)) {
        items.extend(entry.agent.as_ref().map(repository::agent_item));
        items.extend(entry.human.as_ref().map(repository::human_item));
        items.extend(entry.key.as_ref().map(repository::key_item));
    }
    items
}

/// The responses a record tells of: what was carried out with it, then what it ordered that is not done yet.
pub(super) fn entries(record: &AuditRecord, known: &Items, now: Timestamp) -> Result<Vec<ResponseEntry>, Error> {
    let mut entries = Vec::new();
    for response in &record.responses {
        entries.push(carried_out(record, response, known, now)?);
    }
    let raised = record.recommendation.iter();
    for (cause, action) in raised.flat_map(|cause| PendingResponse::ACTIONS.map(|action| (cause, action))) {
        let pending: Option<PendingResponse> = find(known, &PendingResponse::item(&cause.id, action))?;
        let Some(pending) = pending else { continue };
        if let Some((outcome, next_try)) = pending.not_done() {
            let human = (action == ResponseAction::RevokeFleet).then(|| cause.sponsor.clone());
            entries.push(ResponseEntry { outcome, next_try, human, ..of_rule(record, pending.response(), known)? });
        }
    }
    if let Some(entry) = ordered(record).or_else(|| exhausted(record)) {
        entries.push(ResponseEntry { outcome: stands(&entry, known)?, ..entry });
    }
    Ok(entries)
}

fn carried_out(
    record: &AuditRecord,
    response: &Response,
    known: &Items,
    now: Timestamp,
) -> Result<ResponseEntry, Error> {
    let entry = of_rule(record, response, known)?;
    let cause: Option<RecommendationRecord> = find(known, &repository::recommendation_item(&response.cause))?;
    let holds = |agent: &Agent| agent.holds.iter().any(|hold| hold.cause == response.cause);
    let outcome = match response.action {
        ResponseAction::FreezeAgent => stands(&entry, known)?,
        // A hold that is over ended by itself.
        ResponseAction::Deny | ResponseAction::StepUp if response.until.is_none_or(|until| now < until) => {
            let agent: Option<Agent> = match &response.agent {
                Some(agent) => find(known, &repository::agent_item(agent))?,
                None => None,
            };
            let undone = cause.is_some_and(|cause| cause.undone.is_some());
            match agent {
                Some(agent) if undone && !holds(&agent) => ResponseOutcome::Undone,
                _ => ResponseOutcome::Done,
            }
        }
        _ => ResponseOutcome::Done,
    };
    Ok(ResponseEntry { outcome, ..entry })
}

/// What a rule ordered.
fn of_rule(record: &AuditRecord, response: &Response, known: &Items) -> Result<ResponseEntry, Error> {
    let cause: Option<RecommendationRecord> = find(known, &repository::recommendation_item(&response.cause))?;
    let cause = cause.map(|cause| cause.recommendation);
    Ok(ResponseEntry {
        recommendation: Some(response.cause.clone()),
        detector: cause.as_ref().map(|cause| cause.detector),
        severity: cause.as_ref().map(|cause| cause.severity),
        agent: response.agent.clone(),
        credential: response.credential.clone(),
        key: response.key.clone(),
        until: response.until,
        rule: response.rule.clone(),
        rules_version: Some(response.rules_version),
        ..blank(record, response.action.into())
    })
}

/// What a human ordered; `None` for records of anything else. Who ends a session of her own responds to nothing.
fn ordered(record: &AuditRecord) -> Option<ResponseEntry> {
    let by_human = record.plane != Plane::Internal && record.agents.is_empty() && record.outcome == Outcome::Ok;
    let ordered_by = record.human.clone().filter(|_| by_human)?;
    let object = record.object.clone().unwrap_or_default();
    let entry = |action| ResponseEntry { ordered_by: Some(ordered_by), ..blank(record, action) };
    let of_key = |entry: ResponseEntry| record.key.clone().map(|key| ResponseEntry { key: Some(key), ..entry });
    match record.operation {
        Operation::AgentFreeze => {
            Some(ResponseEntry { agent: Some(object.try_into().ok()?), ..entry(Taken::FreezeAgent) })
        }
        Operation::AgentRevoke => {
            Some(ResponseEntry { agent: Some(object.try_into().ok()?), ..entry(Taken::RevokeAgent) })
        }
        Operation::CredentialRevoke => {
            let credential = CredentialId::try_from(object).ok();
            let credential = credential.filter(|credential| record.credential.as_ref() != Some(credential))?;
            Some(ResponseEntry { credential: Some(credential), ..entry(Taken::RevokeCredential) })
        }
        Operation::HumanRevoke => {
            Some(ResponseEntry { human: Some(object.parse().ok()?), ..entry(Taken::RevokeHuman) })
        }
        Operation::KeyCompromise => of_key(entry(Taken::CompromiseKey)),
        Operation::KeyDeactivate => of_key(entry(Taken::DeactivateKey)),
        Operation::KeySuspend => of_key(entry(Taken::SuspendKey)),
        _ => None,
    }
}

/// The one response that follows from no recommendation: an agent that asked for too many approvals is frozen.
fn exhausted(record: &AuditRecord) -> Option<ResponseEntry> {
    let agent = record.agents.first().filter(|_| record.reason == Some(Reason::ApprovalsExhausted))?;
    Some(ResponseEntry { agent: Some(agent.clone()), reason: record.reason, ..blank(record, Taken::FreezeAgent) })
}

/// Whether what can be taken back still holds.
fn stands(entry: &ResponseEntry, known: &Items) -> Result<ResponseOutcome, Error> {
    let undone = match (entry.action, &entry.agent, &entry.human, &entry.key) {
        (Taken::FreezeAgent, Some(agent), _, _) => {
            let agent: Option<Agent> = find(known, &repository::agent_item(agent))?;
            // Frozen by a later record: it was freed in between. Revoked since: it was not taken back, but followed by more.
            let again = |agent: &Agent| agent.stopped.as_ref().is_some_and(|stopped| stopped.record > entry.record);
            agent.is_some_and(|agent| match agent.state {
                AgentState::Active => true,
                AgentState::Frozen => again(&agent),
                AgentState::Revoked => false,
            })
        }
        (Taken::RevokeHuman, _, Some(human), _) => {
            let human: Option<Human> = find(known, &repository::human_item(human))?;
            human.is_some_and(|human| !human.revoked)
        }
        (Taken::SuspendKey, _, _, Some(key)) => {
            let key: Option<KeyRecord> = find(known, &repository::key_item(key))?;
            key.is_some_and(|key| !key.key.suspended)
        }
        _ => false,
    };
    Ok(if undone { ResponseOutcome::Undone } else { ResponseOutcome::Done })
}

fn blank(record: &AuditRecord, action: Taken) -> ResponseEntry {
    ResponseEntry {
        at: record.at,
        record: record.id.clone(),
        action,
        outcome: ResponseOutcome::Done,
        recommendation: None,
        detector: None,
        severity: None,
        agent: None,
        credential: None,
        human: None,
        key: None,
        until: None,
        reason: None,
        ordered_by: None,
        rule: None,
        rules_version: None,
        next_try: None,
    }
}

fn find<D: DeserializeOwned>(known: &Items, item: &ItemKey) -> Result<Option<D>, Error> {
    known.find(item).map(|stored| Ok(decode(stored)?.value)).transpose()
}
