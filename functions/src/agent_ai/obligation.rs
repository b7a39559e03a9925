//! What must be done before a call is allowed, in the shape of AuthZEN's working group.

use crate::tools::{Refusal, Verdict};
use aegis_core::ambient::{DateTime, Timestamp};
use aegis_core::operations::access::Foretold;
use schemars::JsonSchema;
use serde::Serialize;

/// As the working group's profile of obligations writes one.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Obligation {
    /// Among those of one decision.
    id: &'static str,
    r#type: ObligationType,
    properties: StepUp,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ObligationType {
    StepUp,
}

/// A human approves the request itself; whoever asks logs in to nothing.
#[derive(JsonSchema, Serialize)]
struct StepUp {
    by: Approver,
    /// What to do, in words.
    how: &'static str,
    /// The approval, once the request has opened one.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<String>,
    /// The page on which she answers it, where the deployment has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    expires_at: Option<Timestamp>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Approver {
    HumanApproval,
}

impl Obligation {
    fn approved(how: &'static str) -> Self {
        let properties =
            StepUp { by: Approver::HumanApproval, how, approval: None, approval_url: None, expires_at: None };
        Self { id: "approval", r#type: ObligationType::StepUp, properties }
    }

    /// Of what would be decided.
    pub(super) fn foretold(decision: Foretold) -> Vec<Self> {
        match decision {
            Foretold::StepUp => vec![Self::approved(MAKE_IT)],
            Foretold::Allow | Foretold::Deny => Vec::new(),
        }
    }

    /// Of what was decided.
    pub(super) fn of(refusal: &Refusal) -> Vec<Self> {
        if !matches!(refusal.decision, Some(Verdict::StepUp)) {
            return Vec::new();
        }
        let (approval, approval_url, expires_at) = refusal.approval();
        let mut waits = Self::approved(HAND_IT_IN);
        waits.properties = StepUp { approval, approval_url, expires_at, ..waits.properties };
        vec![waits]
    }
}

const MAKE_IT: &str =
    "Make the request: it opens an approval for the agent's human, and is allowed, unchanged, once she has given it.";
const HAND_IT_IN: &str = "Have the agent's human answer the approval, then hand the same call in again.";
