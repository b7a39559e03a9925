//! Approvals.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::approvals::{approve as give, deny as refuse, get_approval, list_approvals};
use aegis_core::pipeline::Permit;

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(list_approvals(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn show(call: &Call<'_>, permit: &Permit) -> Answered {
    json(get_approval(call.app, permit).await?)
}

pub(crate) async fn approve(call: &Call<'_>, permit: &Permit) -> Answered {
    json(give(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn deny(call: &Call<'_>, permit: &Permit) -> Answered {
    json(refuse(call.app, permit).await?)
}
