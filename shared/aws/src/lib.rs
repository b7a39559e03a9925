//! The ports of Aegis on AWS: the store on DynamoDB, the root and the token-signing key in KMS, the bus and the alerts.
//! Nothing but composition roots depends on it.

pub mod alerts;
pub mod bus;
pub mod config;
pub mod functions;
pub mod live;
pub mod permits;
pub mod root;
pub mod store;
pub mod token;

use aegis_core::error::{Cause, Error};
use config::SdkConfig;

/// The client of DynamoDB. Like all of them it asks nothing before its first call.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(config)
}

pub fn eventbridge(config: &SdkConfig) -> aws_sdk_eventbridge::Client {
    aws_sdk_eventbridge::Client::new(config)
}

pub fn kms(config: &SdkConfig) -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(config)
}

/// Nothing is tried twice: what took too long may have been done.
pub fn lambda(config: &SdkConfig) -> aws_sdk_lambda::Client {
    let once = aws_sdk_lambda::config::Builder::from(config)
        .retry_config(config::never_again())
        .timeout_config(config::timeouts_of_a_function());
    aws_sdk_lambda::Client::from_conf(once.build())
}

pub fn sns(config: &SdkConfig) -> aws_sdk_sns::Client {
    aws_sdk_sns::Client::new(config)
}

fn unavailable(dependency: &'static str) -> impl Fn(Cause) -> Error {
    move |source| Error::Unavailable { dependency, source }
}
