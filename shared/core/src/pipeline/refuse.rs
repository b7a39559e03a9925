//! Refusals: recorded before they are answered, and where a rule says so with the agent stopped in the same write.

use super::facts::{Facts, Found, Target};
use super::{ATTEMPTS, App, Request};
use crate::agent::{Agent, Purpose};
use crate::error::{Chain, Error, Failed};
use crate::id::{RecommendationId, RecordId};
use crate::journal;
use crate::name::KeyRef;
use crate::reason::Reason;
use crate::recommendation::{AgentRecommendation, Detector, Evidence, RecommendationRecord, ResponseAction, Severity};
use crate::record::{AuditRecord, Decision, Outcome};
use crate::repository::Document;
use crate::response::{self, InForce};
use crate::risk::Risk;
use crate::rules::{PROBE, Trigger, VIOLATION};
use crate::store::{Expect, StoreError};
use crate::token::Claims;
use std::sync::Arc;

/// What is known when a request is refused.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    pub id: &'a RecordId,
    pub request: &'a Request<'a>,
    pub claims: &'a Claims,
    pub found: &'a Found,
    pub risk: Option<&'a Risk>,
    pub policy_version: u32,
}

/// Records that what the credential stands on is gone, and makes the answer.
pub(super) async fn unidentified(app: &App, refused: Refused<'_>, reason: Reason) -> Result<Failed, Error> {
    let mut record = AuditRecord { reason: Some(reason), ..refused.record(app, Outcome::Denied) };
    journal::append(app, &mut record).await?;
    tracing::info!(decision = "deny", reason = reason.as_str(), record = %record.id, "request refused");
    let error = match reason {
        Reason::AgentFrozen => Error::Denied { reason },
        _ => Error::Unauthenticated { reason },
    };
    Ok(Failed::recorded(error, record.id))
}

/// Records a request that was permitted in itself and fails all the same, and returns why it fails.
pub(super) async fn failed(app: &App, refused: Refused<'_>, error: Error) -> Result<Failed, Error> {
    let (outcome, reason) = match &error {
        Error::Denied { reason } | Error::LimitReached { reason, .. } => (Outcome::Denied, Some(*reason)),
        Error::FreshLoginNeeded { .. } => (Outcome::Denied, Some(Reason::StaleLogin)),
        _ => (Outcome::Error, None),
    };
    let mut record = AuditRecord { reason, error: Some(error.to_string()), ..refused.record(app, outcome) };
    journal::append(app, &mut record).await?;
    tracing::info!(decision = "deny", error = %Chain(&error), record = %record.id, "request refused");
    Ok(Failed::recorded(error, record.id))
}

/// Records a denial. Where an agent left its scope, or touched a canary, it is stopped in the same transaction, so that its next request is
/// refused without waiting for any stream.
pub(super) async fn denied(app: &App, refused: Refused<'_>, facts: &Facts, reason: Reason) -> Result<Failed, Error> {
    let mut record = AuditRecord { reason: Some(reason), ..refused.record(app, Outcome::Denied) };
    let violation = match reason {
        Reason::CanaryKey => Some((Detector::CanaryKey, Severity::Critical)),
        Reason::ScopeViolation => Some((Detector::ScopeViolation, VIOLATION)),
        Reason::ScopeProbe => Some((Detector::ScopeProbe, PROBE)),
        _ => None,
    };
    match (violation, facts.chain.first()) {
        (Some((detector, severity)), Some(agent)) => {
            let tier = match refused.found {
                Found::Key { record: Some(record), .. } => Some(record.value.key.tier),
                _ => None,
            };
            let trigger = Trigger { detector, severity, subject: agent.value.purpose.into(), tier };
            let in_force = InForce { rules: Arc::clone(&facts.rules), version: facts.deployment.rules_version };
            respond(app, record, &agent.value, trigger, &in_force).await?;
        }
        _ => journal::append(app, &mut record).await?,
    }
    tracing::info!(decision = "deny", reason = reason.as_str(), record = %refused.id, "request refused");
    Ok(Failed::recorded(Error::Denied { reason: reason.told() }, refused.id.clone()))
}

