//! What would be decided on a use of a key, without using it.

use super::admit::{Sight, Verdict, authorize, names_of, score, weigh};
use super::{App, Permit};
use crate::agent::HoldKind;
use crate::error::Error;
use crate::key::Usage;
use crate::reason::Reason;
use crate::record::Decision;
use crate::risk::Risk;
use crate::scope::Action;

/// The decision, as far as it does not depend on the request's body.
#[derive(Debug)]
pub struct Foreseen {
    pub decision: Decision,
    /// As it would be on record.
    pub reason: Option<Reason>,
    /// Why it would be decided so, or fail: public text.
    pub because: Option<String>,
    /// Only of a key within the scope.
    pub risk: Option<Risk>,
}

/// Foresees a use of the key that `permit` was made on, by whoever holds the permit and from where she asks. Counts
/// nothing: neither against limits nor in the pace of requests.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn foresee(app: &App, permit: &Permit, action: Action, sight: &Sight<'_>) -> Result<Foreseen, Error> {
    let (facts, found, now) = (&permit.facts, &permit.found, app.clock.now());
    let operation = action.operation();
    if let Err(verdict) = authorize(facts, found, operation, now) {
        return match verdict {
            Verdict::Denied(reason) => Ok(Foreseen::denied(reason, None)),
            Verdict::Failed(error) => Err(error),
        };
    }
    let live = app.live.look(&names_of(&facts.claims), now).await?;
    let sighting = Sight { operation, ..*sight }.sighting(facts, found, now);
    let risk = score(facts, found, sighting.as_ref(), now, Some(live));
    let decision = weigh(facts, found, operation, &risk, sighting.as_ref(), now);
    if decision == Decision::Deny {
        let held = facts.held(now) == Some(HoldKind::Deny);
        return Ok(Foreseen::denied(if held { Reason::Held } else { Reason::RiskTooHigh }, Some(risk)));
    }
    if let Some(spent) = app.spent(&facts.chain, now).await? {
        return Ok(Foreseen::denied(spent, Some(risk)));
    }
    let usable = permit.key()?.key.check_usable(usage(action));
    if let Err(error) = usable {
        let because = Some(error.to_string());
        return Ok(Foreseen { decision: Decision::Deny, reason: None, because, risk: Some(risk) });
    }
    let reason = (decision == Decision::StepUp).then_some(Reason::StepUp);
    Ok(Foreseen { decision, reason, because: reason.map(|reason| reason.sentence().to_string()), risk: Some(risk) })
}

impl Foreseen {
    fn denied(reason: Reason, risk: Option<Risk>) -> Self {
        let because = Some(reason.told().sentence().to_string());
        Self { decision: Decision::Deny, reason: Some(reason), because, risk }
    }
}

/// What the operation will ask of the key's state.
fn usage(action: Action) -> Usage {
    match action {
        Action::Encrypt
        | Action::GenerateDataKey
        | Action::Mac
        | Action::ReEncrypt
        | Action::Rotate
        | Action::Sign
        | Action::Wrap => Usage::Protect,
        Action::Decrypt | Action::Unwrap | Action::Verify | Action::VerifyMac => Usage::Process,
    }
}
