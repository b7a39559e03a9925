//! A human's denial is held against the agent that asked: what she did not want is the nearest thing to a complaint.

use super::{answer, is_no_news};
use aegis_core::approval::{ApprovalRecord, approval_item};
use aegis_core::error::Error;
use aegis_core::id::RecommendationId;
use aegis_core::pipeline::App;
use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, ResponseAction, Severity};
use aegis_core::record::AuditRecord;
use aegis_core::repository::{self, Loaded};

/// Raises it, once for each approval, however often its record comes.
///
/// # Errors
/// [`Error::Contended`]; [`Error::Unavailable`].
pub(super) async fn raise(app: &App, denial: &AuditRecord) -> Result<(), Error> {
    let Some(id) = denial.approval.as_ref().filter(|_| !is_no_news(app, denial.at)) else { return Ok(()) };
    let found: Option<Loaded<ApprovalRecord>> = repository::load(app.store.as_ref(), &approval_item(id)).await?;
    let approval = found.ok_or(Error::NotFound { kind: "approval" })?.value.approval;
    let recommendation = AgentRecommendation {
        id: RecommendationId::derived(denial.at, &format!("{}/{id}", Detector::ApprovalDenied.as_str())),
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
