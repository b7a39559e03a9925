//! A deployment in two halves: the edge decides on what it sees of a request, which is no body, and the operation acts on
//! what the edge signed. Between them lies whatever the host has there: on AWS, API Gateway.

use crate::inbound::admitted;
use crate::problem::{describe, problem, respond};
use crate::route::{Access, Handler, Route};
use crate::{Host, IDEMPOTENCY_KEY, bearer, finished, handle_as, idempotency_key, router, traced};
use aegis_core::ambient::Timestamp;
use aegis_core::error::{Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::pipeline::{Answer, Crossing, PermitKeys, PermitReader, PermitSigner, Request};
use aegis_core::reason::Reason;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;

/// What becomes of a request at the edge.
#[derive(Debug)]
pub enum AtEdge {
    /// The operation is called with this: what was decided, or, where nothing could be (`failed`), to say just that.
    Passes { crossing: String, failed: bool },
    /// The operation is not called. What a gateway cannot put as it is, it says as well as it can.
    Refused(Box<Refusal>),
}

/// Why the operation is not called.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub title: String,
    pub reason: String,
    /// Empty where nothing is on record.
    pub record: String,
    pub request_id: String,
    response: Response<Bytes>,
}

/// What an edge signs with: a key of its own for a day, then another.
pub struct Edge {
    keys: Arc<dyn PermitKeys>,
    signer: tokio::sync::Mutex<Option<Arc<PermitSigner>>>,
}

impl Edge {
    pub fn new(keys: Arc<dyn PermitKeys>) -> Self {
        Self { keys, signer: tokio::sync::Mutex::default() }
    }

    async fn signer(&self, now: Timestamp) -> Result<Arc<PermitSigner>, Error> {
        let mut known = self.signer.lock().await;
        if let Some(signer) = known.as_ref().filter(|signer| signer.serves(now)) {
            return Ok(Arc::clone(signer));
        }
        let signer = Arc::new(PermitSigner::generate(now)?);
        self.keys.publish(signer.key()).await?;
        Ok(Arc::clone(known.insert(signer)))
    }
}

/// Decides on a request to a route with a bearer token, without its body.
pub async fn decide(host: &Host, edge: &Edge, head: &http::Request<()>, source: IpAddr) -> AtEdge {
    let app = host.app.as_ref();
    let id = RequestId::new(app.clock.now(), &app.entropy);
    let signer = match edge.signer(app.clock.now()).await {
        Ok(signer) => signer,
        Err(error) => return AtEdge::Refused(Refusal::of(&error.into(), &id)),
    };
    let no_route = || Failed::from(Error::NotFound { kind: "route" });
    let (route, parameters) = match router::find(head.method(), head.uri().path()) {
        Ok((route, parameters)) if matches!(route.handler, Handler::Permitted(_)) => (route, parameters),
        _ => return AtEdge::Refused(Refusal::of(&no_route(), &id)),
    };
    let Access::Bearer(operation) = &route.access else { return AtEdge::Refused(Refusal::of(&no_route(), &id)) };
    let header = |name: HeaderName| head.headers().get(name).and_then(|value| value.to_str().ok());
    let claims = traced(head.headers());
    let request = Request {
        id: id.clone(),
        arrived_at: app.clock.precise(),
        token: app.tokens.look_up(bearer(head.headers()).unwrap_or_default()),
        operation: *operation,
        target: route.target(&parameters),
        plane: route.plane,
        source,
        user_agent: header(USER_AGENT),
        claims: claims.as_ref(),
        body: None,
        idempotency_key: idempotency_key(route, head.headers().get(IDEMPOTENCY_KEY)),
    };
    let (signed, failed) = match admitted(host, &request, None).await {
        Ok(permit) => (signer.permit(&request, &permit), false),
        Err(failed) => {
            host.count_refusal(&failed.error);
            match can_be_put(&failed) {
                true => return AtEdge::Refused(Refusal::of(&failed, &id)),
                false => {
                    let problem = problem(&failed, &id);
                    (signer.answer(app, &request, answer(&problem)), problem.status().is_server_error())
                }
            }
        }
    };
    match signed {
        Ok(crossing) => AtEdge::Passes { crossing, failed },
        Err(error) => AtEdge::Refused(Refusal::of(&error.into(), &id)),
    }
}

