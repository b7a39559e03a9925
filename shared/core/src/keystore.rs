//! The key-store port: what makes keys and computes with them. Who may ask is decided before; state and records are
//! kept elsewhere.

use crate::algorithm::{Algorithm, MessageType};
use crate::id::KeyId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Makes key material and computes with it.
///
/// Every call names the key and version it is for, and implementations bind material to both: material presented under
/// another name is refused. `create` is safe to repeat with the same names: it may leave an unused object behind, never
/// two in use. No call returns private or secret key bytes.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Fresh material for one version of a key.
    async fn create(&self, version: VersionRef<'_>) -> Result<Material, KeyStoreError>;

    /// The signature: DER for ECDSA, of fixed length for all others.
    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// Whether `signature` is the key's over `message`. A malformed signature is `false`.
    async fn verify(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyStoreError>;

    /// The message authentication code, of the full length of the algorithm's hash.
    async fn mac(&self, version: VersionRef<'_>, material: &Material, message: &[u8])
    -> Result<Vec<u8>, KeyStoreError>;

    /// Whether `mac` is the key's over `message`. One of another length is `false`. Takes the same time wherever the
    /// bytes differ.
    async fn verify_mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
        mac: &[u8],
    ) -> Result<bool, KeyStoreError>;

    /// A ciphertext that only `decrypt` with the same key, version and context opens. It carries its version.
    async fn encrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// The plaintext, or [`KeyStoreError::Refused`] for anything altered, of another key or of another context.
    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError>;

    /// The key version a ciphertext says it was made with; `present` where it is of a kind that says none. Proves
    /// nothing: `decrypt` does.
    fn version_of(&self, present: VersionRef<'_>, ciphertext: &[u8]) -> Result<u32, KeyStoreError>;

    /// Drops what is held of a destroyed key, beside what the caller stores.
    fn forget(&self, key: &KeyId);

    /// Fills `buffer` with random bytes fit for a data key.
    fn random(&self, buffer: &mut [u8]);
}

/// Says which version of which key material belongs to.
#[derive(Clone, Copy, Debug)]
pub struct VersionRef<'a> {
    pub key: &'a KeyId,
    /// From 1.
    pub version: u32,
    pub algorithm: Algorithm,
}

/// What a store keeps of one key version: the wrapped blob (standalone) or the handle (layered), and the public half.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Material {
    /// Wrapped key bytes or an opaque handle. Never plaintext.
    #[serde(with = "crate::encoding::base64_bytes")]
    pub sealed: Vec<u8>,
    /// DER `SubjectPublicKeyInfo` of an asymmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::encoding::optional_base64_bytes")]
    pub public_key: Option<Vec<u8>>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material(..)")
    }
}

/// Additional authenticated data, as the caller gave it: name and value pairs, order of no importance.
pub type Context = std::collections::BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The input cannot be processed with this key, now or later: wrong length, wrong kind.
    #[error("{what}")]
    Invalid { what: &'static str },
    /// Authentication failed: altered bytes, another key, another context. Says no more on purpose.
    #[error("the ciphertext is not authentic for this key and context")]
    Refused,
    /// The stored material does not open: damaged, or sealed under another root key.
    #[error("the stored key material cannot be opened")]
    Damaged,
    /// The key store did not answer; the effect may have happened.
    #[error("the key store did not answer")]
    Unavailable { source: Box<dyn std::error::Error + Send + Sync> },
}
