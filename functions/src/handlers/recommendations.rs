//! Recommendations, and what they rest on: what is usual.

use super::{Answered, json};
use crate::call::Call;
use crate::tools::words;
use aegis_core::error::Error;
use aegis_core::operations::{baselines, recommendations};
use aegis_core::pipeline::{Done, Permit};

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(recommendations::list_recommendations(call.app, permit, &call.query()?).await?)
}

/// The same for a model: what humans wrote is data.
pub(crate) async fn list_to_model(call: &Call<'_>, permit: &Permit) -> Answered {
    let listed = recommendations::list_recommendations(call.app, permit, &call.query()?).await?;
    let mut told =
        serde_json::to_value(&listed.value).map_err(|error| Error::Damaged { what: "reply", source: error.into() })?;
    words::tell(&mut told);
    json(Done::read(told))
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
