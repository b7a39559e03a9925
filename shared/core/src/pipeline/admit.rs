//! Identify, authorize, score, decide: from a presented token to a permit, or to a refusal that is on record.

use super::facts::{Facts, Found, agent_facts};
use super::permit::{LIFETIME, Permit};
use super::refuse::{self, Refused};
use super::{App, Request};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::{Error, Failed};
use crate::id::RecordId;
use crate::operation::Operation;
use crate::policy::Resource;
use crate::reason::Reason;
use crate::risk::{self, Observation};

/// How old a login may be for what needs a fresh one, in seconds (DESIGN §5).
const FRESH_LOGIN: u32 = 300;

/// Decides on a request. A refusal of a verified principal is recorded, and answered inline where a rule says so, before
/// this returns; of an unverified one it is not: the host counts those.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Denied`], [`Error::NotFound`] for those who may see all names,
/// [`Error::FreshLoginNeeded`], [`Error::LimitReached`], [`Error::Unavailable`].
pub async fn admit(app: &App, request: &Request<'_>) -> Result<Permit, Failed> {
    let now = app.clock.now();
    let claims = app.tokens.verify_presented(&request.token, now);
    let claims = claims.map_err(|reason| Error::Unauthenticated { reason })?;
    if let Err(spent) = app.rates.count(&claims.root(), now) {
        let (reason, retry_after) = (Reason::RateLimited, Some(spent.retry_after));
        return Err(Error::LimitReached { reason, retry_after }.into());
    }
    let (facts, found) = app.gather(claims, &request.target, now).await?;
    let id = RecordId::new(now, &app.entropy);
    let facts = match facts {
        Ok(facts) => facts,
        Err((reason, claims)) => {
            let refused = Refused { id: &id, request, claims: &claims, found: &found, risk: None, policy_version: 0 };
            return Err(refuse::unidentified(app, refused, reason).await?);
        }
    };
    let risk = risk::score(&Observation {
        scope_breadth: facts.claims.authorization_details.as_ref().map(|scope| scope.breadth()),
        credential_issued_at: Timestamp::from_second(facts.claims.iat).unwrap_or(now),
        now,
        behaviour: None,
    });
    let refused = Refused {
        id: &id,
        request,
        claims: &facts.claims,
        found: &found,
        risk: Some(&risk),
        policy_version: facts.policies.version,
    };
    if let Some(why) = request.idempotency_key.as_ref().and_then(|key| key.as_ref().err()) {
        let error = Error::invalid("Idempotency-Key", *why);
        return Err(refuse::failed(app, refused, error).await?);
    }
    if let Err(verdict) = authorize(&facts, &found, request.operation, now) {
        return Err(match verdict {
            Verdict::Denied(reason) => refuse::denied(app, refused, &facts, reason).await?,
            Verdict::Failed(error) => refuse::failed(app, refused, error).await?,
        });
    }
    if request.operation.needs_fresh_login() && facts.chain.is_empty() && !is_fresh(&facts, now) {
        return Err(refuse::failed(app, refused, Error::FreshLoginNeeded { max_age: FRESH_LOGIN }).await?);
    }
    if request.operation.action().is_some()
        && let Err(spent) = app.count_use(&facts.chain, now).await?
    {
        return Err(refuse::failed(app, refused, spent).await?);
    }
    Ok(Permit { id, operation: request.operation, facts, found, risk, expires_at: after_seconds(now, LIFETIME) })
}

enum Verdict {
    /// The principal may not; told as a denial whether or not the thing exists.
    Denied(Reason),
    /// The principal may, and it cannot be done.
    Failed(Error),
}

fn authorize(facts: &Facts, found: &Found, operation: Operation, now: Timestamp) -> Result<(), Verdict> {
    let decide = |resource: Resource<'_>| facts.decide(operation, &resource, now).map_err(Verdict::Denied);
    // Only who may see all names of a kind is told that one is missing; to others it looks forbidden.
    let missing = |list: Operation, kind| match facts.decide(list, &Resource::Deployment, now) {
        Ok(()) => Verdict::Failed(Error::NotFound { kind }),
        Err(_) => Verdict::Denied(Reason::Policy),
    };
    match found {
        Found::Key { record: Some(record), formers, .. } => {
            facts.decide(operation, &Resource::Key(&record.value.key), now).map_err(|reason| match reason {
                Reason::ScopeViolation => {
                    Verdict::Denied(facts.excuse(operation, Some(&record.value), formers).unwrap_or(reason))
                }
                other => Verdict::Denied(other),
            })
        }
        Found::Key { record: None, .. } if facts.chain.is_empty() => Err(missing(Operation::KeyList, "key")),
        Found::Key { record: None, formers, .. } => {
            let excuse = facts.excuse(operation, None, formers);
            Err(Verdict::Denied(excuse.unwrap_or(Reason::ScopeProbe)))
        }
        Found::Agent { agent: Some(agent), .. } => decide(Resource::Agent(agent_facts(&agent.value))),
        Found::Agent { agent: None, .. } => Err(missing(Operation::AgentList, "agent")),
        Found::Credential { id, credential: Some(credential) } => {
            let (human, agent) = (&credential.value.human, credential.value.agent.as_ref());
            decide(Resource::Credential { id, human, agent })
        }
        Found::Credential { credential: None, .. } => Err(missing(Operation::AgentList, "credential")),
        Found::Human { human: Some(human), .. } => decide(Resource::Human(&human.value.id)),
        Found::Human { id, human: None } => {
            decide(Resource::Human(id))?;
            Err(Verdict::Failed(Error::NotFound { kind: "human" }))
        }
        Found::Own => match facts.chain.first() {
            Some(agent) => decide(Resource::Agent(agent_facts(&agent.value))),
            None => decide(Resource::Human(&facts.human.id)),
        },
        Found::Deployment | Found::Record(_) => decide(Resource::Deployment),
        Found::Unreadable { field, why } => Err(Verdict::Failed(Error::invalid(field, why.clone()))),
    }
}

fn is_fresh(facts: &Facts, now: Timestamp) -> bool {
    let login = facts.claims.auth_time.unwrap_or(0);
    now.as_second().saturating_sub(login) <= i64::from(FRESH_LOGIN)
}
