//! Tools in function-call shape, for frameworks that do not speak MCP: the same tools, and each call the same request of a
//! route. Nothing is decided here. What is done about a batch, is: it ends where its caller leaves her scope.

pub(crate) mod authzen;
pub(crate) mod calls;
pub(crate) mod claims;
pub(crate) mod evaluation;
pub(crate) mod obligation;
pub(crate) mod tools;

use crate::call::Call;
use crate::forward::ask;
use crate::inbound::{Inbound, Malformed};
use crate::route::{Parameters, Route};
use crate::tools::{Asked, NotDone};
use crate::{Host, IDEMPOTENCY_KEY, Reply, bearer, caller, tools as all_tools};
use aegis_core::ambient::Timestamp;
use aegis_core::error::{Error, Failed};
use aegis_core::id::{AgentId, RequestId};
use aegis_core::reason::Reason;
use aegis_core::record::{Claimed, Plane};
use bytes::Bytes;
use calls::{Answered, CallResult, Calls, OneCall};
use claims::claimed;
use evaluation::{Evaluated, Evaluation};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, USER_AGENT};
use serde::de::DeserializeOwned;
use std::net::IpAddr;

/// Does what it is handed, in order, and says of each call what came of it.
///
/// # Errors
/// Where no agent asks; and where the body is no batch, which is on record as somebody who asked who she is.
pub(crate) async fn answer(
    host: &Host,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Result<Reply, NotDone> {
    let asking = Asking::proved(host, request, id, source)?;
    let calls = match asking.read(request.body()).and_then(Calls::in_order) {
        Ok(calls) => calls,
        Err(error) => return asking.unread(&error, request.body()).await,
    };
    let (mut results, mut ended) = (Vec::new(), false);
    let patience = Patience::of(host);
    for call in calls {
        if ended {
            results.push(CallResult::not_tried(call));
            continue;
        }
        if patience.is_over() {
            results.push(CallResult::not_begun(call));
            continue;
        }
        let result = match asking.call(&call).await {
            Ok(reply) => CallResult::done(call, &reply),
            Err(NotDone::Refused(refusal)) => {
                ended = refusal.reason() == Some(Reason::ScopeViolation) || refusal.is_unclear();
                CallResult::refused(call, &refusal)
            }
            Err(turned_away) if results.is_empty() => return Err(turned_away),
            // What was done before is told all the same: a signature that nobody gets is worse than one more status.
            Err(NotDone::TurnedAway(failed)) => {
                ended = true;
                host.count_refusal(&failed.error);
                CallResult::refused(call, &all_tools::Refusal::of(&failed, id))
            }
        };
        results.push(result);
    }
    Ok(Reply::json(&Answered { results })?)
}

/// Says what would be decided on a use, and how risky it is: what the tool `check_access` says.
///
/// # Errors
/// As [`answer`]'s.
pub(crate) async fn evaluate(
    host: &Host,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Result<Reply, NotDone> {
    let asking = Asking::proved(host, request, id, source)?;
    let asked: Evaluation = match asking.read(request.body()) {
        Ok(asked) => asked,
        Err(error) => return asking.unread(&error, request.body()).await,
    };
    let tool = all_tools::named("check_access").ok_or(Error::NotFound { kind: "tool" })?;
    let claims = claimed(asked.claims.as_ref(), None, asking.headers);
    let mut arguments = Asked::of(tool, Some(asked.arguments()));
    let told = ask(host, asking.inbound(tool.route, claims.as_ref()).asking(&mut arguments)).await?;
    Ok(Reply::json(&Evaluated::told(&told)?)?)
}

/// How long what is in one request is begun.
struct Patience<'a> {
    host: &'a Host,
    began: Timestamp,
}

impl<'a> Patience<'a> {
    fn of(host: &'a Host) -> Self {
        Self { host, began: host.app.clock.precise() }
    }

    fn is_over(&self) -> bool {
        let elapsed = self.host.app.clock.precise().duration_since(self.began);
        self.host.operations.patience().is_some_and(|most| elapsed.unsigned_abs() > most)
    }
}

/// Who hands calls in, and where from.
struct Asking<'a> {
    host: &'a Host,
    /// As the token says; `None` of a human.
    agent: Option<AgentId>,
    headers: &'a HeaderMap,
    id: &'a RequestId,
    source: IpAddr,
}

impl<'a> Asking<'a> {
    /// Nothing is read of who proves nothing.
    fn proved(
        host: &'a Host,
        request: &'a http::Request<Bytes>,
        id: &'a RequestId,
        source: IpAddr,
    ) -> Result<Self, Failed> {
        let headers = request.headers();
        let claims = caller::prove(host, headers, source)?;
        let agent = claims.act.as_ref().map(|act| act.sub.clone());
        Ok(Self { host, agent, headers, id, source })
    }

    fn text(&self, header: http::HeaderName) -> Option<&'a str> {
        self.headers.get(header).and_then(|value| value.to_str().ok())
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        if self.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(Error::invalid("Idempotency-Key", "it is an argument of the calls that take one"));
        }
        let app = self.host.app.as_ref();
        let call = Call {
            app,
            id: self.id,
            arrived_at: app.clock.precise(),
            source: self.source,
            user_agent: None,
            content_type: self.text(CONTENT_TYPE),
            parameters: Parameters::default(),
            query: "",
            body,
            url: &self.host.mcp.url,
        };
        call.json()
    }

    /// Who sent what cannot be read is identified all the same, and it is on record.
    async fn unread(&self, error: &Error, body: &[u8]) -> Result<Reply, NotDone> {
        let (field, why) = match error {
            Error::Invalid { field, source } => (*field, source.to_string()),
            other => ("body", other.to_string()),
        };
        let claims = claimed(None, None, self.headers);
        let inbound = self.inbound(caller::whoami()?, claims.as_ref());
        let malformed = Some(Malformed { field, why: &why });
        ask(self.host, Inbound { body, malformed, ..inbound }).await
    }

    /// What cannot be asked of a tool's route is on record as somebody who asked who she is.
    async fn call(&self, call: &OneCall) -> Result<Reply, NotDone> {
        let claims = claimed(call.claims.as_ref(), call.id.as_deref(), self.headers);
        let unread = |field, why| -> Result<_, Error> {
            let inbound = self.inbound(caller::whoami()?, claims.as_ref());
            Ok(Inbound { malformed: Some(Malformed { field, why }), ..inbound })
        };
        let Some(tool) = all_tools::named(&call.name) else {
            return ask(self.host, unread("name", "there is no such tool")?).await;
        };
        let arguments = match &call.arguments {
            Ok(arguments) => arguments.clone(),
            Err(why) => return ask(self.host, unread("arguments", why)?).await,
        };
        let mut asked = Asked::of(tool, arguments);
        let inbound = self.inbound(tool.route, claims.as_ref()).asking(&mut asked);
        ask(self.host, inbound).await
    }

    fn inbound<'b>(&'b self, route: &'static Route, claims: Option<&'b Claimed>) -> Inbound<'b> {
        Inbound {
            id: self.id,
            route,
            parameters: Parameters::default(),
            token: bearer(self.headers),
            plane: Plane::AgentAi,
            source: self.source,
            user_agent: self.text(USER_AGENT),
            claims,
            content_type: None,
            query: "",
            body: &[],
            idempotency_key: None,
            crossing: None,
            malformed: None,
        }
    }
}
