//! What can go wrong with a request. The HTTP host turns it into problem+json; other planes into their own words.

use crate::approval::Asked;
use crate::id::RecordId;
use crate::key::KeyState;
use crate::keystore::KeyStoreError;
use crate::reason::Reason;
use crate::risk::Risk;
use crate::store::StoreError;

pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Callers branch on the variant; `Display` is public text; causes go to the log alone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No principal: the credential is missing, not ours, expired or revoked.
    #[error("{}", reason.sentence())]
    Unauthenticated { reason: Reason },
    /// An ID token that is not exchanged (RFC 8693 §2.2.2).
    #[error("{}", reason.sentence())]
    SubjectToken { reason: Reason },
    /// The principal is known and may not do this.
    #[error("{}", reason.sentence())]
    Denied { reason: Reason },
    /// A human must approve the request first; then it is repeated as it was.
    #[error("{}", Reason::StepUp.sentence())]
    ApprovalNeeded(Box<Asked>),
    /// Allowed, but only shortly after a login (RFC 9470).
    #[error("this needs a login at most {max_age} seconds old")]
    FreshLoginNeeded { max_age: u32 },
    /// A limit of the grant, or of the deployment, is reached.
    #[error("{}", reason.sentence())]
    LimitReached { reason: Reason, retry_after: Option<u32> },
    /// The request is malformed and will fail again unchanged.
    #[error("invalid `{field}`")]
    Invalid { field: &'static str, source: Cause },
    /// No such thing. Said only to those who may see all names of its kind.
    #[error("no such {kind}")]
    NotFound { kind: &'static str },
    #[error(
        "key `{key}` is {}{}{}, which does not allow this",
        state.as_str(),
        if *suspended { ", suspended" } else { "" },
        if *destruction_pending { ", pending destruction" } else { "" }
    )]
    KeyState { key: String, state: KeyState, suspended: bool, destruction_pending: bool },
    /// The thing is in a state that does not allow this.
    #[error("the {kind} is {state}, which does not allow this")]
    State { kind: &'static str, state: &'static str },
    #[error("the name `{name}` is taken")]
    NameTaken { name: String },
    /// The idempotency key was used before, for another request.
    #[error("this idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// The idempotency key was used for this request, and what it returned is not kept.
    #[error("this request was carried out before; its result was shown once and is not kept")]
    AlreadyDone { id: String },
    /// The ciphertext, its context or its key is not what it was when it was made.
    #[error("the ciphertext is not authentic for this key and context")]
    NotAuthentic,
    /// Another writer got there first, again and again.
    #[error("too many writers at once")]
    Contended,
    /// A dependency did not answer. A write may have happened: repeat with the same idempotency key.
    #[error("{dependency} did not answer")]
    Unavailable { dependency: &'static str, source: Cause },
    /// Stored data does not read as what it should be. A person should look.
    #[error("stored data is damaged")]
    Damaged { what: &'static str, source: Cause },
}

/// An error with its causes, parted by colons: for the log.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// An error as a request is answered with it, and the audit record that tells of it, where there is one.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    pub record: Option<RecordId>,
    /// The risk that it was refused for, or that asks for a fresh login first.
    pub risk: Option<Box<Risk>>,
}

impl Failed {
    /// What is on record.
    pub fn recorded(error: Error, record: RecordId) -> Self {
        Self { error, record: Some(record), risk: None }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, record: None, risk: None }
    }
}

impl Error {
    pub fn invalid(field: &'static str, source: impl Into<Cause>) -> Self {
        Self::Invalid { field, source: source.into() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Contended,
            StoreError::Limit { .. } => Self::invalid("request", error),
            StoreError::Unavailable { .. } => Self::Unavailable { dependency: "the store", source: error.into() },
        }
    }
}

impl From<KeyStoreError> for Error {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::Invalid { .. } => Self::invalid("request", error),
            KeyStoreError::Refused => Self::NotAuthentic,
            KeyStoreError::Damaged => Self::Damaged { what: "key material", source: error.into() },
            KeyStoreError::State { state } => Self::State { kind: "key at its back end", state },
            KeyStoreError::Unavailable { source } => Self::Unavailable { dependency: "the key store", source },
        }
    }
}
