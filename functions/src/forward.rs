//! What messages ask for, where operations are functions of their own: it is forwarded to the one that serves its
//! operation, with the credential that came with the message, and is decided on there as any request is that came by no
//! edge. Who forwards holds no key, and what it says of itself gives no right.

use crate::inbound::{Inbound, Malformed, carry_out};
use crate::route::{Handler, Parameters, Route};
use crate::tools::{NotDone, Refusal};
use crate::{Host, Reply, caller, fitting_idempotency_key, router, routes};
use aegis_core::encoding;
use aegis_core::error::{Cause, Error, Failed};
use aegis_core::id::{RecordId, RequestId};
use aegis_core::operation::Operation;
use aegis_core::reason::Reason;
use aegis_core::record::{Claimed, Plane};
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where what messages ask for is carried out.
pub enum Operations {
    Here,
    Elsewhere(Arc<dyn Forward>),
}

impl Operations {
    /// How long calls of one request are begun; what is not begun then is told to be so, rather than lose what was done.
    pub(crate) fn patience(&self) -> Option<Duration> {
        matches!(self, Self::Elsewhere(_)).then_some(PATIENCE)
    }
}

/// What reads messages has 28 seconds, and an operation answers within 15 or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the functions that serve operations.
#[async_trait]
pub trait Forward: Send + Sync {
    /// What the function of this operation answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. Whether it was done is not known then; if it was, that is on record.
    async fn forward(&self, operation: Operation, asked: &Forwarded) -> Result<Answered, Error>;
}

/// A request as it is forwarded.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    id: RequestId,
    method: String,
    /// The route's, parameters in braces.
    path: String,
    parameters: BTreeMap<String, String>,
    token: Option<String>,
    plane: Plane,
    source: IpAddr,
    user_agent: Option<String>,
    claims: Option<Claimed>,
    content_type: Option<String>,
    query: String,
    /// In base64url.
    body: String,
    idempotency_key: Option<IdempotencyKey>,
    malformed: Option<Unmade>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum IdempotencyKey {
    Fits(String),
    /// It can be none.
    Unfit,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Unmade {
    field: String,
    why: String,
}

/// What is answered to it.
#[derive(Deserialize, Serialize)]
pub struct Answered(Outcome);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done {
        status: Option<u16>,
        body: String,
    },
    Refused(Box<Refusal>),
    /// There is no agent who asks.
    TurnedAway {
        reason: Reason,
        record: Option<RecordId>,
    },
}

/// What a request that a message stands for came to.
///
/// # Errors
/// [`NotDone`]: refused, or failed.
pub(crate) async fn ask(host: &Host, inbound: Inbound<'_>) -> Result<Reply, NotDone> {
    let Operations::Elsewhere(functions) = &host.operations else { return asked_here(host, inbound).await };
    let (operation, id) = (inbound.route.asked_operation()?, inbound.id.clone());
    match functions.forward(operation, &Forwarded::of(inbound)).await {
        Ok(answered) => answered.told(),
        // It was not begun.
        Err(error @ Error::LimitReached { .. }) => Err(NotDone::Refused(Box::new(Refusal::of(&error.into(), &id)))),
        Err(error) => Err(NotDone::Refused(Box::new(Refusal::unclear(&error.into(), &id)))),
    }
}

/// Carries it out, and counts it as a request of its route.
async fn asked_here(host: &Host, inbound: Inbound<'_>) -> Result<Reply, NotDone> {
    let (clock, id, operation) = (&host.app.clock, inbound.id, inbound.route.operation());
    let (began, status) = (clock.precise(), inbound.route.status.as_u16());
    let (outcome, status) = match carry_out(host, inbound).await {
        Ok(reply) => (Ok(reply), status),
        Err(failed) if caller::is_turned_away(&failed.error) => (Err(NotDone::TurnedAway(failed)), 401),
        Err(failed) => {
            host.count_refusal(&failed.error);
            let refusal = Refusal::of(&failed, id);
            let status = refusal.status();
            (Err(NotDone::Refused(Box::new(refusal))), status)
        }
    };
    host.metrics.answered(operation, status, clock.precise().duration_since(began).as_secs_f64());
    outcome
}

