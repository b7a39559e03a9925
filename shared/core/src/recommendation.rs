//! What a detector says of an agent, and what was done about it. Its JSON Schema is in `events/`.

use crate::ambient::{DateTime, Timestamp};
use crate::id::{AgentId, KeyId, RecommendationId, RecordId};
use crate::name::{HumanId, KeyRef};
use crate::operation::Operation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A detector's finding about one agent, with its evidence.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentRecommendation {
    pub id: RecommendationId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub detector: Detector,
    pub severity: Severity,
    pub agent: AgentId,
    /// The human behind the agent.
    pub sponsor: HumanId,
    pub evidence: Evidence,
    /// What the detector advises, the most fitting first.
    pub suggested_actions: Vec<ResponseAction>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// An agent asked for a key that does not exist.
    ScopeProbe,
    /// An agent asked for an existing key, or a use of it, that its scope does not hold.
    ScopeViolation,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Evidence {
    /// The audit records that show it.
    pub records: Vec<RecordId>,
    pub operation: Operation,
    /// The key as the agent named it.
    pub requested: KeyRef,
    /// The key that name led to; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseAction {
    /// Refuse the agent until its human or an operator unfreezes it.
    FreezeAgent,
    /// Refuse the agent, and all below it, for ever.
    RevokeAgent,
}

/// A response that was carried out, inline, with the decision.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Response {
    pub action: ResponseAction,
    pub agent: AgentId,
    /// The recommendation that caused it.
    pub cause: RecommendationId,
}
