//! Stable codes that say why a request was refused. They appear in errors, records and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// More requests for access were made than may be.
    AccessRequestsExhausted,
    /// A human's session, on a plane that is for agents.
    AgentCredentialRequired,
    AgentFrozen,
    AgentRevoked,
    /// A canary key, asked for by an agent. Recorded, never told.
    CanaryKey,
    /// The code is not the one that the agent was shown.
    ApprovalCode,
    /// A human denied this very request.
    ApprovalDenied,
    /// Approvals are answered with a login of its own for each, which is good for nothing else.
    ApprovalLogin,
    /// Another request like this one used the approval while this one was under way.
    ApprovalUsed,
    /// More approvals were asked for than may be: the agent is frozen.
    ApprovalsExhausted,
    CredentialExpired,
    CredentialRevoked,
    DelegationNotGranted,
    GrantNarrowed,
    GrantWidening,
    /// A response holds the agent for some time.
    Held,
    HumanRevoked,
    InvalidSubjectToken,
    InvalidToken,
    LoginRefused,
    MissingToken,
    /// Weaker rules need a second human, and there is none.
    NoSecondHuman,
    OutsideWindow,
    Overloaded,
    /// A permit from another process that no edge signed, that is too old, or that is for another request.
    PermitInvalid,
    /// A permit that was acted upon before.
    PermitReplayed,
    Policy,
    RateLimited,
    /// Something about the deployment that the grant does not hold: making keys, reading what is on record.
    RightNotGranted,
    /// The risk score lies above what is refused.
    RiskTooHigh,
    /// A key or an action that the scope does not hold. What the caller is told in the cases of `CanaryKey` and `ScopeProbe`, too.
    ScopeViolation,
    /// A key that does not exist, asked for by an agent. Recorded, never told.
    ScopeProbe,
    /// Weaker rules are confirmed by somebody else than who proposed them.
    SecondHumanNeeded,
    SponsorNotPermitted,
    StaleLabel,
    StaleLogin,
    StaleName,
    /// A human must approve this use first.
    StepUp,
    SubjectTokenExpired,
    UsesExhausted,
    UsesPerDay,
    UsesPerMinute,
}

impl Reason {
    pub const ALL: [Self; 42] = [
        Self::AccessRequestsExhausted,
        Self::AgentCredentialRequired,
        Self::AgentFrozen,
        Self::AgentRevoked,
        Self::CanaryKey,
        Self::ApprovalCode,
        Self::ApprovalDenied,
        Self::ApprovalLogin,
        Self::ApprovalUsed,
        Self::ApprovalsExhausted,
        Self::CredentialExpired,
        Self::CredentialRevoked,
        Self::DelegationNotGranted,
        Self::GrantNarrowed,
        Self::GrantWidening,
        Self::Held,
        Self::HumanRevoked,
        Self::InvalidSubjectToken,
        Self::InvalidToken,
        Self::LoginRefused,
        Self::MissingToken,
        Self::NoSecondHuman,
        Self::OutsideWindow,
        Self::Overloaded,
        Self::PermitInvalid,
        Self::PermitReplayed,
        Self::Policy,
        Self::RateLimited,
        Self::RightNotGranted,
        Self::RiskTooHigh,
        Self::ScopeViolation,
        Self::ScopeProbe,
        Self::SecondHumanNeeded,
        Self::SponsorNotPermitted,
        Self::StaleLabel,
        Self::StaleLogin,
        Self::StaleName,
        Self::StepUp,
        Self::SubjectTokenExpired,
        Self::UsesExhausted,
        Self::UsesPerDay,
        Self::UsesPerMinute,
    ];

