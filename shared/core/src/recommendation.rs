//! What a detector says of an agent or a human, and what was done about it. Its JSON Schema is in `events/`.

use crate::ambient::{DateTime, Timestamp};
use crate::id::{AgentId, CredentialId, KeyId, RecommendationId, RecordId};
use crate::name::{HumanId, KeyRef};
use crate::operation::Operation;
use crate::record::AuditRecord;
use crate::risk::Factor;
use crate::rules::Suppressed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A detector's finding about one actor, with its evidence.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentRecommendation {
    pub id: RecommendationId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub detector: Detector,
    pub severity: Severity,
    /// Absent where the finding is about the human herself, about all her agents, or about a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The human behind the agent; of a finding about a key the human who made the key.
    pub sponsor: HumanId,
    pub evidence: Evidence,
    /// What the detector advises, the most fitting first.
    pub suggested_actions: Vec<ResponseAction>,
}

impl AgentRecommendation {
    /// Whom or what it is about: the agent, the key, or else the human.
    pub fn subject(&self) -> &str {
        let key = self.evidence.key.as_ref().filter(|_| self.detector.is_about_a_key());
        let of = self.agent.as_ref().map(AgentId::as_str).or_else(|| key.map(KeyId::as_str));
        of.unwrap_or(self.sponsor.as_str())
    }
}

/// What looks for one kind of misuse. [`Detector::CanaryKey`] and [`Detector::ScopeViolation`] state facts, and so does
/// [`Detector::ScopeProbe`] of a key that does not exist; the others state what is unlikely.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Sub-agents are made faster than usual.
    AgentSpawnRate,
    /// Several agents of one human deviate at once.
    AgentsInConcert,
    /// A human denied what the agent asked leave for.
    ApprovalDenied,
    /// Somebody touched a key that nobody has reason to touch.
    CanaryKey,
    /// One credential is used from two places at once.
    CredentialShared,
    /// A human's credential works as fast as a machine.
    HumanMachineRate,
    /// Keys outside those the actor normally uses.
    KeySet,
    /// A key is used far more than usual, by several together of whom none alone explains it.
    KeyUsageSpike,
    /// More than usual for hours, at a rate that is not unusual at any moment.
    LowAndSlow,
    /// An operation the actor does not use on this key.
    NewOperation,
    /// A network or a client the actor has not used.
    NewSource,
    /// An hour in which the actor does not work.
    OffHours,
    /// An agent asked for a key that does not exist, or for many that it may not use.
    ScopeProbe,
    /// An agent asked for an existing key, or a use of it, that its scope does not hold.
    ScopeViolation,
    /// Faster than ever before.
    UsageSpike,
}

