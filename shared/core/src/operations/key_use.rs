//! Using keys: what agents are for. Material never leaves the key store.

use super::context::{ContextText, check_context, distinct, optional_distinct, wrap_context};
use crate::algorithm::{Algorithm, MessageType};
use crate::encoding::Bytes64;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::{KeyRecord, Usage, VersionRecord};
use crate::keystore::{Context, Material};
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Loaded};
use base64::Engine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// The message, or its digest by the algorithm's own hash.
    pub message: Bytes64,
    #[serde(default)]
    pub message_type: MessageType,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct SignReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub algorithm: Algorithm,
    /// ASN.1 DER for ECDSA; of fixed length for all others.
    pub signature: Bytes64,
}

/// Signs with the key's present version.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::Invalid`] if the key does not sign, or not this.
pub async fn sign(app: &App, permit: &Permit, input: &SignRequest) -> Result<Done<SignReply>, Error> {
    let record = permit.key()?;
    let key = &record.key;
    key.check_usable(Usage::Protect)?;
    let material = present(record)?;
    let (kind, message) = (input.message_type, &input.message.0);
    let signature = app
        .keystores
        .of(key)?
        .sign(key.version_ref(key.version).noting(permit.calls()), material, kind, message)
        .await?;
    let reply = SignReply {
        key_id: key.id.clone(),
        key_version: key.version,
        algorithm: key.algorithm,
        signature: signature.into(),
    };
    Ok(used(reply, key.version))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The message, or its digest by the algorithm's own hash.
    pub message: Bytes64,
    #[serde(default)]
    pub message_type: MessageType,
    pub signature: Bytes64,
    /// The version that signed; the present one if absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub key_version: Option<u32>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct VerifyReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub valid: bool,
}

