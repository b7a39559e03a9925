//! The software root of trust: keys live as wrapped blobs in the deployment's store and are computed with in this
//! process. Holds no state but a cache; where the key-encryption key comes from is the caller's affair.

mod aead;
mod cache;
mod header;
mod message;
mod secret;
mod wrap;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use wrap::KeyEncryptionKey;

use aegis_core::algorithm::MessageType;
use aegis_core::ambient::Entropy;
use aegis_core::id::KeyId;
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use async_trait::async_trait;
use aws_lc_rs::error::Unspecified;
use cache::Cache;
use secret::SecretKey;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Makes and uses AES-256-GCM, ECDSA-P256 and Ed25519 keys, sealed under one key-encryption key.
pub struct SoftwareKeyStore {
    kek: KeyEncryptionKey,
    entropy: Entropy,
    cache: Cache,
}

impl SoftwareKeyStore {
    pub fn new(kek: KeyEncryptionKey, entropy: Entropy) -> Self {
        Self { kek, entropy, cache: Cache::new() }
    }

    /// Wipes what is in memory of every version of `key`. The key stays usable for whoever presents its material.
    pub fn forget(&self, key: &KeyId) {
        self.cache.forget(key);
    }

    fn load(&self, version: VersionRef<'_>, material: &Material) -> Result<Arc<SecretKey>, KeyStoreError> {
        self.cache.get_or_parse(version, material, || {
            let bytes = self.kek.open(version, &material.sealed).ok_or(KeyStoreError::Damaged)?;
            let secret = SecretKey::parse(version.algorithm, bytes).ok_or(KeyStoreError::Damaged)?;
            // The public half is stored in the clear: one that is not this key's was put there by someone else.
            match secret.public_key().map_err(broken)? == material.public_key {
                true => Ok(secret),
                false => Err(KeyStoreError::Damaged),
            }
        })
    }
}

#[async_trait]
impl KeyStore for SoftwareKeyStore {
    async fn create(&self, version: VersionRef<'_>) -> Result<Material, KeyStoreError> {
        let bytes = secret::generate(version.algorithm, &self.entropy).map_err(broken)?;
        let sealed = self.kek.seal(version, &bytes, &self.entropy)?;
        let secret = SecretKey::parse(version.algorithm, bytes).ok_or_else(|| broken(Unspecified))?;
        Ok(Material { sealed, public_key: secret.public_key().map_err(broken)? })
    }

    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        self.load(version, material)?.sign(kind, message)
    }

    async fn verify(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyStoreError> {
        let public_key = material.public_key.as_deref().unwrap_or_default();
        secret::verify(version.algorithm, public_key, kind, message, signature)
    }

    async fn encrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(KeyStoreError::Invalid { what: "the plaintext is longer than 65,536 bytes" });
        }
        let secret = self.load(version, material)?;
        let mut salt = [0; header::SALT];
        self.entropy.fill(&mut salt);
        message::encrypt(secret.aes_bytes()?, version, context, salt, plaintext)
    }

    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let secret = self.load(version, material)?;
        message::decrypt(secret.aes_bytes()?, version, context, ciphertext).ok_or(KeyStoreError::Refused)
    }

    fn version_of(&self, key: &KeyId, ciphertext: &[u8]) -> Result<u32, KeyStoreError> {
        header::version_of(key, ciphertext).ok_or(KeyStoreError::Refused)
    }

    fn random(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }
}

impl fmt::Debug for SoftwareKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareKeyStore(..)")
    }
}

/// `aws-lc-rs` failed at something that only lack of memory or a fault in it explains.
fn broken(source: Unspecified) -> KeyStoreError {
    KeyStoreError::Unavailable { source: source.into() }
}

/// Bytes. The limit of the HTTP surface, which GCP KMS shares.
const MAX_PLAINTEXT: usize = 65_536;