    /// Whether it refuses whoever asks, whatever it is: what the credential stands on is revoked, frozen or expired.
    pub fn is_of_principal(self) -> bool {
        matches!(
            self,
            Self::AgentFrozen
                | Self::AgentRevoked
                | Self::CredentialExpired
                | Self::CredentialRevoked
                | Self::HumanRevoked
                | Self::InvalidToken
        )
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessRequestsExhausted => "access_requests_exhausted",
            Self::AgentCredentialRequired => "agent_credential_required",
            Self::AgentFrozen => "agent_frozen",
            Self::AgentRevoked => "agent_revoked",
            Self::CanaryKey => "canary_key",
            Self::ApprovalCode => "approval_code",
            Self::ApprovalDenied => "approval_denied",
            Self::ApprovalLogin => "approval_login",
            Self::ApprovalUsed => "approval_used",
            Self::ApprovalsExhausted => "approvals_exhausted",
            Self::CredentialExpired => "credential_expired",
            Self::CredentialRevoked => "credential_revoked",
            Self::DelegationNotGranted => "delegation_not_granted",
            Self::GrantNarrowed => "grant_narrowed",
            Self::GrantWidening => "grant_widening",
            Self::Held => "held",
            Self::HumanRevoked => "human_revoked",
            Self::InvalidSubjectToken => "invalid_subject_token",
            Self::InvalidToken => "invalid_token",
            Self::LoginRefused => "login_refused",
            Self::MissingToken => "missing_token",
            Self::NoSecondHuman => "no_second_human",
            Self::OutsideWindow => "outside_window",
            Self::Overloaded => "overloaded",
            Self::PermitInvalid => "permit_invalid",
            Self::PermitReplayed => "permit_replayed",
            Self::Policy => "policy",
            Self::RateLimited => "rate_limited",
            Self::RightNotGranted => "right_not_granted",
            Self::RiskTooHigh => "risk_too_high",
            Self::ScopeViolation => "scope_violation",
            Self::ScopeProbe => "scope_probe",
            Self::SecondHumanNeeded => "second_human_needed",
            Self::SponsorNotPermitted => "sponsor_not_permitted",
            Self::StaleLabel => "stale_label",
            Self::StaleLogin => "stale_login",
            Self::StaleName => "stale_name",
            Self::StepUp => "step_up",
            Self::SubjectTokenExpired => "subject_token_expired",
            Self::UsesExhausted => "uses_exhausted",
            Self::UsesPerDay => "uses_per_day",
            Self::UsesPerMinute => "uses_per_minute",
        }
    }

    /// What the caller is told: a probe, and the touch of a canary, look like a violation, so that none says which keys
    /// exist, or what they are for.
    pub fn told(self) -> Self {
        match self {
            Self::CanaryKey | Self::ScopeProbe => Self::ScopeViolation,
            other => other,
        }
    }

    /// Public text: lower case, no full stop.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AccessRequestsExhausted => "too many requests for access wait for the human, or were made this day",
            Self::AgentCredentialRequired => "this is for agents: a human's session is not taken here",
            Self::AgentFrozen => "the agent, or one above it, is frozen; its human or an operator can unfreeze it",
            Self::AgentRevoked => "the agent, or one above it, is revoked",
            Self::ApprovalCode => "the code is not the one that the agent was shown",
            Self::ApprovalDenied => "a human denied this request, or its code was guessed at too often",
            Self::ApprovalLogin => "each approval is answered with a login of its own, which is good for nothing else",
            Self::ApprovalUsed => "another request like this one has just used the approval",
            Self::ApprovalsExhausted => "too many approvals were asked for, so the agent is frozen",
            Self::CredentialExpired => "the credential has expired",
            Self::CredentialRevoked => "the credential is revoked",
            Self::DelegationNotGranted => "the grant does not allow this agent to create sub-agents",
            Self::GrantNarrowed => "the grant was narrowed since this credential was issued; get another",
            Self::GrantWidening => "a sub-agent's grant must lie within its parent's",
            Self::Held => "a response to what this agent did refuses it for some time",
            Self::HumanRevoked => "the human behind this credential is revoked",
            Self::InvalidSubjectToken => {
                "the subject token is no ID token of this deployment's provider for this client, or was exchanged before"
            }
            Self::InvalidToken => "the bearer token is not a valid Aegis access token",
            Self::LoginRefused => "the name, the passphrase or the code is wrong",
            Self::MissingToken => "a bearer token is required",
            Self::NoSecondHuman => {
                "rules that protect less need a second human with the role admin or operator, and this deployment knows none"
            }
            Self::OutsideWindow => "the grant's time window does not include now",
            Self::Overloaded => "the server is busy",
            Self::PermitInvalid => "the decision that came with this request is not valid for it",
            Self::PermitReplayed => "the decision that came with this request was acted upon before",
            Self::Policy => "policy does not permit this",
            Self::RateLimited => "too many requests from this caller",
            Self::RightNotGranted => "the grant does not allow this agent to do this",
            Self::RiskTooHigh => "the risk of this request is too high",
            Self::CanaryKey | Self::ScopeViolation | Self::ScopeProbe => "outside the scope of this agent",
            Self::SecondHumanNeeded => "another human than the one who proposed this must confirm it",
            Self::SponsorNotPermitted => "the human behind this agent may no longer do this",
            Self::StaleLabel => "the key no longer bears the label that this agent was granted it by",
            Self::StaleLogin => "this needs a login at most 300 seconds old",
            Self::StaleName => "this name no longer leads to the key it was granted for; use the key's id",
            Self::StepUp => "a human must approve this first",
            Self::SubjectTokenExpired => "the subject token has expired, or was issued more than ten minutes ago",
            Self::UsesExhausted => "the grant's uses are spent",
            Self::UsesPerDay => "the grant's uses for this day are spent",
            Self::UsesPerMinute => "the grant's uses for this minute are spent",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_in_json_is_the_code_in_text() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
