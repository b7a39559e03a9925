//! Humans and their roles. Who a human is, an OpenID provider says; Aegis keeps what it needs to refuse her.

use crate::ambient::{DateTime, Timestamp};
use crate::name::HumanId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Human {
    pub id: HumanId,
    /// As of the last login.
    pub roles: BTreeSet<Role>,
    /// Grows with each revocation; a credential is valid only while its copy is equal.
    pub epoch: u32,
    pub revoked: bool,
    #[schemars(with = "DateTime")]
    pub last_login_at: Timestamp,
}

/// What a human may do; one may have several.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Manages humans and policy. No use of keys.
    Admin,
    /// Reads the audit trail.
    Auditor,
    /// Manages keys, and stops anyone's agents.
    Operator,
    /// Uses keys and sponsors agents.
    User,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Admin, Self::Auditor, Self::Operator, Self::User];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::User => "user",
        }
    }
}
