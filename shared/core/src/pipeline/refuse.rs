//! Refusals: recorded before they are answered, and where a rule says so with the agent stopped in the same write.

use super::facts::{Facts, Found, Target};
use super::{ATTEMPTS, App, Request};
use crate::agent::{Agent, AgentState, Purpose, Stopped};
use crate::error::{Error, Failed};
use crate::id::{RecommendationId, RecordId};
use crate::journal;
use crate::name::KeyRef;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::recommendation::{AgentRecommendation, Detector, Evidence, Response, ResponseAction, Severity};
use crate::record::{AuditRecord, Decision, Outcome};
use crate::repository::{self, Loaded};
use crate::risk::Risk;
use crate::store::StoreError;
use crate::token::Claims;

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
    Ok(Failed { error, record: Some(record.id) })
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
    tracing::info!(decision = "deny", error = %error, record = %record.id, "request refused");
    Ok(Failed { error, record: Some(record.id) })
}

/// Records a denial. Where an agent left its scope it is stopped in the same transaction, so that its next request is
/// refused without waiting for any stream.
pub(super) async fn denied(app: &App, refused: Refused<'_>, facts: &Facts, reason: Reason) -> Result<Failed, Error> {
    let mut record = AuditRecord { reason: Some(reason), ..refused.record(app, Outcome::Denied) };
    let violation = match reason {
        Reason::ScopeViolation => Some((Detector::ScopeViolation, Severity::High)),
        Reason::ScopeProbe => Some((Detector::ScopeProbe, Severity::Medium)),
        _ => None,
    };
    match (violation, facts.chain.first()) {
        (Some((detector, severity)), Some(agent)) => {
            let finding = Finding { detector, severity, operation: refused.request.operation };
            respond(app, record, agent.to_owned(), facts.chain.get(1).map(Loaded::to_owned), finding).await?;
        }
        _ => journal::append(app, &mut record).await?,
    }
    tracing::info!(decision = "deny", reason = reason.as_str(), record = %refused.id, "request refused");
    Ok(Failed { error: Error::Denied { reason: reason.told() }, record: Some(refused.id.clone()) })
}

struct Finding {
    detector: Detector,
    severity: Severity,
    operation: Operation,
}

/// Writes the record with its recommendation, and stops the agent in the same transaction. The agent that made it is frozen
/// with it: otherwise it could send one sub-agent after the other out of scope.
async fn respond(
    app: &App,
    mut record: AuditRecord,
    mut agent: Loaded<Agent>,
    mut parent: Option<Loaded<Agent>>,
    finding: Finding,
) -> Result<(), Error> {
    let id = RecommendationId::new(record.at, &app.entropy);
    // One answer for a key that exists and for one that does not: otherwise the response would tell which it was.
    let action = match agent.value.purpose {
        Purpose::Interactive => ResponseAction::RevokeAgent,
        Purpose::Appliance | Purpose::Service => ResponseAction::FreezeAgent,
    };
    record.recommendation = record.key_requested.clone().map(|requested| AgentRecommendation {
        id: id.clone(),
        at: record.at,
        detector: finding.detector,
        severity: finding.severity,
        agent: Some(agent.value.id.clone()),
        sponsor: agent.value.sponsor.clone(),
        evidence: Evidence {
            records: vec![record.id.clone()],
            operation: Some(finding.operation),
            requested: Some(requested),
            key: record.key.clone(),
            credential: record.credential.clone(),
            factors: Vec::new(),
        },
        suggested_actions: vec![action],
    });
    for _ in 0..ATTEMPTS {
        if agent.value.state != AgentState::Active {
            // Another request was stopped at the same moment; this one is on record, too.
            record.responses.clear();
            return journal::append(app, &mut record).await;
        }
        let stopped = Stopped { at: record.at, by: "aegis".to_string(), record: record.id.clone() };
        match action {
            ResponseAction::RevokeAgent => agent.value.revoke(stopped),
            _ => {
                agent.value.state = AgentState::Frozen;
                agent.value.stopped = Some(stopped);
            }
        }
        record.responses = vec![Response { agent: Some(agent.value.id.clone()), ..Response::new(action, id.clone()) }];
        let mut puts = vec![agent.replace()?];
        if let Some(parent) = parent.as_mut().filter(|parent| parent.value.state == AgentState::Active) {
            parent.value.state = AgentState::Frozen;
            parent.value.stopped = agent.value.stopped.clone();
            puts.push(parent.replace()?);
            let action = ResponseAction::FreezeAgent;
            record
                .responses
                .push(Response { agent: Some(parent.value.id.clone()), ..Response::new(action, id.clone()) });
        }
        puts.push(journal::put_timed(app, &mut record)?);
        match app.store.transact(puts).await {
            Ok(()) => {
                tracing::warn!(agent = %agent.value.id, action = ?action, record = %record.id, "agent stopped");
                return Ok(());
            }
            Err(StoreError::Conflict { .. }) => {
                let again = repository::load(app.store.as_ref(), &repository::agent_item(&agent.value.id)).await?;
                agent = again.ok_or(Error::NotFound { kind: "agent" })?;
                if let Some(old) = parent {
                    parent = repository::load(app.store.as_ref(), &repository::agent_item(&old.value.id)).await?;
                }
            }
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
        credential: Some(claims.jti.clone()),
        request_digest: Some(app.digest_key.request(request.operation.as_str(), key.as_ref(), request.body)),
        key,
        key_requested,
        object,
        approval,
        source: Some(request.source),
        user_agent: AuditRecord::kept_user_agent(request.user_agent),
        ..AuditRecord::new(id, at, request.operation, request.plane, request.id.clone())
    }
}
