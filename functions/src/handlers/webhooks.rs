//! Webhooks.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::webhooks;
use aegis_core::pipeline::Permit;

pub(crate) async fn create(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(webhooks::create_webhook(call.app, permit, &call.json()?, earlier).await?)
}

pub(crate) async fn list(call: &Call<'_>) -> Answered {
    json(webhooks::list_webhooks(call.app).await?)
}

pub(crate) async fn show(call: &Call<'_>) -> Answered {
    json(webhooks::show_webhook(call.app, &call.parameter("webhook")?).await?)
}

pub(crate) async fn delete(call: &Call<'_>) -> Answered {
    json(webhooks::delete_webhook(call.app, &call.parameter("webhook")?).await?)
}

pub(crate) async fn rotate_secret(call: &Call<'_>) -> Answered {
    json(webhooks::rotate_secret(call.app, &call.parameter("webhook")?).await?)
}

pub(crate) async fn deliveries(call: &Call<'_>) -> Answered {
    json(webhooks::list_deliveries(call.app, &call.parameter("webhook")?, &call.query()?).await?)
}

pub(crate) async fn redrive(call: &Call<'_>) -> Answered {
    json(webhooks::redrive(call.app, &call.parameter("webhook")?, &call.json_or_default()?).await?)
}

pub(crate) async fn test(call: &Call<'_>, permit: &Permit) -> Answered {
    json(webhooks::test_webhook(call.app, permit, &call.parameter("webhook")?).await?)
}
