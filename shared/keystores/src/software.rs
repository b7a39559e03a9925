//! The software root of trust: keys live as wrapped blobs in the deployment's store and are computed with in this
//! process. Holds no state but a cache; where the key-encryption key comes from is the caller's affair.
//!
//! What takes long, making RSA keys and private operations with more than 2048 bits, is carried out on tokio's blocking
//! pool and needs a runtime around it. All else is done at once, on the caller's thread.

mod aead;
mod cache;
mod header;
mod import;
mod message;
pub(crate) mod oaep;
pub(crate) mod offload;
pub(crate) mod scheme;
pub(crate) mod secret;
mod wrap;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use wrap::KeyEncryptionKey;

use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::ambient::Entropy;
use aegis_core::id::{KeyId, RecordId};
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use aegis_core::name::ObjectName;
use async_trait::async_trait;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use cache::Cache;
use header::Header;
use offload::Offload;
use scheme::Scheme;
use secret::SecretKey;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Makes and uses keys of every algorithm, sealed under one key-encryption key.
pub struct SoftwareKeyStore {
    safe: Arc<Safe>,
    offload: Offload,
}

/// What the blocking pool shares with the callers.
struct Safe {
    kek: KeyEncryptionKey,
    entropy: Entropy,
    cache: Cache,
}

impl SoftwareKeyStore {
    pub fn new(kek: KeyEncryptionKey, entropy: Entropy) -> Self {
        Self { safe: Arc::new(Safe { kek, entropy, cache: Cache::new() }), offload: Offload::new() }
    }

    async fn load(&self, version: VersionRef<'_>, material: &Material) -> Result<Arc<SecretKey>, KeyStoreError> {
        if let Some(key) = self.safe.cache.get(version, material) {
            return Ok(key);
        }
        if !Scheme::of(version.algorithm).is_slow() {
            return self.safe.load(version, material);
        }
        let (safe, owned, material) = (Arc::clone(&self.safe), Owned::new(version), material.clone());
        self.offload.run(move || safe.load(owned.version_ref(), &material)).await
    }
}

impl Safe {
    fn create(&self, version: VersionRef<'_>) -> Result<Material, KeyStoreError> {
        let bytes = secret::generate(version.algorithm, &self.entropy).map_err(broken)?;
        let sealed = self.kek.seal(version, &bytes, &self.entropy)?;
        let secret = SecretKey::parse(version.algorithm, bytes).ok_or_else(|| broken(Unspecified))?;
        Ok(Material { sealed, public_key: secret.public_key().map_err(broken)? })
    }

    fn import(&self, version: VersionRef<'_>, wrapping: &SecretKey, wrapped: &[u8]) -> Result<Material, KeyStoreError> {
        let bytes = import::unwrap(wrapping, wrapped).ok_or(KeyStoreError::Refused)?;
        let sealed = self.kek.seal(version, &bytes, &self.entropy)?;
        // AWS-LC refuses a key whose halves do not fit; a test holds that.
        let secret = SecretKey::parse(version.algorithm, bytes).ok_or(KeyStoreError::Invalid {
            what: "what was wrapped is no key of this algorithm: raw bytes of its length for AES and HMAC, else PKCS#8",
        })?;
        Ok(Material { sealed, public_key: secret.public_key().map_err(broken)? })
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
    fn check_create(&self, _: VersionRef<'_>) -> Result<(), KeyStoreError> {
        Ok(())
    }

    /// Nothing is made but the material returned, so the token finds nothing again.
    async fn create(&self, version: VersionRef<'_>, _: &RecordId) -> Result<Material, KeyStoreError> {
        if !Scheme::of(version.algorithm).is_slow_to_generate() {
            return self.safe.create(version);
        }
        let (safe, owned) = (Arc::clone(&self.safe), Owned::new(version));
        self.offload.generate(move || safe.create(owned.version_ref())).await
    }

    async fn undo(&self, _: &RecordId) -> Result<(), KeyStoreError> {
        Ok(())
    }

    async fn import(
        &self,
        version: VersionRef<'_>,
        wrapping: VersionRef<'_>,
        wrapping_material: &Material,
        wrapped: &[u8],
    ) -> Result<Material, KeyStoreError> {
        let opened = self.load(wrapping, wrapping_material).await?;
        // It serves once: nothing of it stays in memory.
        self.safe.cache.forget(wrapping.key);
        let (safe, owned, wrapped) = (Arc::clone(&self.safe), Owned::new(version), wrapped.to_vec());
        self.offload.run(move || safe.import(owned.version_ref(), &opened, &wrapped)).await
    }

    async fn register(&self, _: Algorithm, _: &ObjectName) -> Result<Material, KeyStoreError> {
        Err(KeyStoreError::Invalid { what: "the software key store has no objects of others" })
    }

    async fn destroy(&self, version: VersionRef<'_>, _: &Material) -> Result<(), KeyStoreError> {
        self.safe.cache.forget(version.key);
        Ok(())
    }

    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let secret = self.load(version, material).await?;
        if !Scheme::of(version.algorithm).is_slow() {
            return secret.sign(kind, message);
        }
        let message = Zeroizing::new(message.to_vec());
        self.offload.run(move || secret.sign(kind, &message)).await
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

    async fn mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        Ok(hmac::sign(self.load(version, material).await?.hmac()?, message).as_ref().to_vec())
    }

