//! From a recommendation to what the rules order about it.

use super::rule::{RuleAction, RuleName, Subject};
use super::{Mode, RuleSet};
use crate::key::Tier;
use crate::recommendation::{Detector, Severity};

/// How severe it is that an agent asks for an existing key outside its scope, and for one that does not exist.
pub const VIOLATION: Severity = Severity::High;
pub const PROBE: Severity = Severity::Medium;

/// What of a recommendation decides which rule fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trigger {
    pub detector: Detector,
    pub severity: Severity,
    pub subject: Subject,
    /// The key's, where the recommendation is about one.
    pub tier: Option<Tier>,
}

impl Trigger {
    pub(super) fn violation(subject: Subject) -> Self {
        Self { detector: Detector::ScopeViolation, severity: VIOLATION, subject, tier: Some(Tier::Standard) }
    }

    pub(super) fn probe(subject: Subject) -> Self {
        Self { detector: Detector::ScopeProbe, severity: PROBE, subject, tier: None }
    }

    /// Every case there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let tiers = [None, Some(Tier::Standard), Some(Tier::High)];
        Detector::ALL.into_iter().flat_map(move |detector| {
            Severity::ALL.into_iter().flat_map(move |severity| {
                Subject::ALL.into_iter().flat_map(move |subject| {
                    tiers.into_iter().map(move |tier| Self { detector, severity, subject, tier })
                })
            })
        })
    }
}

/// What a rule orders about one recommendation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    pub rule: RuleName,
    /// In the rule's order; never empty. What cannot be, for want of an agent or a key, is left out.
    pub actions: Vec<RuleAction>,
    pub inline: bool,
    /// Whether only alerts are carried out.
    pub observe: bool,
    pub cooldown_minutes: u32,
    /// Most automatic stops in an hour; `None` for facts, which have no such limit.
    pub per_hour: Option<u32>,
}

impl Plan {
    /// What the decision itself carries out, in one write with its record. The rest of the plan goes through the
    /// [`super::ResponseLedger`].
    pub fn at_once(&self) -> impl Iterator<Item = RuleAction> {
        self.actions.iter().copied().filter(|action| self.is_at_once(*action) && !self.observe)
    }

    /// Whether what was done lately matters.
    pub fn needs_ledger(&self) -> bool {
        self.cooldown_minutes > 0 || self.per_hour.is_some()
    }

    /// Whether the ledger has no say in this one.
    pub(super) fn is_at_once(&self, action: RuleAction) -> bool {
        self.inline && action.may_be_inline()
    }
}

impl RuleSet {
    /// What is to be done; `None` where no rule fits.
    pub fn plan(&self, trigger: &Trigger) -> Option<Plan> {
        let rule = self.rule(trigger)?;
        let possible = |action: &RuleAction| {
            !(action.needs_agent() && trigger.subject == Subject::Human
                || action.needs_actor() && trigger.detector.is_about_a_key()
                // A key that many use is changed for what many do if a rule says so of that, and not of anything.
                || action.needs_key() && trigger.detector.is_about_a_key() && rule.detectors.is_empty()
                || action.needs_key() && trigger.tier.is_none())
        };
        let mut actions: Vec<RuleAction> = rule.actions.iter().copied().filter(possible).collect();
        if actions.is_empty() {
            // Somebody hears of it, where nothing that was ordered can be done.
            actions.push(RuleAction::Alert);
        }
        Some(Plan {
            rule: rule.name.clone(),
            actions,
            inline: rule.inline,
            observe: rule.observe || self.mode == Mode::Observe,
            cooldown_minutes: rule.cooldown_minutes,
            per_hour: (!trigger.detector.states_a_fact()).then_some(self.budget.per_hour),
        })
    }
}
