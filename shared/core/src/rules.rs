//! Response rules: what a risk score and a recommendation lead to. One versioned TOML document. Pure.

mod approvals;
mod ledger;
mod plan;
mod rule;
mod thresholds;
mod weakening;

pub use approvals::Approvals;
pub use ledger::{Admission, Because, ResponseLedger, Suppressed};
pub use plan::{PROBE, Plan, Trigger, VIOLATION};
pub use rule::{Rule, RuleAction, RuleName, Subject};
pub use thresholds::{Threshold, Thresholds};
pub use weakening::weakenings;

use crate::error::Error;
use crate::recommendation::{Detector, Severity};
use rule::Written;

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use toml::Spanned;

/// The rules that Aegis ships with, as text: version 0.
pub const BUILT_IN: &str = include_str!("rules/default.toml");
/// Longest document, in bytes: with its JSON around it, it is one item of the store.
pub const MAX_DOCUMENT: usize = 32 * 1024;
/// Most rules of a document.
const MAX_RULES: usize = 100;
/// Longest explanation of what is wrong, in characters.
const MAX_EXPLANATION: usize = 400;
/// Most automatic stops in an hour that may be allowed. More is no budget; each is kept in the ledger for two hours.
const MAX_PER_HOUR: u32 = 100;

/// One version of the rules, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    pub mode: Mode,
    pub budget: Budget,
    pub approvals: Approvals,
    pub thresholds: Thresholds,
    /// The first that fits is the one that counts.
    pub rules: Vec<Rule>,
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    budget: Budget,
    #[serde(default)]
    approvals: Approvals,
    #[serde(default)]
    thresholds: Thresholds,
    #[serde(default, rename = "rule")]
    rules: Vec<Spanned<Written>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Enforce,
    /// Nothing but alerts is carried out; what would have been is told.
    Observe,
}

/// How many automatic stops an hour may see of what is merely unlikely. Facts have none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// 0 to 100.
    pub per_hour: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { per_hour: 5 }
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "the text is a constant, and a test reads it")]
            RuleSet::parse(BUILT_IN).expect("the built-in rules are valid")
        });
        RULES.clone()
    }
}

impl RuleSet {
    /// Reads rules.
    ///
    /// # Errors
    /// [`Error::Invalid`], which says where and why.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_DOCUMENT {
            return Err(Error::invalid("rules", "they are longer than 32 KiB"));
        }
        let document: Document =
            toml::from_str(text).map_err(|error| Error::invalid("rules", explained(text, &error)))?;
        Self::check(text, document).map_err(|why| Error::invalid("rules", why))
    }

    fn check(text: &str, document: Document) -> Result<Self, String> {
        let Document { mode, budget, approvals, thresholds, rules: written } = document;
        thresholds.check()?;
        approvals.check()?;
        if budget.per_hour > MAX_PER_HOUR {
            return Err(format!("budget: per_hour is at most {MAX_PER_HOUR}"));
        }
        if written.len() > MAX_RULES {
            return Err(format!("there are more than {MAX_RULES} rules"));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for written in written {
            let line = line_of(text, written.span().start);
            let place = format!("line {line}: rule `{}`", written.get_ref().name);
            let rule = Rule::try_from(written.into_inner()).map_err(|why| format!("{place}: {why}"))?;
            if rules.iter().any(|other| other.name == rule.name) {
                return Err(format!("{place}: another rule has this name, too"));
            }
            let taken = |trigger: &Trigger| rules.iter().any(|earlier| earlier.fits(trigger));
            if !Trigger::all().any(|trigger| rule.fits(&trigger) && !taken(&trigger)) {
                return Err(format!("{place}: it never applies, because earlier rules take all its cases"));
            }
            rules.push(rule);
        }
        let rules = Self { mode, budget, approvals, thresholds, rules };
        rules.check_that_nothing_is_given_away()?;
        Ok(rules)
    }

    /// An agent must not tell by the response whether a key exists (ADR 1): what it asks for in vain is answered by one
    /// rule, whether it is there or not.
    fn check_that_nothing_is_given_away(&self) -> Result<(), String> {
        for purpose in Subject::AGENTS {
            let named = |trigger| self.rule(&trigger).map(|rule| &rule.name);
            let (there, not_there) = (named(Trigger::violation(purpose)), named(Trigger::probe(purpose)));
            if there != not_there {
                let name =
                    |rule: Option<&RuleName>| rule.map_or("no rule".to_string(), |name| format!("rule `{name}`"));
                return Err(format!(
                    "a {} of severity {} of a standard key comes to {}, a {} of severity {} to {}, for {} agents: the \
                     response would tell which keys exist; let one rule take both",
                    Detector::ScopeViolation.as_str(),
                    Severity::as_str(VIOLATION),
                    name(there),
                    Detector::ScopeProbe.as_str(),
                    Severity::as_str(PROBE),
                    name(not_there),
                    purpose.as_str(),
                ));
            }
        }
        Ok(())
    }

    /// How long before a moment what was done can bear on what is done then, in minutes: the longest cooldown, and the hour
    /// of the budget.
    pub(crate) fn lead_minutes(&self) -> u32 {
        self.rules.iter().map(|rule| rule.cooldown_minutes).max().unwrap_or(0).max(60)
    }

    /// The first rule that fits.
    fn rule(&self, trigger: &Trigger) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(trigger))
    }
}

/// What the parser says, and where; never the document's own lines, which may be as long as it is.
fn explained(text: &str, error: &toml::de::Error) -> String {
    let what: String = error.message().chars().take(MAX_EXPLANATION).collect();
    match error.span() {
        Some(span) => format!("line {}: {what}", line_of(text, span.start)),
        None => what,
    }
}

fn line_of(text: &str, place: usize) -> usize {
    text.get(..place).unwrap_or_default().matches('\n').count().saturating_add(1)
}

#[cfg(test)]
mod tests;