/// Writes the record with its recommendation, and what the rules order about it in the same transaction.
async fn respond(
    app: &App,
    mut record: AuditRecord,
    agent: &Agent,
    trigger: Trigger,
    in_force: &InForce,
) -> Result<(), Error> {
    let suggested = match agent.purpose {
        _ if trigger.detector == Detector::CanaryKey => ResponseAction::RevokeAgent,
        Purpose::Interactive => ResponseAction::RevokeAgent,
        Purpose::Appliance | Purpose::Service => ResponseAction::FreezeAgent,
    };
    let recommendation = AgentRecommendation {
        id: RecommendationId::new(record.at, &app.entropy),
        at: record.at,
        detector: trigger.detector,
        severity: trigger.severity,
        agent: Some(agent.id.clone()),
        sponsor: agent.sponsor.clone(),
        evidence: Evidence {
            records: vec![record.id.clone()],
            operation: Some(record.operation),
            requested: record.key_requested.clone(),
            key: record.key.clone(),
            credential: record.credential.clone(),
            factors: Vec::new(),
        },
        suggested_actions: vec![suggested],
    };
    record.recommendation = Some(recommendation.clone());
    for attempt in 0..ATTEMPTS {
        // Another request may have been stopped at the same moment: then this one is on record, too, and changes nothing.
        let orders = response::decide(app, in_force, &trigger, &recommendation).await?;
        let carried = response::carry_out(app, &recommendation, &record.id, &orders).await?;
        (record.responses, record.suppressed) = (carried.responses, orders.suppressed);
        let mut puts = carried.puts;
        // Many that are stopped at once must not keep each other from it: rather none of them is counted.
        puts.extend(orders.ledger.filter(|_| attempt < ATTEMPTS / 2));
        puts.push(RecommendationRecord::new(recommendation.clone(), &record).put(Expect::Absent)?);
        puts.push(journal::put_timed(app, &mut record)?);
        match app.store.transact(puts).await {
            Ok(()) => {
                let done = record.responses.iter().map(|done| done.action.as_str()).collect::<Vec<_>>().join(", ");
                tracing::warn!(agent = %agent.id, responses = done, record = %record.id, "agent left its scope");
                return Ok(());
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

impl Refused<'_> {
    fn record(&self, app: &App, outcome: Outcome) -> AuditRecord {
        let mut record = begin_record(app, self.request, self.id.clone(), self.claims, self.found);
        record.outcome = outcome;
        record.decision = Decision::Deny;
        record.policy_version = self.policy_version;
        record.risk = self.risk.cloned().unwrap_or_default();
        record
    }
}

/// A record with everything that the request itself tells.
pub(super) fn begin_record(
    app: &App,
    request: &Request<'_>,
    id: RecordId,
    claims: &Claims,
    found: &Found,
) -> AuditRecord {
    let (key, key_requested) = match found {
        Found::Key { requested, record, .. } => {
            (record.as_ref().map(|record| record.value.key.id.clone()), Some(requested.clone()))
        }
        Found::Approval { approval: Some(approval), .. } => (approval.value.approval.key.clone(), None),
        _ => (None, None),
    };
    let key_requested = key_requested.or_else(|| match &request.target {
        Target::Key(requested) => Some(requested.clone()),
        _ => None::<KeyRef>,
    });
    let object = match &request.target {
        Target::Agent(id) => Some(id.to_string()),
        Target::Credential(id) => Some(id.to_string()),
        Target::Human(id) => Some(id.to_string()),
        Target::Record(id) => Some(id.to_string()),
        // The agent that asked: what is answered is told of it, too.
        Target::Approval(_) => match found {
            Found::Approval { approval: Some(approval), .. } => Some(approval.value.approval.agent.to_string()),
            _ => None,
        },
        Target::Deployment | Target::Key(_) | Target::Own | Target::Unreadable { .. } => None,
    };
    let approval = match &request.target {
        Target::Approval(id) => Some(id.clone()),
        _ => None,
    };
    let at = request.arrived_at;
    AuditRecord {
        human: Some(claims.sub.clone()),
        agents: claims.act.as_ref().map(|act| act.chain()).unwrap_or_default(),
        purpose: claims.purpose,
        credential: Some(claims.jti.clone()),
        request_digest: request.body.map(|body| app.digest_key.request(request.operation.as_str(), key.as_ref(), body)),
        key,
        key_requested,
        object,
        approval,
        source: Some(request.source),
        user_agent: AuditRecord::kept_user_agent(request.user_agent),
        claims: request.claims.cloned(),
        ..AuditRecord::new(id, at, request.operation, request.plane, request.id.clone())
    }
}
