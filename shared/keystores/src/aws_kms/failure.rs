//! What KMS says when it does not do what it was asked, and what that means to a caller.

use aegis_core::keystore::KeyStoreError;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use std::error::Error;
use std::fmt;

/// A call that had no good answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What KMS calls it; absent if KMS said nothing.
    code: Option<String>,
    /// Whether KMS is to blame, or the way to it.
    outage: bool,
    /// KMS's name for the call; empty if it said nothing.
    request: String,
    cause: Cause,
}

type Cause = Box<dyn Error + Send + Sync>;

/// What an answer of KMS says, with what finds it in CloudTrail.
#[derive(Debug)]
struct Answered {
    code: String,
    request: String,
    message: String,
}

impl Failure {
    pub(super) fn new<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|answer| answer.status());
        let Some(service) = error.as_service_error() else {
            return Self { code: None, outage: true, request: String::new(), cause: error.into() };
        };
        let code = service.code().unwrap_or_default().to_string();
        let request = error.request_id().unwrap_or_default().to_string();
        let message = service.message().unwrap_or_default().to_string();
        // A key that is not available for a moment, be it that its custom key store is away, says nothing of other keys.
        let outage = status.is_some_and(|status| status.is_server_error()) && code != "KeyUnavailableException";
        let cause = Answered { code: code.clone(), request: request.clone(), message }.into();
        Self { code: Some(code), outage, request, cause }
    }

    /// Nothing was asked.
    pub(super) fn unasked(why: &'static str) -> Self {
        Self { code: None, outage: false, request: String::new(), cause: why.into() }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    pub(super) fn request(&self) -> &str {
        &self.request
    }

    pub(super) fn is_outage(&self) -> bool {
        self.outage
    }

    /// Of a key that Aegis has. It was fit to be used: what is wrong with it now is none of the caller's doing.
    pub(super) fn on_use(self) -> KeyStoreError {
        match self.code.as_deref() {
            Some("IncorrectKeyException" | "InvalidCiphertextException") => KeyStoreError::Refused,
            Some("ValidationException") => KeyStoreError::Invalid { what: "KMS does not take this input" },
            Some("DisabledException") => KeyStoreError::State { state: "disabled" },
            Some("KMSInvalidStateException") => {
                KeyStoreError::State { state: "pending deletion, or otherwise not usable" }
            }
            Some("NotFoundException") => KeyStoreError::State { state: "gone" },
            _ => KeyStoreError::Unavailable { source: self.cause },
        }
    }

    /// Of an object that somebody named.
    pub(super) fn on_register(self) -> KeyStoreError {
        match self.code.as_deref() {
            Some("NotFoundException") => {
                KeyStoreError::Invalid { what: "KMS has no such key, in this region and account" }
            }
            Some("AccessDeniedException") => KeyStoreError::Invalid { what: "KMS does not let Aegis use this key" },
            Some("InvalidArnException" | "ValidationException") => {
                KeyStoreError::Invalid { what: "KMS keys are named by ARN, by key id or as alias/name" }
            }
            Some("DisabledException" | "KMSInvalidStateException") => NOT_ENABLED,
            _ => KeyStoreError::Unavailable { source: self.cause },
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KMS answered {}, request {}: {}", self.code, self.request, self.message)
    }
}

impl Error for Answered {}

pub(super) const NOT_ENABLED: KeyStoreError = KeyStoreError::Invalid { what: "the KMS key is not enabled" };
