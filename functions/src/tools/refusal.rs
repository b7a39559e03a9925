//! Why a tool call came to nothing, so that a program can act on it.

use crate::problem::{self, Problem, describe};
use aegis_core::ambient::Timestamp;
use aegis_core::error::{Error, Failed};
use aegis_core::id::RequestId;
use aegis_core::reason::Reason;
use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a tool call came to nothing: the problem that REST answers with, and what was decided.
#[derive(Deserialize, JsonSchema, Serialize)]
pub(crate) struct Refusal {
    #[serde(flatten)]
    problem: Problem,
    /// Absent where the call was allowed and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<Verdict>,
    /// The record of the decision: what was evaluated, and why it came out so.
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation_id: Option<String>,
    /// Seconds after which another try may do better.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    /// Whether it may have been done all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unclear: bool,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Deny,
    /// The same call is made again once a human has approved it.
    StepUp,
}

/// The page on which a human answers an approval.
pub(crate) struct Page<'a> {
    pub(crate) approval: &'a str,
    pub(crate) url: &'a str,
    /// She types it there.
    pub(crate) code: &'a str,
}

impl Refusal {
    pub(crate) fn of(failed: &Failed, request_id: &RequestId) -> Self {
        let (_, problem) = describe(failed, request_id);
        let (decision, retry_after) = match &failed.error {
            Error::ApprovalNeeded(_) => (Some(Verdict::StepUp), None),
            Error::LimitReached { retry_after, .. } => (Some(Verdict::Deny), *retry_after),
            Error::Unauthenticated { .. } | Error::Denied { .. } | Error::FreshLoginNeeded { .. } => {
                (Some(Verdict::Deny), None)
            }
            Error::Unavailable { .. } | Error::Contended => (None, Some(1)),
            _ => (None, None),
        };
        let evaluation_id = problem.record.clone().filter(|_| decision.is_some());
        Self { problem, decision, evaluation_id, retry_after, unclear: false }
    }

    /// Where what was asked to do it gave no answer.
    pub(crate) fn unclear(failed: &Failed, request_id: &RequestId) -> Self {
        Self { retry_after: None, unclear: true, ..Self::of(failed, request_id) }
    }

    pub(crate) fn is_unclear(&self) -> bool {
        self.unclear
    }

    /// As HTTP has it where it is the whole answer.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = problem::answer(status, &self.problem);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Where a human approves what was refused; absent of another refusal, and where the deployment has no page for it.
    pub(crate) fn page(&self) -> Option<Page<'_>> {
        let Problem { approval, approval_url, approval_code, .. } = &self.problem;
        Some(Page { approval: approval.as_deref()?, url: approval_url.as_deref()?, code: approval_code.as_deref()? })
    }

    /// The approval that waits, the page on which it is answered, and until when.
    pub(crate) fn approval(&self) -> (Option<String>, Option<String>, Option<Timestamp>) {
        let Problem { approval, approval_url, expires_at, .. } = &self.problem;
        (approval.clone(), approval_url.clone(), *expires_at)
    }

    /// As REST would answer.
    pub(crate) fn status(&self) -> u16 {
        self.problem.status
    }

    /// Whether the request could not be read, rather than be done.
    pub(crate) fn is_of_form(&self) -> bool {
        self.problem.code == "invalid-request"
    }

    pub(crate) fn title(&self) -> &str {
        &self.problem.title
    }

    /// As the caller is told it.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.problem.reason
    }

    /// In words: what it is.
    pub(crate) fn why(&self) -> String {
        match &self.problem.detail {
            Some(detail) => format!("{}: {detail}", self.problem.title),
            None => self.problem.title.clone(),
        }
    }

    /// The same, and what helps.
    pub(crate) fn said(&self) -> String {
        let (problem, why) = (&self.problem, self.why());
        let page = problem.approval_url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        match (self.decision, &problem.approval, &problem.approval_code) {
            (Some(Verdict::StepUp), Some(approval), Some(code)) => format!(
                "Not done: {why}. Ask your human to answer approval {approval}{page}, whose code is {code}; then call the \
                 tool again with the same arguments. Only she can approve it, at Aegis and not in this conversation."
            ),
            _ if self.unclear => format!(
                "It is not known whether it was done: {why}. Look into my_activity before you call the tool again; a call \
                 with the same idempotency key is done once."
            ),
            (Some(_), ..) => format!("Refused: {why}. Do not try it by other ways; tell your human if it is needed."),
            _ => format!("Not done: {why}."),
        }
    }
}
