//! Why a command failed, and the exit code that tells scripts.

use crate::api::Refusal;
use aegis_core::error::Chain;

/// Why a command failed: one sentence for its user, or what the server answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    /// Nothing has the name that was given; found out here.
    #[error("{0}")]
    NotFound(String),
    /// The deployment answered, and not with success.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No session, so nothing was asked.
    #[error("not logged in to {url}")]
    NotLoggedIn { url: String },
    /// No answer came. A write may have happened.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever read the output has gone (`aegis audit | head`): nobody is left to tell.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// The exit codes of `aegis --help`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotLoggedIn { .. } => 3,
            Self::NotFound(_) => 4,
            Self::Refused(refusal) => code_of(refusal),
            Self::Unreachable(_) => 6,
        }
    }

    /// A failure, and the chain of its causes.
    pub(crate) fn because(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(what, error))
    }
}

impl From<aegis_functions::oidc::Unusable> for Failure {
    fn from(unusable: aegis_functions::oidc::Unusable) -> Self {
        Self::Usage(unusable.0)
    }
}

/// One sentence: what failed, and the chain of its causes.
pub(crate) fn chain(what: &str, error: &dyn std::error::Error) -> String {
    format!("{what}: {}", Chain(error))
}

fn code_of(refusal: &Refusal) -> u8 {
    match (refusal.status, refusal.code()) {
        // A path that this deployment does not have says nothing of the thing asked for.
        (_, "no-such-route" | "method-not-allowed") | (500.., _) => 6,
        (_, "invalid-subject-token") => 3,
        (400, _) => 2,
        (401 | 403 | 429, _) => 3,
        (404, _) => 4,
        (409, _) | (_, "idempotency-mismatch") => 5,
        _ => 1,
    }
}

/// Shown by `aegis --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done, or a signature is not valid; the reason is on standard error
  2  the command line, the configuration or a value in the request is wrong
  3  refused: not logged in, outside scope or policy, a limit reached
  4  no such key, agent, human, credential or record
  5  the key's or agent's state does not allow it, or a name is taken
  6  the deployment, or something it needs, did not answer";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_problem_has_the_documented_exit_code() {
        let want = |code: &str| match code {
            "not-authentic" | "too-large" | "too-slow" => 1,
            "invalid-request" => 2,
            "denied" | "fresh-login-needed" | "invalid-subject-token" | "limit-reached" | "unauthenticated" => 3,
            "not-found" => 4,
            "already-done" | "contended" | "idempotency-mismatch" | "key-state" | "name-taken" | "state" => 5,
            "internal" | "method-not-allowed" | "no-such-route" | "overloaded" | "unavailable" => 6,
            other => panic!("the exit code of {other} is not documented"),
        };
        for (code, status) in aegis_functions::PROBLEMS {
            let refusal = Refusal::new("", status, None, json!({ "code": code }));
            assert_eq!(Failure::Refused(Box::new(refusal)).code(), want(code), "{code}");
        }
    }
}
