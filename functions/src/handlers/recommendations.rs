//! Recommendations, and what they rest on: what is usual.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::{baselines, recommendations};
use aegis_core::pipeline::Permit;

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(recommendations::list_recommendations(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn usual(call: &Call<'_>, permit: &Permit) -> Answered {
    json(baselines::usual(call.app, permit).await?)
}

pub(crate) async fn show(call: &Call<'_>, permit: &Permit) -> Answered {
    json(recommendations::get_recommendation(call.app, permit, &call.parameter("recommendation")?).await?)
}

pub(crate) async fn dismiss(call: &Call<'_>, permit: &Permit) -> Answered {
    let (id, answer) = (call.parameter("recommendation")?, call.json_or_default()?);
    json(recommendations::dismiss_recommendation(call.app, permit, &id, &answer).await?)
}

pub(crate) async fn undo(call: &Call<'_>, permit: &Permit) -> Answered {
    let (id, answer) = (call.parameter("recommendation")?, call.json_or_default()?);
    json(recommendations::undo_recommendation(call.app, permit, &id, &answer).await?)
}
