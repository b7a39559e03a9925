//! Errors as `application/problem+json` (RFC 9457). The one place that gives each its status and its code.

use aegis_core::ambient::{DateTime, Timestamp};
use aegis_core::error::{Chain, Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::reason::Reason;
use aegis_core::risk::Risk;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The body of every error.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub(crate) struct Problem {
    /// `urn:aegis:problem:` and the code.
    pub(crate) r#type: String,
    /// Public text: what went wrong.
    pub(crate) title: String,
    pub(crate) status: u16,
    /// What exactly is wrong with the request, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Stable; programs branch on it.
    pub(crate) code: Cow<'static, str>,
    /// Why a request was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The audit record that tells of it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
    /// The id of what an earlier request with the same idempotency key made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) earlier: Option<String>,
    /// The approval that is needed; the request is repeated unchanged once it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<String>,
    /// Where the agent's human answers it in a browser; absent where the deployment has no such page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval_url: Option<String>,
    /// Who approves types it. Nobody but the agent that asks is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval_code: Option<String>,
    /// Until when the approval can be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub(crate) expires_at: Option<Timestamp>,
    /// Where an approval is needed: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) risk: Option<Risk>,
    pub(crate) request_id: String,
    /// Of the token endpoint only (RFC 6749 §5.2).
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'static str>,
    /// Of the token endpoint only: the title, and the detail if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_description: Option<String>,
}

/// Every code there is, with its status: the catalogue in the docs is made of it.
pub const PROBLEMS: [(&str, u16); 21] = [
    ("already-done", 409),
    ("contended", 409),
    ("denied", 403),
    ("fresh-login-needed", 401),
    ("idempotency-mismatch", 422),
    ("internal", 500),
    ("invalid-request", 400),
    ("invalid-subject-token", 400),
    ("key-state", 409),
    ("limit-reached", 429),
    ("method-not-allowed", 405),
    ("name-taken", 409),
    ("no-such-route", 404),
    ("not-authentic", 422),
    ("not-found", 404),
    ("overloaded", 503),
    ("state", 409),
    ("too-large", 413),
    ("too-slow", 408),
    ("unauthenticated", 401),
    ("unavailable", 503),
];

/// Why a request reached no route, or no reply came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stranded {
    Crashed,
    Malformed,
    NoSuchMethod,
    NoSuchPath,
    Overloaded,
    TooLarge,
    TooSlow,
}

impl Stranded {
    fn kind(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Crashed => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request failed"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "invalid-request", "the body broke off, or is not in chunks"),
            Self::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path has other methods"),
            // Says nothing of what exists: the paths are public.
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no-such-route", "no such path; see /v1/openapi.json"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "the server is busy"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "a body is at most 1 MiB"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "the body took longer than 30 seconds"),
        }
    }

    pub(crate) fn response(self, request_id: &RequestId) -> Response<Bytes> {
        let (status, code, title) = self.kind();
        let mut response = answer(status, &Problem::new(status, code, title.to_string(), request_id));
        if self == Self::Overloaded {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1_u32));
        }
        response
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: String, request_id: &RequestId) -> Self {
        Self {
            r#type: format!("urn:aegis:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: None,
            code: code.into(),
            reason: None,
            record: None,
            earlier: None,
            approval: None,
            approval_url: None,
            approval_code: None,
            expires_at: None,
            risk: None,
            request_id: request_id.to_string(),
            error: None,
            error_description: None,
        }
    }
}

