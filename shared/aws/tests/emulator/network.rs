//! The way to the emulator, on which answers get lost and others are given in its place.

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing of it arrives.
    LostRequest,
    /// It is carried out; nothing of the answer arrives.
    LostAnswer,
    /// It is carried out, and the caller waits for ever.
    NoAnswer,
    /// Nothing of it arrives, and the caller waits for ever.
    Silence,
    /// It is not carried out, and answered so.
    Answer(u16, String),
    /// It is carried out, and answered so all the same.
    FalseAnswer(u16, String),
    Passes,
}

/// Requests of the chosen operations meet the chosen faults, in order; all others pass.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    inner: SharedHttpClient,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: VecDeque<(&'static str, Fault)>,
    /// What all others meet.
    always: Option<Fault>,
    /// What was asked, whatever became of it.
    asked: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self { inner: aws_smithy_http_client::Builder::new().build_http(), plan: Arc::default() }
    }
}

impl Network {
    /// `operation` as the service calls it.
    pub(crate) fn plan(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().faults.extend(faults.into_iter().map(|fault| (operation, fault)));
    }

    /// From now on every request meets it.
    pub(crate) fn always(&self, fault: Fault) {
        self.plan.lock().unwrap().always = Some(fault);
    }

    /// What was asked since the last time this was, by the names of the operations.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut plan = self.plan.lock().unwrap();
        assert!(plan.faults.is_empty(), "these met no request: {:?}", plan.faults);
        std::mem::take(&mut plan.asked)
    }

    fn fault(&self, request: &HttpRequest) -> Fault {
        let operation = operation(request);
        let mut plan = self.plan.lock().unwrap();
        let fault = match plan.faults.front() {
            Some((planned, _)) if *planned == operation => plan.faults.pop_front().unwrap().1,
            _ => plan.always.clone().unwrap_or(Fault::Passes),
        };
        plan.asked.push(operation);
        fault
    }
}

/// Most services name it in a header, SNS in the body, and Lambda by the end of the path.
fn operation(request: &HttpRequest) -> String {
    let in_body = || {
        let body = std::str::from_utf8(request.body().bytes()?).ok()?;
        body.strip_prefix("Action=")?.split('&').next()
    };
    let in_header = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
    in_header.or_else(in_body).or_else(|| request.uri().rsplit('/').next()).unwrap_or_default().to_owned()
}

impl HttpClient for Network {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Way { network: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Way {
    network: Network,
    inner: SharedHttpConnector,
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fault = self.network.fault(&request);
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            let answer = match fault {
                Fault::LostRequest | Fault::Silence | Fault::Answer(..) => None,
                _ => Some(inner.call(request).await?),
            };
            match fault {
                Fault::Passes => Ok(answer.unwrap()),
                Fault::LostRequest | Fault::LostAnswer => Err(ConnectorError::io("the connection was cut".into())),
                Fault::NoAnswer | Fault::Silence => std::future::pending().await,
                Fault::Answer(status, body) | Fault::FalseAnswer(status, body) => {
                    Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
                }
            }
        })
    }
}
