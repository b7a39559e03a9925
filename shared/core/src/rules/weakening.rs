//! What a change of the rules takes away. Where in doubt, it is called a weakening: then a second human looks at it.

use super::plan::{Plan, Trigger};
use super::rule::{RuleAction, RuleName, Subject};
use super::{Approvals, Mode, RuleSet, Threshold};
use crate::recommendation::Detector;
use std::collections::{BTreeMap, BTreeSet};

/// What protects less under `new` than under `old`, a sentence each; empty where nothing does.
///
/// A smaller budget weakens, because it lets fewer be stopped; a larger one does not.
pub fn weakenings(old: &RuleSet, new: &RuleSet) -> Vec<String> {
    let mut found = Vec::new();
    if (old.mode, new.mode) == (Mode::Enforce, Mode::Observe) {
        found.push("mode: the rules only observe".to_string());
    }
    let (before, after) = (old.budget.per_hour, new.budget.per_hour);
    if after < before {
        found.push(format!("budget: per_hour falls from {before} to {after}"));
    }
    let thresholds = [
        ("standard", old.thresholds.standard, new.thresholds.standard),
        ("high", old.thresholds.high, new.thresholds.high),
        ("destructive", old.thresholds.destructive, new.thresholds.destructive),
    ];
    found.extend(thresholds.into_iter().flat_map(|(name, old, new)| risen(name, old, new)));
    found.extend(easier(&old.approvals, &new.approvals));
    found.extend(softened(old, new));
    found
}

/// Where approvals take fewer humans, other humans, or bind for longer.
fn easier(old: &Approvals, new: &Approvals) -> Vec<String> {
    let risen = [
        ("pending_per_agent", old.pending_per_agent, new.pending_per_agent),
        ("per_human_a_day", old.per_human_a_day, new.per_human_a_day),
        ("decide_minutes", old.decide_minutes, new.decide_minutes),
        ("use_minutes", old.use_minutes, new.use_minutes),
    ];
    let risen = risen.into_iter().filter(|(_, old, new)| new > old);
    let mut found: Vec<String> =
        risen.map(|(name, old, new)| format!("approvals: {name} rises from {old} to {new}")).collect();
    if new.high_approvers < old.high_approvers {
        found.push(format!("approvals: high_approvers falls from {} to {}", old.high_approvers, new.high_approvers));
    }
    let others = match (&old.approvers, &new.approvers) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => !new.is_subset(old),
    };
    if others {
        found.push("approvals: others may approve uses of tier-high keys".to_string());
    }
    found
}

fn risen(name: &str, old: Threshold, new: Threshold) -> impl Iterator<Item = String> {
    let fields = [("step_up", old.step_up, new.step_up), ("deny", old.deny, new.deny)];
    let risen = fields.into_iter().filter(|(_, old, new)| new > old);
    risen.map(move |(field, old, new)| format!("thresholds.{name}: {field} rises from {old} to {new}"))
}

/// Every case there is, under the old rules and under the new ones; the same loss in many cases is told once.
fn softened(old: &RuleSet, new: &RuleSet) -> Vec<String> {
    let mut losses: BTreeMap<(RuleName, String), Vec<Trigger>> = BTreeMap::new();
    for trigger in Trigger::all() {
        let Some(before) = old.plan(&trigger) else { continue };
        // What observing alone takes away is told once, above.
        let after = new.plan(&trigger).map(|plan| Plan { observe: new.observes_for_itself(&trigger), ..plan });
        let before = Plan { observe: old.observes_for_itself(&trigger), ..before };
        for loss in losses_between(&before, after.as_ref()) {
            losses.entry((before.rule.clone(), loss)).or_default().push(trigger);
        }
    }
    losses.into_iter().map(|((rule, loss), cases)| format!("rule `{rule}`: {loss}; {}", described(&cases))).collect()
}

fn losses_between(old: &Plan, new: Option<&Plan>) -> Vec<String> {
    let Some(new) = new else { return vec!["no rule takes these cases any more".to_string()] };
    let mut losses = Vec::new();
    for action in old.effective() {
        if !new.effective().any(|other| other.is_at_least(action, new.per_hour.is_some())) {
            losses.push(format!("`{action}` is gone, and nothing as hard is there"));
        } else if old.is_at_once(action)
            && !new.effective().any(|other| new.is_at_once(other) && other.is_at_least(action, false))
        {
            losses.push(format!("`{action}` is no longer inline"));
        }
    }
    if old.cooldown_minutes < new.cooldown_minutes {
        losses.push(format!("the cooldown rises from {} to {} minutes", old.cooldown_minutes, new.cooldown_minutes));
    }
    losses
}

impl Plan {
    /// What comes of it, where neither cooldown nor budget holds it back.
    fn effective(&self) -> impl Iterator<Item = RuleAction> {
        self.actions.iter().copied().filter(|action| !self.observe || *action == RuleAction::Alert)
    }
}

impl RuleAction {
    /// Whether nobody is better off under this than under `other`. What falls under a budget is no substitute for what
    /// does not.
    fn is_at_least(self, other: Self, budgeted: bool) -> bool {
        use RuleAction::{Deny, FreezeAgent, RevokeAgent, RevokeCredential, RevokeFleet, StepUp};
        if budgeted && self.stops() && !other.stops() {
            return false;
        }
        match (self, other) {
            (StepUp { minutes: own }, StepUp { minutes })
            | (Deny { minutes: own }, Deny { minutes } | StepUp { minutes }) => own >= minutes,
            (FreezeAgent, Deny { .. } | StepUp { .. }) => true,
            (RevokeAgent, Deny { .. } | FreezeAgent | RevokeCredential | StepUp { .. }) => true,
            (RevokeFleet, Deny { .. } | FreezeAgent | RevokeAgent | StepUp { .. }) => true,
            (own, other) => own == other,
        }
    }
}

impl RuleSet {
    /// Whether the rule observes whatever the mode is.
    fn observes_for_itself(&self, trigger: &Trigger) -> bool {
        self.rule(trigger).is_some_and(|rule| rule.observe)
    }
}

/// The cases, by what they have in common.
fn described(cases: &[Trigger]) -> String {
    fn listed<T: Ord>(all: usize, every: &str, found: BTreeSet<T>, name: impl Fn(T) -> &'static str) -> String {
        match found.len() == all {
            true => every.to_string(),
            false => found.into_iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }
    let detectors = cases.iter().map(|case| case.detector).collect::<BTreeSet<_>>();
    let severities = cases.iter().map(|case| case.severity).collect::<BTreeSet<_>>();
    let subjects = cases.iter().map(|case| case.subject).collect::<BTreeSet<_>>();
    let tiers = cases.iter().map(|case| case.tier.map_or("none", tier_name)).collect::<BTreeSet<_>>();
    let product = [detectors.len(), severities.len(), subjects.len(), tiers.len()].into_iter().product::<usize>();
    let some = if product == cases.len() { "" } else { "some of " };
    format!(
        "{some}detector: {}; severity: {}; purpose: {}; tier: {}",
        listed(Detector::ALL.len(), "any", detectors, Detector::as_str),
        listed(4, "any", severities, crate::recommendation::Severity::as_str),
        listed(Subject::ALL.len(), "any", subjects, Subject::as_str),
        listed(3, "any", tiers, |tier| tier),
    )
}

fn tier_name(tier: crate::key::Tier) -> &'static str {
    match tier {
        crate::key::Tier::High => "high",
        crate::key::Tier::Standard => "standard",
    }
}
