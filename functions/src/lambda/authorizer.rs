//! The authorizer: identify, authorize, score, decide, and answer misuse inline. It sees no body.

use super::Function;
use super::emf::Metric;
use super::events::{Authorized, CROSSING, GatewayRequest};
use crate::edge::{self, AtEdge, Refusal};
use aegis_core::ambient::Timestamp;
use aegis_core::error::Cause;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the gateway takes for a 401.
#[derive(Debug, thiserror::Error)]
#[error("Unauthorized")]
struct Unauthorized;

/// Lambda counts each `Unauthorized` as an error of the function, too, so that its own count says what strangers do. This one
/// leaves them out. A crash, or the end of the function's time, tells nothing here: the gateway's 5XX do.
pub(super) const FAILED: Metric = Metric { name: "AuthorizerErrors", unit: "Count", value: 1 };

/// # Errors
/// `Unauthorized` for who proves nothing; anything else where nothing could be decided, which the gateway tells as its own
/// failure.
pub async fn answer(function: Arc<Function>, request: GatewayRequest) -> Result<Authorized, Cause> {
    let answered = authorized(&function, request).await;
    if let Err(error) = &answered
        && is_failure(error)
    {
        tell_failure(&function);
    }
    answered
}

fn tell_failure(function: &Function) {
    FAILED.tell(&function.settings.bus, Timestamp::now());
}

fn is_failure(error: &Cause) -> bool {
    !error.is::<Unauthorized>()
}

async fn authorized(function: &Function, request: GatewayRequest) -> Result<Authorized, Cause> {
    let at = function.edge().await?;
    let method = request.method_arn.clone().unwrap_or_default();
    let source = request.source()?;
    let (head, _) = request.into_http()?.into_parts();
    let decided = edge::decide(&at.host, &at.edge, &http::Request::from_parts(head, ()), source).await;
    super::summarize(&at.host).await;
    match decided {
        AtEdge::Passes { crossing, failed } => {
            // The operation says it in its place.
            if failed {
                tell_failure(function);
            }
            Ok(Authorized::new(true, &method, BTreeMap::from([(CROSSING, crossing)])))
        }
        AtEdge::Refused(refusal) => match refusal.status {
            StatusCode::UNAUTHORIZED => Err(Unauthorized.into()),
            status if is_denial(status) => Ok(Authorized::new(false, &method, told(*refusal))),
            status => Err(format!("{status}: {}", refusal.title).into()),
        },
    }
}

/// What the gateway answers 403 for: also a path that to the gateway is a route, and to Aegis none, as one with an escaped slash. Were
/// that a failure, whoever sends one would have the alarms go off.
fn is_denial(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// What the gateway puts into the body of its 403.
fn told(refusal: Refusal) -> BTreeMap<&'static str, String> {
    let plain = |text: String| text.replace(['"', '\\', '\n'], "'");
    BTreeMap::from([
        ("code", plain(refusal.code)),
        ("title", plain(refusal.title)),
        ("reason", plain(refusal.reason)),
        ("record", plain(refusal.record)),
        ("request_id", plain(refusal.request_id)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_no_failure() {
        assert!(!is_failure(&Unauthorized.into()));
        assert!(is_failure(&format!("{}: the store did not answer", StatusCode::SERVICE_UNAVAILABLE).into()));
        assert!(is_denial(StatusCode::FORBIDDEN) && is_denial(StatusCode::NOT_FOUND));
        assert!(!is_denial(StatusCode::SERVICE_UNAVAILABLE) && !is_denial(StatusCode::INTERNAL_SERVER_ERROR));
        // What API Gateway answers 401 for.
        assert_eq!(Unauthorized.to_string(), "Unauthorized");
    }
}
