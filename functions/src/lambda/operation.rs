//! An operation: acts on what the authorizer decided. Where no gateway stood before it, it decides itself: so it does on what
//! is forwarded to it.

use super::Function;
use super::events::{Asked, GatewayRequest, GatewayResponse, Told};
use crate::MAX_BODY;
use crate::edge::{self, Crossed};
use crate::forward::{self, Answered, Forwarded};
use crate::page;
use crate::problem::{Stranded, problem};
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::error::{Cause, Failed};
use aegis_core::id::RequestId;
use http::Method;
use std::sync::Arc;

/// # Errors
/// An event that neither a gateway makes nor the function that reads messages.
pub async fn answer(function: Arc<Function>, asked: Asked) -> Result<Told, Cause> {
    match asked {
        Asked::Forwarded { forwarded } => Ok(Told::Forwarded(forwarded_answer(&function, &forwarded).await?)),
        Asked::Gateway(request) => Ok(Told::Gateway(gateway_answer(&function, *request).await?)),
    }
}

async fn forwarded_answer(function: &Function, asked: &Forwarded) -> Result<Answered, Cause> {
    let whole = function.whole().await?;
    let answered = forward::answer(&whole.host, function.settings.operation.as_deref(), asked).await;
    super::summarize(&whole.host).await;
    answered
}

async fn gateway_answer(function: &Function, request: GatewayRequest) -> Result<GatewayResponse, Cause> {
    let (source, crossing) = (request.source()?, request.crossing().map(ToString::to_string));
    let request = request.into_http()?;
    let id = || RequestId::new(Timestamp::now(), &Entropy::system());
    // No route: nothing of the API is in it, and it comes to whoever has what is no route.
    let serves = function.settings.operation.as_deref();
    if request.method() == Method::GET
        && page::is_one(request.uri().path(), page::PATH)
        && let Some(page) = function.page().filter(|_| serves == Some("public"))
    {
        let answered = page.answer(Timestamp::now()).await;
        return Ok(answered.unwrap_or_else(|error| problem(&error.into(), &id())).into());
    }
    if let Some(response) = edge::missing(request.method(), request.uri().path(), &id()) {
        return Ok(response.into());
    }
    let asked = edge::operation_of(request.method(), request.uri().path());
    // Its role fits its own operation.
    if asked.is_none() || asked != serves {
        return Ok(Stranded::NoSuchPath.response(&id()).into());
    }
    if request.body().len() > MAX_BODY {
        return Ok(Stranded::TooLarge.response(&id()).into());
    }
    let whole = match function.whole().await {
        Ok(whole) => whole,
        Err(error) => return Ok(problem(&Failed::from(error), &id()).into()),
    };
    let crossed = crossing.as_deref().map(|signed| Crossed { signed, reader: &whole.reader });
    let response = edge::act(&whole.host, request, source, crossed).await;
    super::summarize(&whole.host).await;
    Ok(response.into())
}