/// Answers what was forwarded to the function that serves this operation.
///
/// # Errors
/// What nobody forwards to it.
pub async fn answer(host: &Host, serves: Option<&str>, asked: &Forwarded) -> Result<Answered, Cause> {
    let route = asked.route().filter(|route| serves == Some(route.operation()) && asked.plane.is_for_agents());
    let Some(route) = route else { return Err("this function serves no such request of an agent's".into()) };
    let body = encoding::from_base64url(&asked.body).ok_or("`body` is not base64url")?;
    let inbound = Inbound {
        id: &asked.id,
        route,
        parameters: asked.parameters(),
        token: asked.token.as_deref(),
        plane: asked.plane,
        source: asked.source,
        user_agent: asked.user_agent.as_deref(),
        claims: asked.claims.as_ref(),
        content_type: asked.content_type.as_deref(),
        query: &asked.query,
        body: &body,
        idempotency_key: asked.idempotency_key.as_ref().map(|key| match key {
            IdempotencyKey::Fits(text) => fitting_idempotency_key(text),
            IdempotencyKey::Unfit => fitting_idempotency_key(""),
        }),
        crossing: None,
        malformed: asked.malformed.as_ref().map(|Unmade { field, why }| Malformed { field: known(field), why }),
    };
    Ok(Answered::of(asked_here(host, inbound).await))
}

impl Forwarded {
    fn of(inbound: Inbound<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(ToString::to_string);
        let parameters = inbound.parameters.0.into_iter();
        Self {
            id: inbound.id.clone(),
            method: inbound.route.method.to_string(),
            path: inbound.route.path.to_string(),
            parameters: parameters.map(|(name, value)| (name.to_string(), value)).collect(),
            token: owned(inbound.token),
            plane: inbound.plane,
            source: inbound.source,
            user_agent: owned(inbound.user_agent),
            claims: inbound.claims.cloned(),
            content_type: owned(inbound.content_type),
            query: inbound.query.to_string(),
            body: encoding::base64url(inbound.body),
            idempotency_key: inbound.idempotency_key.map(|key| match key {
                Ok(text) => IdempotencyKey::Fits(text.to_string()),
                Err(_) => IdempotencyKey::Unfit,
            }),
            malformed: inbound
                .malformed
                .map(|Malformed { field, why }| Unmade { field: field.to_string(), why: why.to_string() }),
        }
    }

    /// Of those that messages ask for.
    fn route(&self) -> Option<&'static Route> {
        let asked = |route: &&Route| route.path == self.path && route.method.as_str() == self.method;
        routes::table().iter().find(asked).filter(|route| matches!(route.handler, Handler::Permitted(_)))
    }

    fn parameters(&self) -> Parameters {
        let named = self.parameters.iter();
        let known = named.filter_map(|(name, value)| Some((router::parameter(name)?, value.clone())));
        Parameters(known.collect())
    }
}

impl Answered {
    fn of(outcome: Result<Reply, NotDone>) -> Self {
        Self(match outcome {
            Ok(reply) => Outcome::Done {
                status: reply.status.map(|status| status.as_u16()),
                body: String::from_utf8_lossy(&reply.body).into_owned(),
            },
            Err(NotDone::Refused(refusal)) => Outcome::Refused(refusal),
            Err(NotDone::TurnedAway(Failed { error, record, .. })) => {
                let reason = match error {
                    Error::Unauthenticated { reason } | Error::Denied { reason } => reason,
                    _ => Reason::InvalidToken,
                };
                Outcome::TurnedAway { reason, record }
            }
        })
    }

    fn told(self) -> Result<Reply, NotDone> {
        match self.0 {
            Outcome::Done { status, body } => {
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                Ok(Reply { body: Bytes::from(body), status })
            }
            Outcome::Refused(refusal) => Err(NotDone::Refused(refusal)),
            Outcome::TurnedAway { reason, record } => {
                let error = match reason {
                    Reason::AgentCredentialRequired => Error::Denied { reason },
                    _ => Error::Unauthenticated { reason },
                };
                Err(NotDone::TurnedAway(Failed { record, ..Failed::from(error) }))
            }
        }
    }
}

/// What is named where a request cannot be made: it stands in the answer.
fn known(field: &str) -> &'static str {
    FIELDS.into_iter().find(|known| *known == field).unwrap_or("request")
}

const FIELDS: [&str; 11] = [
    "Content-Type",
    "Idempotency-Key",
    "action",
    "arguments",
    "body",
    "calls",
    "evaluations",
    "name",
    "query",
    "resource",
    "subject",
];