pub(crate) fn answer(status: StatusCode, problem: &Problem) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(serde_json::to_vec(problem).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Turns an error into its response, and logs it where a person should look.
pub fn problem(failed: &Failed, request_id: &RequestId) -> Response<Bytes> {
    respond(&failed.error, describe(failed, request_id))
}

/// The same at the token endpoint, where a client looks for `error` and `error_description` in plain JSON.
pub(crate) fn token_problem(failed: &Failed, request_id: &RequestId) -> Response<Bytes> {
    let error = &failed.error;
    let told = match error {
        Error::Invalid { field: "grant_type", .. } => Some("unsupported_grant_type"),
        // RFC 8693 §2.2.2 has no code of its own for a subject token.
        Error::Invalid { .. } | Error::SubjectToken { .. } => Some("invalid_request"),
        _ => None,
    };
    let (status, problem) = describe(failed, request_id);
    let described = problem.detail.as_ref().map(|detail| format!("{}: {detail}", problem.title));
    let described = told.map(|_| described.unwrap_or_else(|| problem.title.clone()));
    let mut response = respond(error, (status, Problem { error: told, error_description: described, ..problem }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn describe(Failed { error, record, risk }: &Failed, request_id: &RequestId) -> (StatusCode, Problem) {
    let (status, code) = kind(error);
    if status.is_server_error() {
        tracing::error!(error = %Chain(error), request_id = %request_id, "request failed");
    }
    let reason = match error {
        Error::Unauthenticated { reason }
        | Error::LimitReached { reason, .. }
        | Error::Denied { reason }
        | Error::SubjectToken { reason } => Some(reason.told()),
        Error::ApprovalNeeded(_) => Some(Reason::StepUp),
        _ => None,
    };
    let record = record.as_ref().map(ToString::to_string);
    let detail = match error {
        Error::Invalid { source, .. } => Some(source.to_string()),
        _ => None,
    };
    let earlier = match error {
        Error::AlreadyDone { id } => Some(id.clone()),
        _ => None,
    };
    let mut problem = Problem {
        detail,
        reason,
        record,
        earlier,
        risk: risk.as_deref().cloned(),
        ..Problem::new(status, code, error.to_string(), request_id)
    };
    if let Error::ApprovalNeeded(asked) = error {
        problem.approval = Some(asked.approval.to_string());
        problem.approval_url = asked.page.clone();
        problem.approval_code = Some(asked.code.expose());
        problem.expires_at = Some(asked.expires_at);
        problem.risk = Some(asked.risk.clone());
    }
    (status, problem)
}

pub(crate) fn respond(error: &Error, (status, problem): (StatusCode, Problem)) -> Response<Bytes> {
    let mut response = answer(status, &problem);
    let headers = response.headers_mut();
    match error {
        Error::Unauthenticated { reason: Reason::MissingToken } => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::Unauthenticated { .. } => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        Error::FreshLoginNeeded { max_age } => {
            // RFC 9470 §3.
            let challenge = format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{max_age}\"");
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.insert(WWW_AUTHENTICATE, value);
            }
        }
        Error::Denied { reason: Reason::ApprovalLogin } => {
            // RFC 6750 §3.1.
            let challenge = "Bearer error=\"insufficient_scope\", scope=\"approve\"";
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Error::LimitReached { retry_after: Some(seconds), .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Error::Unavailable { .. } | Error::Contended => {
            headers.insert(RETRY_AFTER, HeaderValue::from(1_u32));
        }
        _ => {}
    }
    response
}

fn kind(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Error::SubjectToken { .. } => (StatusCode::BAD_REQUEST, "invalid-subject-token"),
        Error::ApprovalNeeded(_) | Error::Denied { .. } => (StatusCode::FORBIDDEN, "denied"),
        Error::FreshLoginNeeded { .. } => (StatusCode::UNAUTHORIZED, "fresh-login-needed"),
        Error::LimitReached { retry_after: None, .. } => (StatusCode::FORBIDDEN, "denied"),
        Error::LimitReached { .. } => (StatusCode::TOO_MANY_REQUESTS, "limit-reached"),
        Error::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid-request"),
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, "not-found"),
        Error::KeyState { .. } => (StatusCode::CONFLICT, "key-state"),
        Error::State { .. } => (StatusCode::CONFLICT, "state"),
        Error::NameTaken { .. } => (StatusCode::CONFLICT, "name-taken"),
        Error::IdempotencyMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-mismatch"),
        Error::AlreadyDone { .. } => (StatusCode::CONFLICT, "already-done"),
        Error::NotAuthentic => (StatusCode::UNPROCESSABLE_ENTITY, "not-authentic"),
        Error::Contended => (StatusCode::CONFLICT, "contended"),
        Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Error::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
