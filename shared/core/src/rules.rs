//! Response rules: what a risk score and a recommendation lead to. One versioned TOML document. Pure.

mod approvals;
mod thresholds;

pub use approvals::Approvals;
pub use thresholds::{Threshold, Thresholds};

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// One version of the rules, read and checked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSet {
    pub approvals: Approvals,
    pub thresholds: Thresholds,
}

impl RuleSet {
    /// Reads rules.
    ///
    /// # Errors
    /// [`Error::Invalid`], which says where and why.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rules: Self = toml::from_str(text).map_err(|error| Error::invalid("rules", error))?;
        rules.approvals.check().map_err(|why| Error::invalid("rules", why))?;
        rules.thresholds.check().map_err(|why| Error::invalid("rules", why))?;
        Ok(rules)
    }
}
