//! How many humans approve, how long they have, and how often agents may ask.

use crate::key::Tier;
use crate::name::HumanId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approvals {
    /// Humans who must approve a use of a tier-high key; one of them is never the agent's sponsor. 1 to 5.
    pub high_approvers: u8,
    /// Who may approve uses of tier-high keys. Everyone whom policy lets, if absent.
    pub approvers: Option<BTreeSet<HumanId>>,
    /// Approvals of one agent that may wait at once. 1 to 10.
    pub pending_per_agent: u32,
    /// Approvals that the agents of one human may open in a day (UTC). 1 to 50.
    pub per_human_a_day: u32,
    /// Minutes in which an approval can be answered. 1 to 60.
    pub decide_minutes: u32,
    /// Minutes in which an approved request can be made. 1 to 60.
    pub use_minutes: u32,
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            high_approvers: 2,
            approvers: None,
            pending_per_agent: 3,
            per_human_a_day: 10,
            decide_minutes: 15,
            use_minutes: 10,
        }
    }
}

impl Approvals {
    pub fn decide_seconds(&self) -> i64 {
        i64::from(self.decide_minutes).saturating_mul(60)
    }

    pub fn use_seconds(&self) -> i64 {
        i64::from(self.use_minutes).saturating_mul(60)
    }

    /// How many humans must approve a use of a key of this tier.
    pub fn needed(&self, tier: Option<Tier>) -> u8 {
        if tier == Some(Tier::High) { self.high_approvers } else { 1 }
    }

    /// Why these cannot be.
    pub(super) fn check(&self) -> Result<(), String> {
        let bounds = [
            ("high_approvers", u32::from(self.high_approvers), 5),
            ("pending_per_agent", self.pending_per_agent, 10),
            // All that may still decide on a request are read at once: those of two days, at midnight.
            ("per_human_a_day", self.per_human_a_day, 50),
            ("decide_minutes", self.decide_minutes, 60),
            ("use_minutes", self.use_minutes, 60),
        ];
        if let Some((name, _, most)) = bounds.iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            return Err(format!("approvals.{name}: it must lie between 1 and {most}"));
        }
        match &self.approvers {
            Some(approvers) if approvers.len() < usize::from(self.high_approvers) => {
                Err("approvals.approvers: fewer than high_approvers".to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::RuleSet;

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let table = [
            ("", true),
            ("high_approvers = 3", true),
            ("high_approvers = 0", false),
            ("high_approvers = 6", false),
            ("approvers = [\"bob@org\", \"carol@org\"]", true),
            ("approvers = [\"bob@org\", \"bob@org\"]", false),
            ("approvers = [\"no name!\", \"carol@org\"]", false),
            ("pending_per_agent = 11", false),
            ("per_human_a_day = 51", false),
            ("decide_minutes = 61", false),
            ("use_minutes = 0", false),
            ("uses = 1", false),
        ];
        for (line, want) in table {
            assert_eq!(RuleSet::parse(&format!("[approvals]\n{line}\n")).is_ok(), want, "{line}");
        }
    }
}