    async fn verify_mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
        mac: &[u8],
    ) -> Result<bool, KeyStoreError> {
        Ok(hmac::verify(self.load(version, material).await?.hmac()?, message, mac).is_ok())
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
        // OAEP too needs the whole key: a public half from the store might be someone else's.
        match &*self.load(version, material).await? {
            SecretKey::Aes(bytes) => {
                let mut salt = [0; header::SALT];
                self.safe.entropy.fill(&mut salt);
                message::encrypt(bytes, version, context, salt, plaintext)
            }
            SecretKey::Oaep(key) => oaep::encrypt(key, version, context, plaintext),
            _ => Err(NOT_AN_ENCRYPTING_KEY),
        }
    }

    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let secret = self.load(version, material).await?;
        if !Scheme::of(version.algorithm).is_slow() {
            return open(&secret, version, context, ciphertext);
        }
        let (owned, context, ciphertext) = (Owned::new(version), context.clone(), ciphertext.to_vec());
        self.offload.run(move || open(&secret, owned.version_ref(), &context, &ciphertext)).await
    }

    fn version_of(&self, present: VersionRef<'_>, ciphertext: &[u8]) -> Result<u32, KeyStoreError> {
        let version = match Scheme::of(present.algorithm) {
            Scheme::Oaep(size) => oaep::version_of(size.len(), present, ciphertext),
            _ => Header::parse(ciphertext).and_then(|(header, _)| header.name.version_of(present)),
        };
        version.ok_or(KeyStoreError::Refused)
    }

    fn random(&self, buffer: &mut [u8]) {
        self.safe.entropy.fill(buffer);
    }
}

impl fmt::Debug for SoftwareKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareKeyStore(..)")
    }
}

fn open(
    secret: &SecretKey,
    version: VersionRef<'_>,
    context: &Context,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
    let plaintext = match secret {
        SecretKey::Aes(bytes) => message::decrypt(bytes, version, context, ciphertext),
        SecretKey::Oaep(key) => oaep::decrypt(key, version, context, ciphertext),
        _ => return Err(NOT_AN_ENCRYPTING_KEY),
    };
    plaintext.ok_or(KeyStoreError::Refused)
}

/// A [`VersionRef`] that outlives the caller.
struct Owned {
    key: KeyId,
    version: u32,
    algorithm: Algorithm,
}

impl Owned {
    fn new(version: VersionRef<'_>) -> Self {
        Self { key: version.key.clone(), version: version.version, algorithm: version.algorithm }
    }

    fn version_ref(&self) -> VersionRef<'_> {
        VersionRef { key: &self.key, version: self.version, algorithm: self.algorithm, calls: None }
    }
}

/// `aws-lc-rs` failed at something that only lack of memory or a fault in it explains.
pub(crate) fn broken(source: Unspecified) -> KeyStoreError {
    KeyStoreError::Unavailable { source: source.into() }
}

pub(crate) const NOT_AN_ENCRYPTING_KEY: KeyStoreError = KeyStoreError::Invalid { what: "this key does not encrypt" };
/// Bytes. The limit of the HTTP surface, which GCP KMS shares.
const MAX_PLAINTEXT: usize = 65_536;
