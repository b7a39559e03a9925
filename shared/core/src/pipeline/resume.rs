//! The other half of a decision made at the edge: what it rests on is read again, and decided again, before anything is
//! done. The risk was scored there, and the use counted.

use super::admit::{Sight, barred, names_of, weighed};
use super::crossing::{Crossing, Verdict};
use super::refuse::{self, Refused};
use super::{App, Obligation, Permit, Request};
use crate::ambient::Timestamp;
use crate::error::{Error, Failed};
use crate::id::RecordId;
use crate::keystore::Calls;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::risk::Risk;

/// A permit that another process decided on, as far as it still holds.
///
/// # Errors
/// As [`super::admit`]; [`Error::Denied`] with [`Reason::PermitInvalid`], on record, for a crossing that is none, or is for
/// another request.
pub async fn resume(app: &App, request: &Request<'_>, crossing: Result<Crossing, Reason>) -> Result<Permit, Failed> {
    let now = app.clock.now();
    let claims = app.tokens.verify_presented(&request.token, now);
    let claims = claims.map_err(|reason| Error::Unauthenticated { reason })?;
    // What is usual was looked at when the risk was scored; what is only asked about is scored here.
    let whose = (request.operation == Operation::AccessCheck).then(|| names_of(&claims));
    let (facts, found) = app.gather(claims, &request.target, whose, now).await?;
    // The permit's own id is that of the record of what it allows; a refusal uses none of it up.
    let fresh = RecordId::new(now, &app.entropy);
    let decided = crossing.and_then(|crossing| decided(crossing, request));
    let risk = decided.as_ref().ok().map(|decided| &decided.risk);
    let facts = match facts {
        Ok(facts) => facts,
        Err((reason, claims)) => {
            let refused = Refused { id: &fresh, request, claims: &claims, found: &found, risk, policy_version: 0 };
            return Err(refuse::unidentified(app, refused, reason).await?);
        }
    };
    let policy_version = facts.policies.version;
    let refused = Refused { id: &fresh, request, claims: &facts.claims, found: &found, risk, policy_version };
    let decided = match &decided {
        Ok(decided) => decided,
        Err(reason) => return Err(refuse::failed(app, refused, Error::Denied { reason: *reason }).await?),
    };
    barred(app, refused, &facts, now).await?;
    let sight = Sight { operation: request.operation, source: request.source, user_agent: request.user_agent };
    let sighting = sight.sighting(&facts, &found, now);
    let step_up = weighed(app, refused, &facts, &decided.risk, sighting.as_ref(), now).await?;
    let by_agent = !facts.chain.is_empty();
    let obligation = (by_agent && (step_up || decided.step_up)).then_some(Obligation::StepUp);
    let Decided { id, risk, expires_at, .. } = decided;
    let (id, risk, expires_at) = (id.clone(), risk.clone(), *expires_at);
    Ok(Permit {
        id,
        operation: request.operation,
        facts,
        found,
        risk,
        obligation,
        expires_at,
        crossed: true,
        calls: Calls::default(),
    })
}

/// What the edge says of a request.
struct Decided {
    id: RecordId,
    risk: Risk,
    step_up: bool,
    expires_at: Timestamp,
}

fn decided(crossing: Crossing, request: &Request<'_>) -> Result<Decided, Reason> {
    let for_this = crossing.is_for(request);
    let expires_at = crossing.expires_at();
    match crossing.verdict {
        Verdict::Permit { risk, step_up } if for_this => Ok(Decided { id: crossing.jti, risk, step_up, expires_at }),
        _ => Err(Reason::PermitInvalid),
    }
}