/// Whether a gateway can say it with a fixed body of the same meaning. It has one for whoever proves nothing, and one that
/// says why somebody may not.
fn can_be_put(failed: &Failed) -> bool {
    match &failed.error {
        Error::Unauthenticated { .. } => crate::inbound::is_of_nobody(&failed.error) || is_missing(&failed.error),
        // What makes up a risk fits no fixed body.
        Error::Denied { .. } => failed.risk.is_none(),
        _ => false,
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated { reason: Reason::MissingToken })
}

impl Refusal {
    fn of(failed: &Failed, id: &RequestId) -> Box<Self> {
        let (status, problem) = describe(failed, id);
        let told = |text: &Option<String>| text.clone().unwrap_or_default();
        Box::new(Self {
            status,
            code: problem.code.to_string(),
            title: problem.title.clone(),
            reason: problem.reason.map(|reason| reason.as_str().to_string()).unwrap_or_default(),
            record: told(&problem.record),
            request_id: problem.request_id.clone(),
            response: respond(&failed.error, (status, problem)),
        })
    }

    /// The answer as a host in one piece would give it.
    pub fn response(self) -> Response<Bytes> {
        self.response
    }
}

fn answer(response: &Response<Bytes>) -> Answer {
    let headers = response.headers().iter();
    let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_string())));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(response.body()).into_owned(),
    }
}

/// What an edge said, made a response.
pub(crate) fn said(answer: Answer) -> Response<Bytes> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Bytes::from(answer.body)).unwrap_or_else(|_| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response.headers_mut().remove(CONTENT_TYPE);
        response
    })
}

/// What an edge signed, for who acts.
#[derive(Clone, Copy, Debug)]
pub struct Crossed<'a> {
    pub signed: &'a str,
    pub reader: &'a PermitReader,
}

/// What was read of it.
pub(crate) enum Read {
    Answer(Answer),
    Permit(Crossing),
}

impl Crossed<'_> {
    pub(crate) async fn read(&self, route: &Route, now: Timestamp) -> Result<Result<Read, Reason>, Error> {
        let read = self.reader.read(self.signed, now).await?;
        Ok(read.map(|crossing| match (crossing.answer(), &route.access) {
            (Some((operation, answer)), Access::Bearer(asked)) if operation == *asked => Read::Answer(answer.clone()),
            _ => Read::Permit(crossing),
        }))
    }
}

/// Acts on what an edge decided. Where nothing came from an edge, decides itself.
pub async fn act(
    host: &Arc<Host>,
    request: http::Request<Bytes>,
    source: IpAddr,
    crossed: Option<Crossed<'_>>,
) -> Response<Bytes> {
    handle_as(host, request, source, crossed).await
}

/// What is answered where there is no route; `None` where there is one.
pub fn missing(method: &http::Method, path: &str, id: &RequestId) -> Option<Response<Bytes>> {
    router::find(method, path).err().map(|missing| finished(missing.response(id), id))
}

/// Whether a request is a message, which says in its body what it asks for.
pub fn is_message(method: &http::Method, path: &str) -> bool {
    router::find(method, path).is_ok_and(|(route, _)| route.takes_messages())
}

/// What the routes of a method and path are one operation of: `public` for those without a bearer token, `None` where there
/// is no route that an operation's function serves.
pub fn operation_of(method: &http::Method, path: &str) -> Option<&'static str> {
    let (route, _) = router::find(method, path).ok()?;
    match (&route.handler, &route.access) {
        (Handler::Permitted(_), Access::Bearer(operation)) => Some(operation.as_str()),
        (Handler::Public(_), Access::Public) => Some("public"),
        _ => None,
    }
}
