//! The permit: what was decided, as a value. Only [`super::admit`] makes one.

use super::facts::{Facts, Found};
use crate::agent::Agent;
use crate::ambient::Timestamp;
use crate::approval::ApprovalRecord;
use crate::error::Error;
use crate::id::RecordId;
use crate::key::KeyRecord;
use crate::keystore::Calls;
use crate::operation::Operation;
use crate::risk::Risk;

/// A request that was allowed: by whom, to do what, on what. Operations act on what it holds, so that what was checked
/// and what is acted upon cannot differ.
#[derive(Debug)]
pub struct Permit {
    pub(super) id: RecordId,
    pub(super) operation: Operation,
    pub(super) facts: Facts,
    pub(super) found: Found,
    pub(super) risk: Risk,
    pub(super) obligation: Option<Obligation>,
    pub(super) expires_at: Timestamp,
    /// Whether another process decided: then its id may have been acted upon before.
    pub(super) crossed: bool,
    /// What was asked of a back end under it.
    pub(super) calls: Calls,
}

/// What must be done before what a permit allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obligation {
    /// A human approves the request.
    StepUp,
}

/// How long a permit may be acted upon, in seconds (DESIGN §2).
pub(super) const LIFETIME: i64 = 30;

impl Permit {
    /// For what asks a back end to note it: the record tells.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Also the id of the record that the operation will write.
    pub fn id(&self) -> &RecordId {
        &self.id
    }

    pub fn obligation(&self) -> Option<Obligation> {
        self.obligation
    }

    pub fn operation(&self) -> Operation {
        self.operation
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The key the decision was made on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was made on something else.
    pub fn key(&self) -> Result<&KeyRecord, Error> {
        match &self.found {
            Found::Key { record: Some(record), .. } => Ok(&record.value),
            _ => Err(Error::NotFound { kind: "key" }),
        }
    }

    /// The agent the decision was made on: as it was then.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was made on something else.
    pub fn agent(&self) -> Result<&Agent, Error> {
        match &self.found {
            Found::Agent { agent: Some(agent), .. } => Ok(&agent.value),
            _ => Err(Error::NotFound { kind: "agent" }),
        }
    }

    /// The approval the decision was made on: as it was then.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was made on something else.
    pub fn approval(&self) -> Result<&ApprovalRecord, Error> {
        match &self.found {
            Found::Approval { approval: Some(approval), .. } => Ok(&approval.value),
            _ => Err(Error::NotFound { kind: "approval" }),
        }
    }
}
