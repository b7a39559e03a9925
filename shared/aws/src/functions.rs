//! Other functions of the deployment, called and waited for.

use crate::unavailable;
use aegis_core::error::{Cause, Error};
use aegis_core::reason::Reason;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::primitives::Blob;

/// Functions whose names begin alike.
#[derive(Clone, Debug)]
pub struct Functions {
    client: Client,
    prefix: String,
}

impl Functions {
    pub fn new(client: Client, prefix: String) -> Self {
        Self { client, prefix }
    }

    /// What a function returns, which is JSON.
    ///
    /// # Errors
    /// [`Error::LimitReached`] where AWS had no room for it, and it did not run; [`Error::Unavailable`] where it was not called,
    /// or failed, or took too long: it may have acted.
    pub async fn call(&self, function: &str, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        let unavailable = unavailable("the operation's function");
        let called = self.client.invoke().function_name(format!("{}{function}", self.prefix));
        let sent = called.payload(Blob::new(payload)).send().await;
        let answer = sent.map_err(|error| match &error {
            SdkError::ServiceError(said) if said.err().is_too_many_requests_exception() => {
                tracing::warn!(function, error = %DisplayErrorContext(&error), "AWS had no room for a function");
                Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) }
            }
            _ => unavailable(Cause::from(DisplayErrorContext(error).to_string())),
        })?;
        if let Some(error) = answer.function_error() {
            return Err(unavailable(format!("{function}: {error}").into()));
        }
        Ok(answer.payload.map(Blob::into_inner).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
    use aws_smithy_runtime_api::client::http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;

    /// AWS, as far as it answers every call the same.
    #[derive(Clone, Debug)]
    struct Says(u16, &'static str);

    impl HttpClient for Says {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    impl HttpConnector for Says {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let mut answer = HttpResponse::new(self.0.try_into().unwrap(), SdkBody::from("{}"));
            answer.headers_mut().insert("x-amzn-errortype", self.1);
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    #[tokio::test]
    async fn what_aws_had_no_room_for_did_not_run_and_all_else_may_have() {
        for (status, kind, ran) in [
            (429, "TooManyRequestsException", false),
            (429, "SomethingElse", true),
            (500, "ServiceException", true),
            (502, "EC2ThrottledException", true),
        ] {
            let config = aws_sdk_lambda::Config::builder().behavior_version(BehaviorVersion::latest());
            let config = config.region(Region::new("us-east-1")).retry_config(crate::config::never_again());
            let config = config.credentials_provider(Credentials::for_tests()).http_client(Says(status, kind));
            let functions = Functions::new(Client::from_conf(config.build()), "a-".to_string());
            let error = functions.call("op-key-sign", Vec::new()).await.unwrap_err();
            let may_have = matches!(error, Error::Unavailable { .. });
            let did_not = matches!(error, Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) });
            assert_eq!((may_have, did_not), (ran, !ran), "{status} {kind}: {error}");
        }
    }
}
