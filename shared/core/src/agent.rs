//! Agents: who they are, what they were granted, and the credentials that prove them. An agent always has a sponsor.

use crate::ambient::{DateTime, Timestamp};
use crate::id::{AgentId, CredentialId, KeyId, RecordId};
use crate::name::{AgentLabel, HumanId};
use crate::reason::Reason;
use crate::scope::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest chain of agents below a human (DESIGN §5).
pub const MAX_DEPTH: usize = 3;
/// Most live sub-agents of one agent.
pub const MAX_CHILDREN: usize = 64;
/// Longest window of a grant, in seconds: 400 days.
pub const MAX_WINDOW: i64 = 400 * 86_400;
/// Longest life of an agent's token, in seconds: a day. An hour where nothing is asked for.
pub const MAX_TTL: u32 = 86_400;
pub const DEFAULT_TTL: u32 = 3_600;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Agent {
    pub id: AgentId,
    pub label: AgentLabel,
    pub purpose: Purpose,
    /// The human behind it.
    pub sponsor: HumanId,
    /// The agents above it, nearest first; empty for an agent issued by its human.
    pub ancestors: Vec<AgentId>,
    pub state: AgentState,
    /// Grows with each revocation; a credential is valid only while its copy is equal.
    pub epoch: u32,
    pub grant: Grant,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    /// Why it is not active, since when, and the record that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    Active,
    /// Refused until unfrozen; credentials live on.
    Frozen,
    /// Refused for ever.
    Revoked,
}

impl AgentState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Revoked => "revoked",
        }
    }
}

/// What kind of thing the agent is: it decides how hard an automatic response is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Appliance,
    #[default]
    Interactive,
    Service,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Stopped {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    /// Who did it: a human, or `aegis` for an automatic response.
    pub by: String,
    pub record: RecordId,
}

/// What an agent may do, when, and how often. Replaced as a whole; the version counts.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Grant {
    /// From 1.
    pub version: u32,
    pub scope: Scope<KeyId>,
    #[schemars(with = "DateTime")]
    pub not_before: Timestamp,
    #[schemars(with = "DateTime")]
    pub not_after: Timestamp,
    #[serde(default)]
    pub limits: Limits,
    /// Whether the agent may create sub-agents within this grant.
    #[serde(default)]
    pub delegate: bool,
}

impl Grant {
    pub fn includes(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// The grant a sub-agent gets: as asked for, cut to this one's window and limits. The scope is checked apart.
    pub fn narrowed(&self, asked: Grant) -> Grant {
        Grant {
            not_before: asked.not_before.max(self.not_before),
            not_after: asked.not_after.min(self.not_after),
            limits: asked.limits.intersect(self.limits),
            ..asked
        }
    }
}

/// How often. Each use counts, whether or not it then succeeds, for the agent and for every agent above it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Uses in the life of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_uses: Option<u32>,
    /// Uses in a minute of the clock (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_minute: Option<u32>,
    /// Uses in a day of the calendar (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_day: Option<u32>,
}

impl Limits {
    fn intersect(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self {
            max_uses: least(self.max_uses, other.max_uses),
            per_minute: least(self.per_minute, other.per_minute),
            per_day: least(self.per_day, other.per_day),
        }
    }

    /// Whether each limit there is lies above zero.
    pub fn are_positive(self) -> bool {
        [self.max_uses, self.per_minute, self.per_day].into_iter().flatten().all(|limit| limit > 0)
    }
}

/// What proves a principal: a token issued to an agent, or a human's session. The token itself is not kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Credential {
    pub id: CredentialId,
    /// Its holder, or the sponsor of the agent that holds it.
    pub human: HumanId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[schemars(with = "DateTime")]
    pub issued_at: Timestamp,
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
    pub revoked: bool,
}

impl Agent {
    /// Why a request of this agent, or of one below it, must be refused in any case.
    pub fn stop_reason(&self, credential_epoch: u32) -> Option<Reason> {
        match self.state {
            AgentState::Revoked => Some(Reason::AgentRevoked),
            _ if self.epoch != credential_epoch => Some(Reason::AgentRevoked),
            AgentState::Frozen => Some(Reason::AgentFrozen),
            AgentState::Active => None,
        }
    }

    pub fn revoke(&mut self, stopped: Stopped) {
        self.state = AgentState::Revoked;
        self.epoch = self.epoch.saturating_add(1);
        self.stopped = Some(stopped);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_narrowed_grant_lies_within_its_parent_s(
            asked in any_grant(), own in any_grant(), at in 0..2_000_i64
        ) {
            let narrowed = own.narrowed(asked);
            let now = Timestamp::from_second(at).unwrap();
            prop_assert!(!narrowed.includes(now) || own.includes(now));
            let limit = |grant: &Grant| {
                [grant.limits.max_uses, grant.limits.per_minute, grant.limits.per_day].map(|l| l.unwrap_or(u32::MAX))
            };
            prop_assert!(limit(&narrowed).iter().zip(limit(&own)).all(|(a, b)| *a <= b));
        }
    }

    fn any_grant() -> impl Strategy<Value = Grant> {
        let limit = || proptest::option::of(1..100_u32);
        (0..1_000_i64, 0..1_000_i64, limit(), limit(), limit()).prop_map(
            |(from, length, max_uses, per_minute, per_day)| Grant {
                version: 1,
                scope: Scope(vec![]),
                not_before: Timestamp::from_second(from).unwrap(),
                not_after: Timestamp::from_second(from + length).unwrap(),
                limits: Limits { max_uses, per_minute, per_day },
                delegate: true,
            },
        )
    }
}