impl Detector {
    pub const ALL: [Self; 15] = [
        Self::AgentSpawnRate,
        Self::AgentsInConcert,
        Self::ApprovalDenied,
        Self::CanaryKey,
        Self::CredentialShared,
        Self::HumanMachineRate,
        Self::KeySet,
        Self::KeyUsageSpike,
        Self::LowAndSlow,
        Self::NewOperation,
        Self::NewSource,
        Self::OffHours,
        Self::ScopeProbe,
        Self::ScopeViolation,
        Self::UsageSpike,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentSpawnRate => "agent_spawn_rate",
            Self::AgentsInConcert => "agents_in_concert",
            Self::ApprovalDenied => "approval_denied",
            Self::CanaryKey => "canary_key",
            Self::CredentialShared => "credential_shared",
            Self::HumanMachineRate => "human_machine_rate",
            Self::KeySet => "key_set",
            Self::KeyUsageSpike => "key_usage_spike",
            Self::LowAndSlow => "low_and_slow",
            Self::NewOperation => "new_operation",
            Self::NewSource => "new_source",
            Self::OffHours => "off_hours",
            Self::ScopeProbe => "scope_probe",
            Self::ScopeViolation => "scope_violation",
            Self::UsageSpike => "usage_spike",
        }
    }

    /// Whether a finding is a fact, not a matter of likelihood: such a response has no blast-radius budget.
    pub fn states_a_fact(self) -> bool {
        matches!(self, Self::CanaryKey | Self::ScopeProbe | Self::ScopeViolation)
    }

    /// Whether a finding is about a key, whoever used it: nobody is to be stopped for it.
    pub fn is_about_a_key(self) -> bool {
        self == Self::KeyUsageSpike
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Evidence {
    /// The audit records that show it: all, or the first and the last of many.
    pub records: Vec<RecordId>,
    /// What was asked, where it is one thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The key as the agent named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<KeyRef>,
    /// The key that name led to; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The credential that was used, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// What was seen beside what was to be expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<Factor>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseAction {
    /// Tell people, and change nothing.
    Alert,
    /// The key only verifies and decrypts from now on.
    DeactivateKey,
    /// Refuse the agent, and all below it, for some time.
    Deny,
    /// Refuse the agent until its human or an operator unfreezes it.
    FreezeAgent,
    /// Refuse the agent, and all below it, for ever.
    RevokeAgent,
    /// Refuse the credential that was used.
    RevokeCredential,
    /// Revoke every agent under the human.
    RevokeFleet,
    /// A fresh version of the key signs and encrypts from now on.
    RotateKey,
    /// For some time a human approves each use.
    StepUp,
}

impl ResponseAction {
    pub const ALL: [Self; 9] = [
        Self::Alert,
        Self::DeactivateKey,
        Self::Deny,
        Self::FreezeAgent,
        Self::RevokeAgent,
        Self::RevokeCredential,
        Self::RevokeFleet,
        Self::RotateKey,
        Self::StepUp,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::DeactivateKey => "deactivate_key",
            Self::Deny => "deny",
            Self::FreezeAgent => "freeze_agent",
            Self::RevokeAgent => "revoke_agent",
            Self::RevokeCredential => "revoke_credential",
            Self::RevokeFleet => "revoke_fleet",
            Self::RotateKey => "rotate_key",
            Self::StepUp => "step_up",
        }
    }
}

/// How a response stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseOutcome {
    Done,
    /// The last try failed. It is tried again at `next_try`; without one it can never be done.
    Failed,
    Pending,
    /// It was done, and somebody took it back.
    Undone,
}

/// A response that was carried out.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Response {
    pub action: ResponseAction,
    /// Whom it stops, or whom people are told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The key it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The credential it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// The recommendation that caused it.
    pub cause: RecommendationId,
    /// The response rule that ordered it, and the version of the rules it stands in; 0 for those that Aegis ships with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default)]
    pub rules_version: u32,
}

impl Response {
    pub fn new(action: ResponseAction, cause: RecommendationId) -> Self {
        Self { action, agent: None, key: None, credential: None, until: None, cause, rule: None, rules_version: 0 }
    }
}

/// A recommendation as it is kept: what was done about it, and what people made of it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RecommendationRecord {
    #[serde(flatten)]
    pub recommendation: AgentRecommendation,
    /// The audit record that tells of it.
    pub record: RecordId,
    /// What was carried out with it; what takes longer follows, each on a record of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<Response>,
    /// What a rule ordered and was not done, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<Suppressed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dismissed: Option<Answered>,
    /// Since when what was done is undone, as far as it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Answered>,
}

impl RecommendationRecord {
    /// As `record` tells of it.
    pub(crate) fn new(recommendation: AgentRecommendation, record: &AuditRecord) -> Self {
        let (responses, suppressed) = (record.responses.clone(), record.suppressed.clone());
        Self { recommendation, record: record.id.clone(), responses, suppressed, dismissed: None, undone: None }
    }
}

/// Who said so, and when.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Answered {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub by: HumanId,
    pub record: RecordId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_json_is_the_name_in_text() {
        for detector in Detector::ALL {
            assert_eq!(serde_json::to_value(detector).unwrap(), detector.as_str());
        }
        for severity in Severity::ALL {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
        for action in ResponseAction::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
    }
}
