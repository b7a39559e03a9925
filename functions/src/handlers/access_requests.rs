//! Requests of agents for a wider grant.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::access_requests::{ask, deny as refuse, list as list_all, show as show_one};
use aegis_core::pipeline::Permit;

pub(crate) async fn create(call: &Call<'_>, permit: &Permit) -> Answered {
    json(ask(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(list_all(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn show(call: &Call<'_>, permit: &Permit) -> Answered {
    json(show_one(call.app, permit, &call.parameter("access_request")?).await?)
}

pub(crate) async fn deny(call: &Call<'_>, permit: &Permit) -> Answered {
    json(refuse(call.app, permit, &call.parameter("access_request")?).await?)
}
