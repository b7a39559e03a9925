//! Other functions of the deployment, called and waited for.

use crate::unavailable;
use aegis_core::error::{Cause, Error};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::DisplayErrorContext;
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
    /// [`Error::Unavailable`] where it was not called, or failed, or took too long: it may have acted.
    pub async fn call(&self, function: &str, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        let unavailable = unavailable("the operation's function");
        let called = self.client.invoke().function_name(format!("{}{function}", self.prefix));
        let sent = called.payload(Blob::new(payload)).send().await;
        let answer = sent.map_err(|error| unavailable(Cause::from(DisplayErrorContext(error).to_string())))?;
        if let Some(error) = answer.function_error() {
            return Err(unavailable(format!("{function}: {error}").into()));
        }
        Ok(answer.payload.map(Blob::into_inner).unwrap_or_default())
    }
}
