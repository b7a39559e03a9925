//! Credentials.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::credentials::{issue_credential, revoke_credential};
use aegis_core::pipeline::Permit;

pub(crate) async fn issue(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(issue_credential(call.app, permit, &call.json_or_default()?, earlier).await?)
}

pub(crate) async fn revoke(call: &Call<'_>) -> Answered {
    json(revoke_credential(call.app, &call.parameter("credential")?).await?)
}
