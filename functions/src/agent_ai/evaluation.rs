//! A use of a key that is asked about.

use super::claims::Claims;
use super::obligation::Obligation;
use crate::Reply;
use aegis_core::error::Error;
use aegis_core::name::KeyRef;
use aegis_core::operations::access::CheckedAccess;
use aegis_core::scope::Action;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// What would be decided, and what would have to be done first.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Evaluated {
    #[serde(flatten)]
    checked: CheckedAccess,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    obligations: Vec<Obligation>,
}

impl Evaluated {
    /// Of the reply to a check of access.
    pub(super) fn told(reply: &Reply) -> Result<Self, Error> {
        let checked = checked(reply)?;
        Ok(Self { obligations: Obligation::foretold(checked.decision), checked })
    }
}

/// What a check of access says.
pub(super) fn checked(reply: &Reply) -> Result<CheckedAccess, Error> {
    serde_json::from_slice(&reply.body).map_err(|error| Error::Damaged { what: "reply", source: error.into() })
}
