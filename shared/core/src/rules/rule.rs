//! One rule: which recommendations it fits, and what it orders.

use super::plan::Trigger;
use crate::agent::Purpose;
use crate::ambient::{Timestamp, after_seconds};
use crate::key::Tier;
use crate::recommendation::{Detector, ResponseAction, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest deny, step-up and cooldown, in minutes: a week. What should last longer is a human's to say.
const MAX_MINUTES: u32 = 7 * 24 * 60;

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Stands in records, and is what a cooldown belongs to.
    pub name: RuleName,
    /// Empty for all.
    pub detectors: Vec<Detector>,
    /// The least.
    pub severity: Severity,
    /// Empty for all.
    pub purposes: Vec<Subject>,
    /// Empty for all. What concerns no key counts as standard.
    pub tiers: Vec<Tier>,
    pub actions: Vec<RuleAction>,
    /// Whether the decision itself carries it out, before it is answered.
    pub inline: bool,
    /// For how long this rule does nothing further about the same subject.
    pub cooldown_minutes: u32,
    /// Whether only its alerts are carried out.
    pub observe: bool,
}

/// A rule as it stands in the document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: RuleName,
    #[serde(default)]
    detectors: Vec<Detector>,
    #[serde(default = "lowest")]
    severity: Severity,
    #[serde(default)]
    purposes: Vec<Subject>,
    #[serde(default)]
    tiers: Vec<Tier>,
    actions: Vec<RuleAction>,
    #[serde(default)]
    inline: bool,
    #[serde(default)]
    cooldown_minutes: u32,
    #[serde(default)]
    observe: bool,
}

fn lowest() -> Severity {
    Severity::Low
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { name, detectors, severity, purposes, tiers, actions, inline, cooldown_minutes, observe } =
            written;
        let rule = Self { name, detectors, severity, purposes, tiers, actions, inline, cooldown_minutes, observe };
        rule.check()?;
        Ok(rule)
    }
}

impl Rule {
    pub(super) fn fits(&self, trigger: &Trigger) -> bool {
        let tier = trigger.tier.unwrap_or_default();
        (self.detectors.is_empty() || self.detectors.contains(&trigger.detector))
            && trigger.severity >= self.severity
            && (self.purposes.is_empty()
                || self.purposes.contains(&trigger.subject) && !trigger.detector.is_about_a_key())
            && (self.tiers.is_empty() || self.tiers.contains(&tier))
    }

    fn check(&self) -> Result<(), String> {
        if self.actions.is_empty() {
            return Err("`actions` is empty; \"alert\" is the least".to_string());
        }
        for (place, action) in self.actions.iter().enumerate() {
            let kind = action.kind();
            if self.actions.iter().take(place).any(|other| other.kind() == kind) {
                return Err(format!("`actions` has {} twice", kind.as_str()));
            }
            if action.minutes().is_some_and(|minutes| !(1..=MAX_MINUTES).contains(&minutes)) {
                return Err(format!("`{}`: minutes lie between 1 and {MAX_MINUTES}, a week", kind.as_str()));
            }
            if action.needs_agent() && !self.purposes.is_empty() && self.purposes.iter().all(|p| *p == Subject::Human) {
                return Err(format!("`{}` stops an agent, and the rule is about humans alone", kind.as_str()));
            }
        }
        if self.cooldown_minutes > MAX_MINUTES {
            return Err(format!("`cooldown_minutes` is at most {MAX_MINUTES}, a week"));
        }
        let facts = !self.detectors.is_empty() && self.detectors.iter().all(|detector| detector.states_a_fact());
        if self.inline && !facts {
            return Err(
                "`inline` is for scope_violation, scope_probe and canary_key alone: name them in `detectors`; what \
                        others find is known only after the answer"
                    .to_string(),
            );
        }
        if self.inline && !self.actions.iter().any(|action| action.may_be_inline()) {
            return Err(
                "`inline`: none of its actions can be; deny, step_up, freeze_agent and revoke_agent can".to_string()
            );
        }
        Ok(())
    }
}

