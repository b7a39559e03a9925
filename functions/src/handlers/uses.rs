//! Using keys.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::{envelope, key_mac, key_use};
use aegis_core::pipeline::Permit;

pub(crate) async fn sign(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::sign(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn verify(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::verify(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn mac(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_mac::mac(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn verify_mac(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_mac::verify_mac(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn encrypt(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::encrypt(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn decrypt(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::decrypt(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn re_encrypt(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::re_encrypt(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn wrap(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::wrap(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn unwrap(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::unwrap(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn generate_data_key(call: &Call<'_>, permit: &Permit) -> Answered {
    json(key_use::generate_data_key(call.app, permit, &call.json_or_default()?).await?)
}

pub(crate) async fn seal(call: &Call<'_>, permit: &Permit) -> Answered {
    json(envelope::seal(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn open(call: &Call<'_>, permit: &Permit) -> Answered {
    json(envelope::open(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn public_key(permit: &Permit) -> Answered {
    json(key_use::public_key(permit).await?)
}
