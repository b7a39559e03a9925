//! The way to the emulator, on which answers get lost and others are given in its place.

use aws_sdk_kms::config::RuntimeComponents;
use aws_sdk_kms::config::http::HttpRequest;
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
    /// Nothing of it arrives, and the caller waits for ever.
    NoAnswer,
    /// It is not carried out, and answered so.
    Answer(u16, String),
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
    /// What was asked, whatever became of it.
    asked: Vec<String>,
    /// KMS's names for the calls that it answered.
    answered: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self { inner: aws_smithy_http_client::Builder::new().build_http(), plan: Arc::default() }
    }
}

impl Network {
    /// `operation` as KMS calls it.
    pub(crate) fn plan(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().faults.extend(faults.into_iter().map(|fault| (operation, fault)));
    }

    /// What was asked since the last time this was, by the names of the operations.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut plan = self.plan.lock().unwrap();
        assert!(plan.faults.is_empty(), "these met no request: {:?}", plan.faults);
        std::mem::take(&mut plan.asked)
    }

    /// KMS's names for the calls that it answered since the last time this was asked.
    pub(crate) fn answered(&self) -> Vec<String> {
        std::mem::take(&mut self.plan.lock().unwrap().answered)
    }

    fn fault(&self, request: &HttpRequest) -> Fault {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let mut plan = self.plan.lock().unwrap();
        plan.asked.push(operation.to_owned());
        match plan.faults.front() {
            Some((planned, _)) if *planned == operation => plan.faults.pop_front().unwrap().1,
            _ => Fault::Passes,
        }
    }
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
        let (inner, network) = (self.inner.clone(), self.network.clone());
        HttpConnectorFuture::new(async move {
            let answer = match fault {
                Fault::LostRequest | Fault::NoAnswer | Fault::Answer(..) => None,
                _ => Some(inner.call(request).await?),
            };
            if let Some(name) = answer.as_ref().and_then(|answer| answer.headers().get("x-amzn-requestid")) {
                network.plan.lock().unwrap().answered.push(name.to_owned());
            }
            match fault {
                Fault::Passes => Ok(answer.unwrap()),
                Fault::LostRequest | Fault::LostAnswer => Err(ConnectorError::io("the connection was cut".into())),
                Fault::NoAnswer => std::future::pending().await,
                Fault::Answer(status, body) => Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))),
            }
        })
    }
}
