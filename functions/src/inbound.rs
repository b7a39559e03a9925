//! A request of a route, whatever plane it came by, and the one way in which it is carried out.

use crate::call::Call;
use crate::route::{Access, Handler, Parameters, Route};
use crate::{Host, Reply};
use aegis_core::error::{Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::pipeline::{self, Crossing, Permit, Request};
use aegis_core::reason::Reason;
use aegis_core::record::{Claimed, Plane};
use std::net::IpAddr;

pub(crate) struct Inbound<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) route: &'static Route,
    pub(crate) parameters: Parameters,
    /// As it was presented; unverified.
    pub(crate) token: Option<&'a str>,
    pub(crate) plane: Plane,
    pub(crate) source: IpAddr,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) claims: Option<&'a Claimed>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) idempotency_key: Option<Result<&'a str, &'static str>>,
    /// What an edge decided on it, or why what came with it is nothing of the kind; `None` where no edge did.
    pub(crate) crossing: Option<Result<Crossing, Reason>>,
    /// Why it cannot be carried out, whoever asks: it is decided on and recorded like any other, and then fails.
    pub(crate) malformed: Option<Malformed<'a>>,
}

/// What no request can be made of.
#[derive(Clone, Copy)]
pub(crate) struct Malformed<'a> {
    pub(crate) field: &'static str,
    pub(crate) why: &'a str,
}

/// Identify, authorize, score, decide, execute, record; then the reply.
///
/// # Errors
/// As the pipeline's; on record wherever somebody is identified.
pub(crate) async fn carry_out(host: &Host, inbound: Inbound<'_>) -> Result<Reply, Failed> {
    let app = host.app.as_ref();
    let arrived_at = app.clock.precise();
    let target = inbound.route.target(&inbound.parameters);
    let asked = match &inbound.route.access {
        Access::Public => None,
        Access::Bearer(operation) => Some(Request {
            id: inbound.id.clone(),
            arrived_at,
            token: app.tokens.look_up(inbound.token.unwrap_or_default()),
            operation: *operation,
            target,
            plane: inbound.plane,
            source: inbound.source,
            user_agent: inbound.user_agent,
            claims: inbound.claims,
            body: Some(inbound.body),
            idempotency_key: inbound.idempotency_key,
        }),
    };
    let call = Call {
        app,
        id: inbound.id,
        arrived_at,
        source: inbound.source,
        user_agent: inbound.user_agent,
        content_type: inbound.content_type,
        parameters: inbound.parameters,
        query: inbound.query,
        body: inbound.body,
        url: &host.mcp.url,
    };
    match (&inbound.route.handler, asked) {
        (Handler::Public(handler), _) => {
            if inbound.route.counts_as_unverified {
                host.gate.check(inbound.source, app.clock.now())?;
            }
            let reply = handler(&call).await;
            if inbound.route.counts_as_unverified && reply.is_err() {
                host.gate.count(inbound.source, app.clock.now())?;
            }
            Ok(reply?)
        }
        (Handler::Permitted(handler), Some(asked)) => {
            let permit = admitted(host, &asked, inbound.crossing).await?;
            let malformed = inbound.malformed;
            pipeline::perform(app, &asked, &permit, |earlier| async {
                match malformed {
                    Some(Malformed { field, why }) => Err(Error::invalid(field, why)),
                    None => handler(&call, &permit, earlier).await,
                }
            })
            .await
        }
        // The table's constructors make no such route, and what asks for other routes is not carried out as it came.
        (Handler::Permitted(_), None)
        | (Handler::AuthZen(_) | Handler::Calls | Handler::Evaluate | Handler::Mcp, _) => {
            Err(Error::Unauthenticated { reason: Reason::MissingToken }.into())
        }
    }
}

/// Decides on a request, unless an edge did, which is looked at again. Requests that prove nothing are counted.
pub(crate) async fn admitted(
    host: &Host,
    asked: &Request<'_>,
    crossing: Option<Result<Crossing, Reason>>,
) -> Result<Permit, Failed> {
    let app = host.app.as_ref();
    if asked.token.is_empty() {
        host.gate.count(asked.source, app.clock.now())?;
        return Err(Error::Unauthenticated { reason: Reason::MissingToken }.into());
    }
    if !asked.token.is_known() {
        host.gate.check(asked.source, app.clock.now())?;
    }
    let permit = match crossing {
        None => pipeline::admit(app, asked).await,
        Some(crossing) => pipeline::resume(app, asked, crossing).await,
    };
    if permit.as_ref().is_err_and(|failed| is_of_nobody(&failed.error)) {
        host.gate.count(asked.source, app.clock.now())?;
    }
    permit
}

/// Whether a request was refused because its token proves nothing.
pub(crate) fn is_of_nobody(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated { reason: Reason::InvalidToken | Reason::CredentialExpired })
}
