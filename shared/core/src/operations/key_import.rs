//! Bringing a key's bytes into Aegis: wrapped by the caller for a wrapping key that serves one import, and unwrapped
//! inside the key store only.

use super::key_use::pem;
use super::new_key::{Description, NewKey, Source, made_before};
use crate::algorithm::Algorithm;
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::encoding::Bytes64;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Environment, Key, Origin, Tier};
use crate::keystore::{KeyStoreError, Material, VersionRef};
use crate::name::{HumanId, KeyName, Label};
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, JsonSchema, Serialize)]
pub struct ImportParameters {
    /// Names the wrapping key, to whom asked for it and for one import.
    pub wrapping_key_id: KeyId,
    pub wrapping_algorithm: WrappingAlgorithm,
    /// DER `SubjectPublicKeyInfo` (RFC 5280).
    pub wrapping_key: Bytes64,
    /// The same in PEM.
    pub pem: String,
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum WrappingAlgorithm {
    /// A random AES-256 key encrypted by RSAES-OAEP with SHA-256 throughout and no label, 384 bytes, followed by the key
    /// bytes wrapped under that AES key with padding (RFC 5649). `CKM_RSA_AES_KEY_WRAP` of PKCS#11,
    /// `RSA_AES_KEY_WRAP_SHA_256` of AWS KMS, `rsa-oaep-3072-sha256-aes-256` of Google Cloud KMS.
    #[serde(rename = "RSA-3072-OAEP-SHA256+AES-256-KWP")]
    Rsa3072OaepSha256Aes256Kwp,
}

/// What wrapping keys are to the key store.
const WRAPPING: Algorithm = Algorithm::Rsa3072OaepSha256;
/// Seconds a wrapping key waits for its import: a day, as at AWS KMS.
const WAITS: i64 = 86_400;

/// A wrapping key, as stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct WrappingKey {
    id: KeyId,
    human: HumanId,
    expires_at: Timestamp,
    /// `None` once used.
    material: Option<Material>,
}

impl Document for WrappingKey {
    fn item_key(&self) -> ItemKey {
        wrapping_item(&self.id)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

fn wrapping_item(id: &KeyId) -> ItemKey {
    ItemKey::state(format!("wrapping-key/{id}"), "wrapping-key")
}

fn version(id: &KeyId) -> VersionRef<'_> {
    VersionRef { key: id, version: 1, algorithm: WRAPPING, calls: None }
}

/// Makes a wrapping key for one import by the human who asks.
///
/// # Errors
/// [`Error::LimitReached`] while the caller makes other RSA keys.
pub async fn import_parameters(app: &App, permit: &Permit) -> Result<Done<ImportParameters>, Error> {
    let now = app.clock.now();
    let (id, human) = (KeyId::new(now, &app.entropy), permit.facts().human.id.clone());
    let _turn =
        app.shares.enter(|| permit.facts().claims.root(), permit.operation(), WRAPPING, None, app.clock.now())?;
    let material = app.keystores.own().create(version(&id), permit.id()).await?;
    let missing = || Error::Damaged { what: "wrapping key", source: "it has no public half".into() };
    let public = material.public_key.clone().ok_or_else(missing)?;
    let expires_at = after_seconds(now, WAITS);
    let wrapping = WrappingKey { id: id.clone(), human, expires_at, material: Some(material) };
    let note = Note { object: Some(id.to_string()), ..Note::default() };
    let value = ImportParameters {
        wrapping_key_id: id,
        wrapping_algorithm: WrappingAlgorithm::Rsa3072OaepSha256Aes256Kwp,
        pem: pem(&public),
        wrapping_key: public.into(),
        expires_at,
    };
    Ok(Done { value, puts: vec![wrapping.put(Expect::Absent)?], note })
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportKey {
    pub name: KeyName,
    pub algorithm: Algorithm,
    /// As `import-parameters` named it.
    pub wrapping_key_id: KeyId,
    /// Raw key bytes for AES and HMAC, of exactly the algorithm's length; otherwise PKCS#8 (RFC 5958); wrapped as
    /// `wrapping_algorithm` says.
    pub wrapped_key: Bytes64,
    #[serde(default)]
    pub tier: Tier,
    #[serde(default)]
    pub environment: Environment,
    /// Whether nobody shall ever have reason to use it: an agent that touches it is revoked at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    #[serde(default)]
    #[schemars(with = "Vec<Label>", length(max = 32))]
    pub labels: BTreeSet<Label>,
    /// Whether the key is active at once; otherwise it begins pre-active.
    #[serde(default)]
    pub activate: bool,
    /// Days between scheduled rotations, 1 to 3650; none if absent. A rotation makes fresh material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub rotate_every_days: Option<u16>,
}

/// Makes a key whose first version is the caller's. The wrapping key is used up with it.
///
/// # Errors
/// [`Error::NameTaken`]; [`Error::Invalid`] for what does not unwrap or is no key of the algorithm, and for a wrapping key
/// that is not the caller's, or is used, or too old. A wrapping key outlives a failed import.
pub async fn import_key(
    app: &App,
    permit: &Permit,
    input: &ImportKey,
    earlier: Option<String>,
) -> Result<Done<Key>, Error> {
    if let Some(id) = earlier {
        return made_before(app, permit, id).await;
    }
    let described = Description {
        name: &input.name,
        algorithm: input.algorithm,
        tier: input.tier,
        environment: input.environment,
        canary: input.canary,
        labels: &input.labels,
        activate: input.activate,
        rotate_every_days: input.rotate_every_days,
    };
    let new = NewKey::check(app, described).await?;
    let (mut wrapping, unwraps) = usable(app, permit, &input.wrapping_key_id).await?;
    let _turn =
        app.shares.enter(|| permit.facts().claims.root(), permit.operation(), WRAPPING, None, app.clock.now())?;
    let target = VersionRef { key: &new.id, version: 1, algorithm: input.algorithm, calls: None };
    let from = version(&input.wrapping_key_id);
    let imported = app.keystores.own().import(target, from, &unwraps, &input.wrapped_key.0).await;
    let material = imported.map_err(|error| match error {
        KeyStoreError::Refused => {
            Error::invalid("wrapped_key", "it was not wrapped for this wrapping key, or not by its wrapping_algorithm")
        }
        KeyStoreError::Invalid { .. } => Error::invalid("wrapped_key", error),
        other => other.into(),
    })?;
    wrapping.value.material = None;
    let source = Source { origin: Origin::Imported, backend: None, object: None, material, at_backend: None };
    new.made(permit, source, vec![wrapping.replace()?])
}

/// A wrapping key that waits for this human's import. Of others none is told more than that.
async fn usable(app: &App, permit: &Permit, id: &KeyId) -> Result<(Loaded<WrappingKey>, Material), Error> {
    let none =
        || Error::invalid("wrapping_key_id", "no wrapping key of yours waits under this id: it serves once, for a day");
    let found: Option<Loaded<WrappingKey>> = repository::load(app.store.as_ref(), &wrapping_item(id)).await?;
    let waits = |found: &Loaded<WrappingKey>| {
        found.value.human == permit.facts().human.id && app.clock.now() < found.value.expires_at
    };
    let found = found.filter(waits).ok_or_else(none)?;
    let material = found.value.material.clone().ok_or_else(none)?;
    Ok((found, material))
}
