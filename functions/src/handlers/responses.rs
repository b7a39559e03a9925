//! Responses.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::responses;
use aegis_core::pipeline::Permit;

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(responses::list_responses(call.app, permit, &call.query()?).await?)
}
