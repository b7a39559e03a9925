//! How severe a finding is, and what it advises.

use super::judge::Grade;
use aegis_core::recommendation::{ResponseAction, Severity};

/// What is far beyond anything seen is critical: the rules may stop somebody for it, within their budget. What a human
/// should be asked about first is high; the rest is told. The score is that of the evidence alone.
pub fn severity(grade: Grade, score: f64) -> Severity {
    match grade {
        Grade::Automatic => Severity::Critical,
        _ if score >= 0.65 => Severity::High,
        _ => Severity::Medium,
    }
}

/// What is advised about an agent, or about a human herself; the most fitting first.
pub fn suggested(severity: Severity, of_agent: bool) -> Vec<ResponseAction> {
    match (severity, of_agent) {
        (Severity::Critical, true) => vec![ResponseAction::FreezeAgent, ResponseAction::Alert],
        (Severity::Critical, false) => vec![ResponseAction::RevokeCredential, ResponseAction::Alert],
        (Severity::High, true) => vec![ResponseAction::StepUp, ResponseAction::Alert],
        _ => vec![ResponseAction::Alert],
    }
}