/// Verifies with the version named.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::Invalid`] if the key does not sign, or has no such version.
pub async fn verify(app: &App, permit: &Permit, input: &VerifyRequest) -> Result<Done<VerifyReply>, Error> {
    let record = permit.key()?;
    let key = &record.key;
    key.check_usable(Usage::Process)?;
    let version = input.key_version.unwrap_or(key.version);
    let material = material_of(app, record, version).await?;
    let (kind, message) = (input.message_type, &input.message.0);
    let valid = app
        .keystores
        .of(key)?
        .verify(key.version_ref(version).noting(permit.calls()), &material, kind, message, &input.signature.0)
        .await?;
    Ok(used(VerifyReply { key_id: key.id.clone(), key_version: version, valid }, version))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptRequest {
    /// At most 64 KiB; with RSA-OAEP at most 190, 318 or 446 bytes, as the key has 2048, 3072 or 4096 bits.
    pub plaintext: Bytes64,
    /// Authenticated, not encrypted; needed again to decrypt. At most 16 pairs, each name and value at most 256 characters.
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct EncryptReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub ciphertext: Bytes64,
}

/// Encrypts with the key's present version.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::Invalid`] if the key does not encrypt, or not this much.
pub async fn encrypt(app: &App, permit: &Permit, input: &EncryptRequest) -> Result<Done<EncryptReply>, Error> {
    check_context(&input.context)?;
    seal(app, permit, permit.key()?, &input.context, &input.plaintext.0).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecryptRequest {
    pub ciphertext: Bytes64,
    /// As it was given to encrypt.
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct DecryptReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub plaintext: Bytes64,
}

/// Decrypts with the version that encrypted.
///
/// # Errors
/// [`Error::KeyState`]; [`Error::NotAuthentic`].
pub async fn decrypt(app: &App, permit: &Permit, input: &DecryptRequest) -> Result<Done<DecryptReply>, Error> {
    check_context(&input.context)?;
    let record = permit.key()?;
    let (mut plaintext, version) = open(app, permit, record, &input.context, &input.ciphertext.0).await?;
    let plaintext = std::mem::take(&mut *plaintext).into();
    Ok(used(DecryptReply { key_id: record.key.id.clone(), key_version: version, plaintext }, version))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReEncryptRequest {
    pub ciphertext: Bytes64,
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
    /// The context from now on; the same if absent.
    #[serde(default, deserialize_with = "optional_distinct")]
    #[schemars(with = "Option<ContextText>")]
    pub new_context: Option<Context>,
}

/// Decrypts and encrypts anew with the key's present version, without showing the plaintext.
///
/// # Errors
/// As [`decrypt`] and [`encrypt`].
pub async fn re_encrypt(app: &App, permit: &Permit, input: &ReEncryptRequest) -> Result<Done<EncryptReply>, Error> {
    let to = input.new_context.as_ref().unwrap_or(&input.context);
    check_context(&input.context)?;
    check_context(to)?;
    let record = permit.key()?;
    let (plaintext, _) = open(app, permit, record, &input.context, &input.ciphertext.0).await?;
    seal(app, permit, record, to, &plaintext).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrapRequest {
    /// Key bytes of the caller, at most as long as the plaintext of encrypt.
    pub key_material: Bytes64,
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct WrapReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub wrapped_key: Bytes64,
}

/// Encrypts key bytes of the caller so that only `unwrap` opens them: who may decrypt may not thereby unwrap.
///
/// # Errors
/// As [`encrypt`].
pub async fn wrap(app: &App, permit: &Permit, input: &WrapRequest) -> Result<Done<WrapReply>, Error> {
    let sealed = seal(app, permit, permit.key()?, &wrap_context(&input.context)?, &input.key_material.0).await?;
    Ok(sealed.map(|sealed| WrapReply {
        key_id: sealed.key_id,
        key_version: sealed.key_version,
        wrapped_key: sealed.ciphertext,
    }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnwrapRequest {
    pub wrapped_key: Bytes64,
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct UnwrapReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub key_material: Bytes64,
}

/// Opens what `wrap` or `generate-data-key` made.
///
/// # Errors
/// As [`decrypt`].
pub async fn unwrap(app: &App, permit: &Permit, input: &UnwrapRequest) -> Result<Done<UnwrapReply>, Error> {
    let record = permit.key()?;
    let (mut bytes, version) = open(app, permit, record, &wrap_context(&input.context)?, &input.wrapped_key.0).await?;
    let key_material = std::mem::take(&mut *bytes).into();
    Ok(used(UnwrapReply { key_id: record.key.id.clone(), key_version: version, key_material }, version))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataKeyRequest {
    /// Bytes of the data key: 16 to 64; 32 if absent.
    #[serde(default)]
    #[schemars(range(min = 16, max = 64))]
    pub length: Option<usize>,
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
    /// Leaves the plaintext out of the reply.
    #[serde(default)]
    pub without_plaintext: bool,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct DataKeyReply {
    pub key_id: KeyId,
    pub key_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<Bytes64>,
    /// The data key wrapped; `unwrap` opens it.
    pub wrapped_key: Bytes64,
}

/// Makes a random data key, returned in the clear and wrapped.
///
/// # Errors
/// As [`encrypt`].
pub async fn generate_data_key(
    app: &App,
    permit: &Permit,
    input: &DataKeyRequest,
) -> Result<Done<DataKeyReply>, Error> {
    let length = input.length.unwrap_or(32);
    if !(16..=64).contains(&length) {
        return Err(Error::invalid("length", "it must lie between 16 and 64"));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    app.keystores.own().random(&mut bytes);
    let sealed = seal(app, permit, permit.key()?, &wrap_context(&input.context)?, &bytes).await?;
    let plaintext = (!input.without_plaintext).then(|| std::mem::take(&mut *bytes).into());
    Ok(sealed.map(|sealed| DataKeyReply {
        key_id: sealed.key_id,
        key_version: sealed.key_version,
        plaintext,
        wrapped_key: sealed.ciphertext,
    }))
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct PublicKeyReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub algorithm: Algorithm,
    /// DER `SubjectPublicKeyInfo` (RFC 5280).
    pub public_key: Bytes64,
    /// The same in PEM.
    pub pem: String,
}

/// Exports the public half of the key's present version. Public keys of keys that may no longer be used still verify
/// old signatures, so the state does not matter until the key is destroyed.
///
/// # Errors
/// [`Error::Invalid`] for a symmetric key.
pub async fn public_key(permit: &Permit) -> Result<Done<PublicKeyReply>, Error> {
    let record = permit.key()?;
    let der = present(record)?.public_key.clone();
    let der = der.ok_or_else(|| Error::invalid("key", "a symmetric key has no public half"))?;
    let reply = PublicKeyReply {
        key_id: record.key.id.clone(),
        key_version: record.key.version,
        algorithm: record.key.algorithm,
        pem: pem(&der),
        public_key: der.into(),
    };
    Ok(used(reply, record.key.version))
}

/// RFC 7468.
pub(super) fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END PUBLIC KEY-----\n");
    pem
}

pub(super) fn used<T>(value: T, version: u32) -> Done<T> {
    Done { value, puts: Vec::new(), note: Note { key_version: Some(version), ..Note::default() } }
}

async fn seal(
    app: &App,
    permit: &Permit,
    record: &KeyRecord,
    context: &Context,
    bytes: &[u8],
) -> Result<Done<EncryptReply>, Error> {
    let key = &record.key;
    key.check_usable(Usage::Protect)?;
    let ciphertext = app
        .keystores
        .of(key)?
        .encrypt(key.version_ref(key.version).noting(permit.calls()), present(record)?, context, bytes)
        .await?;
    let reply = EncryptReply { key_id: key.id.clone(), key_version: key.version, ciphertext: ciphertext.into() };
    Ok(used(reply, key.version))
}

async fn open(
    app: &App,
    permit: &Permit,
    record: &KeyRecord,
    context: &Context,
    ciphertext: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, u32), Error> {
    let key = &record.key;
    key.check_usable(Usage::Process)?;
    let version = app.keystores.of(key)?.version_of(key.version_ref(key.version), ciphertext)?;
    // A version that the key never had is a forgery like any other.
    let material = material_of(app, record, version).await.map_err(|error| match error {
        Error::Invalid { .. } => Error::NotAuthentic,
        other => other,
    })?;
    let plaintext = app
        .keystores
        .of(key)?
        .decrypt(key.version_ref(version).noting(permit.calls()), &material, context, ciphertext)
        .await?;
    Ok((plaintext, version))
}

pub(super) fn present(record: &KeyRecord) -> Result<&Material, Error> {
    record.material.as_ref().ok_or(Error::State { kind: "key", state: "destroyed" })
}

pub(super) async fn material_of(app: &App, record: &KeyRecord, version: u32) -> Result<Material, Error> {
    if version == record.key.version {
        return present(record).cloned();
    }
    let item = repository::version_item(&record.key.id, version);
    let found: Option<Loaded<VersionRecord>> = repository::load(app.store.as_ref(), &item).await?;
    let found = found.ok_or_else(|| Error::invalid("key_version", "the key has no such version"))?;
    found.value.material.ok_or(Error::State { kind: "key", state: "destroyed" })
}
