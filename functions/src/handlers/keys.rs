//! Keys and their names.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::key::Transition;
use aegis_core::operations::aliases;
use aegis_core::operations::key_import;
use aegis_core::operations::key_lifecycle::{
    cancel_destroy_key, create_key, destroy_key, get_key, list_keys, lockdown, move_key, rotate_key, suspend_key,
    update_key,
};
use aegis_core::operations::key_register::register_key;
use aegis_core::operations::usage::key_usage;
use aegis_core::pipeline::Permit;

pub(crate) async fn create(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(create_key(call.app, permit, &call.json()?, earlier).await?)
}

pub(crate) async fn import_parameters(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_import::import_parameters(call.app, permit).await?)
}

pub(crate) async fn import(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(key_import::import_key(call.app, permit, &call.json()?, earlier).await?)
}

pub(crate) async fn register(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(register_key(call.app, permit, &call.json()?, earlier).await?)
}

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(list_keys(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn show(permit: &Permit) -> Answered {
    json(get_key(permit).await?)
}

pub(crate) async fn usage(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_usage(call.app, permit).await?)
}

pub(crate) async fn locked_down(call: &Call<'_>, permit: &Permit) -> Answered {
    json(lockdown(call.app, permit).await?)
}

pub(crate) async fn update(call: &Call<'_>, permit: &Permit) -> Answered {
    json(update_key(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn activate(call: &Call<'_>, permit: &Permit) -> Answered {
    json(move_key(call.app, permit, Transition::Activate).await?)
}

pub(crate) async fn deactivate(call: &Call<'_>, permit: &Permit) -> Answered {
    json(move_key(call.app, permit, Transition::Deactivate).await?)
}

pub(crate) async fn compromise(call: &Call<'_>, permit: &Permit) -> Answered {
    json(move_key(call.app, permit, Transition::Compromise).await?)
}

pub(crate) async fn suspend(call: &Call<'_>, permit: &Permit, suspended: bool) -> Answered {
    json(suspend_key(call.app, permit, suspended).await?)
}

pub(crate) async fn rotate(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(rotate_key(call.app, permit, earlier).await?)
}

pub(crate) async fn destroy(call: &Call<'_>, permit: &Permit) -> Answered {
    json(destroy_key(call.app, permit, &call.json_or_default()?).await?)
}

pub(crate) async fn cancel_destroy(call: &Call<'_>, permit: &Permit) -> Answered {
    json(cancel_destroy_key(call.app, permit).await?)
}

pub(crate) async fn set_alias(call: &Call<'_>, permit: &Permit) -> Answered {
    json(aliases::set_alias(call.app, permit, &call.parameter("alias")?, &call.json()?).await?)
}

pub(crate) async fn delete_alias(call: &Call<'_>, permit: &Permit) -> Answered {
    json(aliases::delete_alias(call.app, permit, &call.parameter("alias")?).await?)
}
