//! What every client of AWS shares: region, credentials and endpoint from the environment, and how long a call may take.

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use std::time::Duration;

/// Reads the environment; make it once and build every client from it. `AWS_ENDPOINT_URL` and its kind are honoured.
pub async fn from_environment() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts()).load().await
}

pub(crate) fn never_again() -> RetryConfig {
    RetryConfig::disabled()
}

/// An operation's own calls take 8 seconds at most, and it may have to be started.
pub(crate) fn timeouts_of_a_function() -> TimeoutConfig {
    let most = Duration::from_secs(15);
    let builder = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1));
    builder.operation_attempt_timeout(most).operation_timeout(most).build()
}

/// A caller of Aegis waits less than the 29 seconds of API Gateway, and one of several attempts must fit into that.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build()
}
