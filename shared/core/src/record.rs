//! The audit record: who did what, with which key, and why it was allowed or refused. Never payloads, tokens or keys.

use crate::agent::Purpose;
use crate::ambient::{DateTime, Timestamp};
use crate::id::{AgentId, ApprovalId, CredentialId, KeyId, RecordId, RequestId};
use crate::name::{HumanId, KeyRef};
use crate::operation::Operation;
use crate::reason::Reason;
use crate::recommendation::{AgentRecommendation, Response};
use crate::risk::Risk;
use crate::rules::Suppressed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Largest encoded record, in bytes (DESIGN §7).
pub const MAX_RECORD: usize = 16 * 1024;
/// Longest user agent kept, in bytes.
const MAX_USER_AGENT: usize = 256;
/// Longest claim kept, in characters.
const MAX_CLAIM: usize = 128;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AuditRecord {
    /// Also the id of the permit.
    pub id: RecordId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub operation: Operation,
    pub outcome: Outcome,
    pub decision: Decision,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The stable code of the error, where one was returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The human behind the request; absent in a summary of requests without a verified principal, and
    /// for what the deployment did at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<HumanId>,
    /// The agent that asked, then the agents above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentId>,
    /// Of the agent that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The key as the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_requested: Option<KeyRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_version: Option<u32>,
    /// What the key's back end calls the calls that it answered: of AWS KMS, the request ids that CloudTrail has. Of a call that
    /// was made anew because no answer came, the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_requests: Vec<String>,
    /// What else was acted upon: an agent, a credential, a human, a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The approval that was asked for, used or answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    pub plane: Plane,
    /// Absent for what Aegis does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What the caller says of itself. Nobody checked it, and nothing was decided on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claimed>,
    pub request_id: RequestId,
    /// Keyed digest (HMAC-SHA-256, hex) of the operation, the key and the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<String>,
    /// The version of the policy that decided.
    pub policy_version: u32,
    pub risk: Risk,
    /// Microseconds from the request's arrival until this record was written out.
    pub latency_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<AgentRecommendation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<Response>,
    /// Whether the use was only asked about, as `access.check` does, and would have been refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checked: bool,
    /// What a rule ordered and was not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<Suppressed>,
    /// How many requests a summary stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl AuditRecord {
    /// Whether it tells of somebody's behaviour. What Aegis does by itself does not, whoever it does it for; nor does what is asked
    /// with a credential that no longer stands, by whoever has it. An agent that looks at keys beyond its scope searches for some.
    pub fn is_sighted(&self) -> bool {
        let searches = self.operation == Operation::KeyGet
            && !self.agents.is_empty()
            && matches!(self.reason, Some(Reason::ScopeProbe | Reason::ScopeViolation));
        self.plane != Plane::Internal
            && (self.operation.is_sighted() || searches)
            && !self.reason.is_some_and(Reason::is_of_principal)
    }

    /// A record of something allowed and done, with nothing else known of it.
    pub fn new(id: RecordId, at: Timestamp, operation: Operation, plane: Plane, request_id: RequestId) -> Self {
        Self {
            id,
            at,
            operation,
            outcome: Outcome::Ok,
            decision: Decision::Allow,
            reason: None,
            error: None,
            human: None,
            agents: Vec::new(),
            purpose: None,
            credential: None,
            key: None,
            key_requested: None,
            key_version: None,
            object: None,
            approval: None,
            plane,
            source: None,
            user_agent: None,
            claims: None,
            request_id,
            request_digest: None,
            policy_version: 0,
            risk: Risk::default(),
            latency_us: 0,
            recommendation: None,
            responses: Vec::new(),
            checked: false,
            backend_requests: Vec::new(),
            suppressed: Vec::new(),
            count: None,
        }
    }

    /// The user agent as it is kept: cut to a bounded length.
    pub fn kept_user_agent(text: Option<&str>) -> Option<String> {
        text.map(|text| text.chars().take(MAX_USER_AGENT).collect())
    }
}

/// What a host says of itself and of the model it runs. Claims, apart from the facts: an adversary writes what it likes.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Claimed {
    /// The program that speaks for the agent, and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call: Option<String>,
    /// W3C Trace Context: the caller's `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Claimed {
    /// A claim as it is kept: bounded, of letters, digits, ASCII punctuation and spaces, so that it ends no line, hides
    /// nothing and turns no direction of writing.
    pub fn kept(text: &str) -> Option<String> {
        let shows = |c: &char| *c == ' ' || c.is_alphanumeric() || c.is_ascii_punctuation();
        let kept: String = text.chars().filter(shows).take(MAX_CLAIM).collect();
        (!kept.is_empty()).then_some(kept)
    }

    /// Only where something is claimed.
    pub fn or_none(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Denied,
    Error,
    Ok,
}

impl std::str::FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        match text {
            "denied" => Ok(Self::Denied),
            "error" => Ok(Self::Error),
            "ok" => Ok(Self::Ok),
            _ => Err(UnknownOutcome),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown outcome; one of ok, denied, error")]
pub struct UnknownOutcome;

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    Allow,
    Deny,
    /// Refused until a human approves, or logs in afresh.
    StepUp,
}

/// The way a request came in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Function calls of agents, from frameworks that do not speak MCP.
    AgentAi,
    /// What Aegis does by itself: on schedule, for the human who ordered it, or at its start.
    Internal,
    /// Tool calls of agents.
    Mcp,
    Rest,
}

impl Plane {
    /// Whether only agents may come by it (DESIGN §5): a human's session is no tool's.
    pub fn is_for_agents(self) -> bool {
        matches!(self, Self::AgentAi | Self::Mcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_kept_as_far_as_it_can_do_no_harm() {
        let table = [
            ("Some Host/7.1 (beta)", Some("Some Host/7.1 (beta)")),
            ("Ünïcödé", Some("Ünïcödé")),
            ("a\nb\u{1b}[2J", Some("ab[2J")),
            ("a\u{202e}b\u{200b}", Some("ab")),
            ("\u{200b}\n", None),
        ];
        for (text, want) in table {
            assert_eq!(Claimed::kept(text).as_deref(), want, "{text:?}");
        }
        assert_eq!(Claimed::kept(&"x".repeat(1_000)).map(|kept| kept.len()), Some(MAX_CLAIM));
        assert_eq!(Claimed::default().or_none(), None);
    }
}
