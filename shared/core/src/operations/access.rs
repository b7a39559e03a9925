//! What would be decided on a use of a key. Nothing is done, and nothing is told of a key beyond the scope of who asks.

use crate::error::Error;
use crate::name::KeyRef;
use crate::pipeline::{App, Done, Found, Note, Permit, Sight, foresee};
use crate::reason::Reason;
use crate::record::Decision;
use crate::risk::Risk;
use crate::scope::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckAccess {
    /// What would be done with the key.
    pub action: Action,
}

/// What would be decided now; what a later request asks for may be decided otherwise.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct CheckedAccess {
    /// The key as it was asked about.
    pub key: KeyRef,
    pub action: Action,
    pub decision: Foretold,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Only of a key within the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Foretold {
    Allow,
    Deny,
    /// A human would have to approve it first.
    StepUp,
}

/// Tells an agent what would be decided. A key that does not exist, and one beyond its scope, have the same answer, and are
/// recorded as the refused use that was asked about: so asking about keys is seen as probing by whatever sees probing.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn check_access(
    app: &App,
    permit: &Permit,
    input: &CheckAccess,
    sight: &Sight<'_>,
) -> Result<Done<CheckedAccess>, Error> {
    let Found::Key { requested, .. } = permit.found() else { return Err(Error::NotFound { kind: "key" }) };
    let action = input.action;
    let foreseen = foresee(app, permit, action, sight).await?;
    let decision = match foreseen.decision {
        Decision::Allow => Foretold::Allow,
        Decision::Deny => Foretold::Deny,
        Decision::StepUp => Foretold::StepUp,
    };
    let beyond = foreseen.reason.filter(|reason| matches!(reason, Reason::ScopeProbe | Reason::ScopeViolation));
    let note = match beyond {
        Some(_) => Note { refused: beyond, checked: Some(action.operation()), ..Note::default() },
        None => Note { object: Some(action.as_str().to_string()), ..Note::default() },
    };
    let value = CheckedAccess {
        key: requested.clone(),
        action,
        decision,
        reason: foreseen.reason.map(Reason::told),
        because: foreseen.because,
        risk: foreseen.risk,
    };
    Ok(Done { note, ..Done::read(value) })
}
