//! A human's denial is held against the agent that asked: what she did not want is the nearest thing to a complaint. So is a fifth
//! code that is not the agent's, which denies as well.

use super::{answer, is_no_news};
use aegis_core::approval::{ApprovalRecord, ApprovalState, MAX_WRONG_CODES, approval_item};
use aegis_core::error::Error;
use aegis_core::id::RecommendationId;
use aegis_core::operation::Operation;
use aegis_core::pipeline::App;
use aegis_core::reason::Reason;
use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, ResponseAction, Severity};
use aegis_core::record::{AuditRecord, Outcome};
use aegis_core::repository::{self, Loaded};

/// Whether the record may tell of one.
pub(super) fn may_be(record: &AuditRecord) -> bool {
    match (record.operation, record.outcome) {
        (Operation::ApprovalDeny, Outcome::Ok) => true,
        (Operation::ApprovalApprove, Outcome::Denied) => is_of_code(record),
        _ => false,
    }
}

fn is_of_code(record: &AuditRecord) -> bool {
    record.reason == Some(Reason::ApprovalCode)
}

/// Raises it, once for each approval, however often its record comes.
///
/// # Errors
/// [`Error::Contended`]; [`Error::Unavailable`].
pub(super) async fn raise(app: &App, denial: &AuditRecord) -> Result<(), Error> {
    let Some(id) = denial.approval.as_ref().filter(|_| !is_no_news(app, denial.at)) else { return Ok(()) };
    let found: Option<Loaded<ApprovalRecord>> = repository::load(app.store.as_ref(), &approval_item(id)).await?;
    let approval = found.ok_or(Error::NotFound { kind: "approval" })?.value.approval;
    let is_of_code = is_of_code(denial);
    let by_code = approval.state == ApprovalState::Denied && approval.wrong_codes >= MAX_WRONG_CODES;
    if is_of_code && !by_code {
        return Ok(());
    }
    // Which of the codes was the fifth, no record of one says: of all of them it is the same.
    let at = if is_of_code { approval.created_at } else { denial.at };
    let recommendation = AgentRecommendation {
        id: RecommendationId::derived(at, &format!("{}/{id}", Detector::ApprovalDenied.as_str())),
        at: app.clock.now(),
        detector: Detector::ApprovalDenied,
        severity: Severity::High,
        agent: Some(approval.agent.clone()),
        sponsor: approval.sponsor,
        evidence: Evidence {
            records: vec![denial.id.clone()],
            operation: Some(approval.operation),
            requested: None,
            key: approval.key,
            credential: None,
            // Why she was asked.
            factors: approval.risk.factors,
        },
        suggested_actions: vec![ResponseAction::StepUp, ResponseAction::Alert],
    };
    answer(app, approval.agent.as_str(), recommendation).await
}