/// Names a rule: 1 to 40 of `a-z`, `0-9`, `-`, letter first.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = "^[a-z][a-z0-9-]{0,39}$"))]
pub struct RuleName(String);

impl RuleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RuleName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        match text.len() <= 40 && starts_well && text.bytes().all(allowed) {
            true => Ok(Self(text)),
            false => Err("a rule's name has 1 to 40 of a-z, 0-9 and -, and begins with a letter".to_string()),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a recommendation is about: an agent of some purpose, or a human herself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Appliance,
    Human,
    Interactive,
    Service,
}

impl Subject {
    pub const ALL: [Self; 4] = [Self::Appliance, Self::Human, Self::Interactive, Self::Service];
    pub(super) const AGENTS: [Self; 3] = [Self::Appliance, Self::Interactive, Self::Service];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Human => "human",
            Self::Interactive => "interactive",
            Self::Service => "service",
        }
    }
}

impl From<Purpose> for Subject {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Appliance => Self::Appliance,
            Purpose::Interactive => Self::Interactive,
            Purpose::Service => Self::Service,
        }
    }
}

/// What a rule orders: a [`ResponseAction`], with how long it lasts where it ends by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleAction {
    Alert,
    DeactivateKey,
    Deny { minutes: u32 },
    FreezeAgent,
    RevokeAgent,
    RevokeCredential,
    RevokeFleet,
    RotateKey,
    StepUp { minutes: u32 },
}

impl RuleAction {
    pub fn kind(self) -> ResponseAction {
        match self {
            Self::Alert => ResponseAction::Alert,
            Self::DeactivateKey => ResponseAction::DeactivateKey,
            Self::Deny { .. } => ResponseAction::Deny,
            Self::FreezeAgent => ResponseAction::FreezeAgent,
            Self::RevokeAgent => ResponseAction::RevokeAgent,
            Self::RevokeCredential => ResponseAction::RevokeCredential,
            Self::RevokeFleet => ResponseAction::RevokeFleet,
            Self::RotateKey => ResponseAction::RotateKey,
            Self::StepUp { .. } => ResponseAction::StepUp,
        }
    }

    fn minutes(self) -> Option<u32> {
        match self {
            Self::Deny { minutes } | Self::StepUp { minutes } => Some(minutes),
            _ => None,
        }
    }

    /// When it ends by itself, if it begins now.
    pub fn until(self, now: Timestamp) -> Option<Timestamp> {
        self.minutes().map(|minutes| after_seconds(now, i64::from(minutes) * 60))
    }

    /// Whether it keeps somebody from work without a human having said so: what the budget limits.
    pub fn stops(self) -> bool {
        match self {
            Self::Alert | Self::RotateKey | Self::StepUp { .. } => false,
            Self::DeactivateKey
            | Self::Deny { .. }
            | Self::FreezeAgent
            | Self::RevokeAgent
            | Self::RevokeCredential
            | Self::RevokeFleet => true,
        }
    }

    /// Whether it changes nothing but the agent, so that the decision itself can do it in one write.
    pub fn may_be_inline(self) -> bool {
        matches!(self, Self::Deny { .. } | Self::FreezeAgent | Self::RevokeAgent | Self::StepUp { .. })
    }

    pub(crate) fn needs_agent(self) -> bool {
        self.may_be_inline()
    }

    /// Whether it stops whoever a human stands behind.
    pub(super) fn needs_actor(self) -> bool {
        self.needs_agent() || matches!(self, Self::RevokeCredential | Self::RevokeFleet)
    }

    pub(super) fn needs_key(self) -> bool {
        matches!(self, Self::DeactivateKey | Self::RotateKey)
    }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        self.minutes().map_or(Ok(()), |minutes| write!(f, " for {minutes} minutes"))
    }
}
