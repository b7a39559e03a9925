//! Who comes by the planes that are for agents alone: proved before anything is read, and told over HTTP where no agent asks.

use crate::inbound::is_of_nobody;
use crate::route::Route;
use crate::{Host, bearer, router};
use aegis_core::error::{Error, Failed};
use aegis_core::reason::Reason;
use aegis_core::token::Claims;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// A token that proves nothing gets no message read. What it stands on, the pipeline asks with each request.
pub(crate) fn prove(host: &Host, headers: &HeaderMap, source: IpAddr) -> Result<Arc<Claims>, Failed> {
    let (app, now) = (&host.app, host.app.clock.now());
    let token = app.tokens.look_up(bearer(headers).unwrap_or_default());
    if token.is_empty() {
        host.gate.count(source, now)?;
        return Err(Error::Unauthenticated { reason: Reason::MissingToken }.into());
    }
    if !token.is_known() {
        host.gate.check(source, now)?;
    }
    match app.tokens.verify_presented(&token, now) {
        Ok(claims) => Ok(claims),
        Err(reason) => {
            let error = Error::Unauthenticated { reason };
            if is_of_nobody(&error) {
                host.gate.count(source, now)?;
            }
            Err(error.into())
        }
    }
}

/// The route that stands for a request which asks for nothing in another's name: who sent it is on record by it.
pub(crate) fn whoami() -> Result<&'static Route, Error> {
    let found = router::find(&Method::GET, "/v1/whoami").map(|(route, _)| route);
    found.map_err(|_| Error::NotFound { kind: "route" })
}

/// Whether HTTP must tell of it, rather than the result of a call: there is no agent who asks.
pub(crate) fn is_turned_away(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated { .. } | Error::Denied { reason: Reason::AgentCredentialRequired })
}

/// One scope covers all there is for agents: what each may do with which keys, its authorization details say.
pub(crate) const AGENT_SCOPE: &str = "aegis_key_use";

/// Tells where tokens come from (RFC 9728 §5.1), and of a human's session what is missing.
pub(crate) fn challenge(mut response: Response<Bytes>, error: &Error, metadata: &str) -> Response<Bytes> {
    let headers = response.headers_mut();
    let given = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = match (given, error) {
        (Some("Bearer"), _) => format!("Bearer resource_metadata=\"{metadata}\""),
        (Some(given), _) => format!("{given}, resource_metadata=\"{metadata}\""),
        (None, Error::Denied { reason: Reason::AgentCredentialRequired }) => format!(
            "Bearer error=\"insufficient_scope\", scope=\"{AGENT_SCOPE}\", error_description=\"{}\", \
             resource_metadata=\"{metadata}\"",
            Reason::AgentCredentialRequired.sentence()
        ),
        (None, _) => return response,
    };
    if let Ok(value) = HeaderValue::from_str(&challenge) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    response
}
