//! From a call to an operation and back. Nothing is decided here.

use crate::Reply;
use aegis_core::error::Error;
use aegis_core::pipeline::Done;
use serde::Serialize;

pub(crate) mod access_requests;
pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod deployment;
pub(crate) mod humans;
pub(crate) mod keys;
pub(crate) mod oauth;
pub(crate) mod own;
pub(crate) mod recommendations;
pub(crate) mod responses;
pub(crate) mod rules;
pub(crate) mod uses;
pub(crate) mod webhooks;

type Answered = Result<Done<Reply>, Error>;

/// What an operation found, as JSON.
fn json<T: Serialize>(done: Done<T>) -> Answered {
    let reply = Reply::json(&done.value)?;
    Ok(done.map(|_| reply))
}
