//! How often a write is tried, and what a failed attempt says about whether it was made.

use super::unavailable;
use aegis_core::store::StoreError;
use aws_lc_rs::rand;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{Builder, Config};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was written; it may be, a moment later.
    Busy(Cause),
    /// Whether it was written is unknown.
    Doubtful(Cause),
    /// Trying again would change nothing.
    Final(StoreError),
}

type Cause = Box<dyn Error + Send + Sync>;

/// What the SDK says of an attempt that it made once.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match &error {
        SdkError::ConstructionFailure(_) => Failure::Final(unavailable(error)),
        SdkError::ServiceError(_) if code.is_some_and(|code| BUSY.contains(&code)) => Failure::Busy(error.into()),
        SdkError::ServiceError(answer) if answer.raw().status().is_client_error() => Failure::Final(unavailable(error)),
        _ => Failure::Doubtful(error.into()),
    }
}

/// Answers that say both that nothing was written and that it may be later.
const BUSY: &[&str] = &[
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Goes into each write: the SDK would not tell whether an attempt before the last one may have succeeded.
pub(super) fn once() -> Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

/// The attempts at one call.
#[derive(Debug)]
pub(super) struct Attempts {
    began: Instant,
    failed: u32,
    doubtful: bool,
}

impl Attempts {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), failed: 0, doubtful: false }
    }

    /// Whether one of those that failed may have written.
    pub(super) fn doubtful(&self) -> bool {
        self.doubtful
    }

    /// Waits until the next attempt, for a call that may be made twice; or says that there is none.
    pub(super) async fn again(&mut self, failure: Failure) -> Result<(), StoreError> {
        let cause = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Doubtful(cause) => {
                self.doubtful = true;
                cause
            }
            Failure::Busy(cause) => cause,
        };
        self.wait(cause).await
    }

    /// The same for a call that must not be made twice.
    pub(super) async fn again_unless_made(&mut self, failure: Failure) -> Result<(), StoreError> {
        match failure {
            Failure::Doubtful(cause) => Err(unavailable(cause)),
            failure => self.again(failure).await,
        }
    }

    pub(super) async fn wait(&mut self, cause: impl Into<Cause>) -> Result<(), StoreError> {
        self.failed = self.failed.saturating_add(1);
        if self.failed >= MOST || self.began.elapsed() > LONGEST {
            return Err(unavailable(cause));
        }
        sleep(pause(self.failed)).await;
        Ok(())
    }
}

/// Somewhere between nothing and a bound that doubles, so that those who met do not meet again.
fn pause(failed: u32) -> Duration {
    let bound = FIRST.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(LAST);
    let [byte, ..] = random();
    bound.mul_f64(f64::from(byte) / 255.0)
}

/// No two are alike, whichever process asks.
#[expect(clippy::expect_used, reason = "aws-lc-rs fails only where the system has no randomness to give")]
pub(super) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system's random generator failed");
    bytes
}

/// Chosen: all pauses together are below 3 seconds, and half of that on average.
const MOST: u32 = 8;
/// After it no attempt is begun; one takes 3 seconds at most, and API Gateway waits for 29.
const LONGEST: Duration = Duration::from_secs(8);
const FIRST: Duration = Duration::from_millis(25);
const LAST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_end_after_a_bounded_time() {
        let began = Instant::now();
        let mut attempts = Attempts::begin();
        let mut made = 1;
        while attempts.again(Failure::Busy("busy".into())).await.is_ok() {
            made += 1;
        }
        assert_eq!(made, MOST);
        assert!(!attempts.doubtful() && began.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_late() {
        let mut attempts = Attempts::begin();
        attempts.again(Failure::Doubtful("lost".into())).await.unwrap();
        tokio::time::advance(LONGEST + FIRST).await;
        let ended = attempts.again(Failure::Busy("busy".into())).await;
        assert!(attempts.doubtful() && matches!(ended, Err(StoreError::Unavailable { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_be_made_twice_is_tried_again_only_if_it_was_not_made() {
        let mut attempts = Attempts::begin();
        attempts.again_unless_made(Failure::Busy("busy".into())).await.unwrap();
        attempts.again_unless_made(Failure::Doubtful("lost".into())).await.unwrap_err();
    }
}
