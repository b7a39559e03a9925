//! Message authentication codes: making them, and verifying them. The key never leaves the key store.

use super::key_use::{VerifyReply, material_of, present, used};
use crate::algorithm::Algorithm;
use crate::encoding::Bytes64;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::Usage;
use crate::pipeline::{App, Done, Permit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MacRequest {
    pub message: Bytes64,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct MacReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub algorithm: Algorithm,
    /// As long as the algorithm's hash.
    pub mac: Bytes64,
}

/// Makes a message authentication code with the key's present version.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::Invalid`] if the key makes no codes.
pub async fn mac(app: &App, permit: &Permit, input: &MacRequest) -> Result<Done<MacReply>, Error> {
    let record = permit.key()?;
    let key = &record.key;
    key.check_usable(Usage::Protect)?;
    let mac = app
        .keystores
        .of(key)?
        .mac(key.version_ref(key.version).noting(permit.calls()), present(record)?, &input.message.0)
        .await?;
    let reply =
        MacReply { key_id: key.id.clone(), key_version: key.version, algorithm: key.algorithm, mac: mac.into() };
    Ok(used(reply, key.version))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyMacRequest {
    pub message: Bytes64,
    /// The whole code: a shortened one is not valid.
    pub mac: Bytes64,
    /// The version that made it; the present one if absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub key_version: Option<u32>,
}

/// Verifies a message authentication code with the version named.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::Invalid`] if the key makes no codes, or has no such version.
pub async fn verify_mac(app: &App, permit: &Permit, input: &VerifyMacRequest) -> Result<Done<VerifyReply>, Error> {
    let record = permit.key()?;
    let key = &record.key;
    key.check_usable(Usage::Process)?;
    let version = input.key_version.unwrap_or(key.version);
    let material = material_of(app, record, version).await?;
    let valid = app
        .keystores
        .of(key)?
        .verify_mac(key.version_ref(version).noting(permit.calls()), &material, &input.message.0, &input.mac.0)
        .await?;
    Ok(used(VerifyReply { key_id: key.id.clone(), key_version: version, valid }, version))
}
