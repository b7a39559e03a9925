//! A use of a key that is asked about.

use super::claims::Claims;
use aegis_core::name::KeyRef;
use aegis_core::scope::Action;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evaluation {
    key: KeyRef,
    /// What would be done with the key.
    action: Action,
    pub(super) claims: Option<Claims>,
}

impl Evaluation {
    /// As the tool `check_access` takes them.
    pub(super) fn arguments(&self) -> JsonObject {
        let arguments = [("action", self.action.as_str().to_string()), ("key", self.key.to_string())];
        arguments.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect()
    }
}
