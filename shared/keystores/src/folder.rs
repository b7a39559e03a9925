//! Private keys in the files of a folder, which stay there and which other programs may use too: each file one key,
//! PKCS#8 in PEM (RFC 5958, RFC 7468), as `openssl genpkey` writes it. Signatures, and ciphertexts of RSA-OAEP, are those
//! that any other program makes with the same file: no header, no context.
//!
//! What protects these keys is the file system. A file that others than its owner may read is refused. Nothing of a file
//! is kept in memory beyond one operation, so a key is gone with its file.

mod file;
#[cfg(test)]
mod tests;

use crate::software::offload::Offload;
use crate::software::scheme::Scheme;
use crate::software::secret::{self, SecretKey};
use crate::software::{NOT_AN_ENCRYPTING_KEY, broken, oaep};
use aegis_core::algorithm::{Algorithm, MessageType, Purpose};
use aegis_core::ambient::Entropy;
use aegis_core::id::RecordId;
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use aegis_core::name::ObjectName;
use async_trait::async_trait;
use file::Folder;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Uses, and makes, keys in the files of one folder.
pub struct FolderKeyStore {
    folder: Arc<Folder>,
    entropy: Entropy,
    offload: Offload,
}

impl FolderKeyStore {
    /// `folder` must be there whenever a key is used, not before.
    pub fn new(folder: PathBuf, entropy: Entropy) -> Self {
        Self { folder: Arc::new(Folder::new(folder)), entropy, offload: Offload::new() }
    }

    /// Reads the key of `material` and does `work` with it, on the blocking pool: a file may lie on a slow device.
    async fn with<T: Send + 'static>(
        &self,
        algorithm: Algorithm,
        material: &Material,
        work: impl FnOnce(&SecretKey) -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<T, KeyStoreError> {
        let (folder, material) = (Arc::clone(&self.folder), material.clone());
        let read = move || {
            let name = std::str::from_utf8(&material.sealed).map_err(|_| KeyStoreError::Damaged)?;
            // It was fit to be registered: what is wrong with it now is none of the caller's doing.
            let absent = |what: &'static str| KeyStoreError::Unavailable { source: what.into() };
            let pkcs8 = folder.read(name).map_err(|error| match error {
                KeyStoreError::Invalid { what } => absent(what),
                other => other,
            })?;
            let pkcs8 = pkcs8.ok_or_else(|| absent(NO_FILE))?;
            let secret = SecretKey::parse(algorithm, pkcs8).ok_or(KeyStoreError::Damaged)?;
            // A file that was replaced holds another key than the one that grants were given for.
            match secret.public_key().map_err(broken)? == material.public_key {
                true => work(&secret),
                false => Err(KeyStoreError::Damaged),
            }
        };
        self.within(read).await
    }

    /// On the blocking pool, and not for ever: a folder may lie on a device that does not answer.
    async fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<T, KeyStoreError> {
        in_time(DEADLINE, self.offload.run(work)).await
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, KeyStoreError>>) -> Result<T, KeyStoreError> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|late| Err(KeyStoreError::Unavailable { source: late.into() }))
}

/// The key of a file; only what has a public half is one here.
fn parse(algorithm: Algorithm, pkcs8: Zeroizing<Vec<u8>>) -> Result<SecretKey, KeyStoreError> {
    check_asymmetric(algorithm)?;
    SecretKey::parse(algorithm, pkcs8)
        .ok_or(KeyStoreError::Invalid { what: "the file holds no private key for this algorithm" })
}

fn check_asymmetric(algorithm: Algorithm) -> Result<(), KeyStoreError> {
    match Scheme::of(algorithm) {
        Scheme::Aes(_) | Scheme::Hmac(_) => {
            Err(KeyStoreError::Invalid { what: "a folder holds private keys: for ECDSA, Ed25519, ML-DSA and RSA" })
        }
        _ => Ok(()),
    }
}

fn check_context(context: &Context) -> Result<(), KeyStoreError> {
    match context.is_empty() {
        true => Ok(()),
        // Wrapping and data keys have a context of their own.
        false => Err(KeyStoreError::Invalid {
            what: "a key in a folder encrypts as other programs do: without context, and no keys are wrapped with it",
        }),
    }
}

fn material(name: &str, secret: &SecretKey) -> Result<Material, KeyStoreError> {
    Ok(Material { sealed: name.as_bytes().to_vec(), public_key: secret.public_key().map_err(broken)? })
}

#[async_trait]
impl KeyStore for FolderKeyStore {
    fn check_create(&self, version: VersionRef<'_>) -> Result<(), KeyStoreError> {
        check_asymmetric(version.algorithm)?;
        match version.version > 1 && version.algorithm.purpose() == Purpose::EncryptDecrypt {
            true => Err(KeyStoreError::Invalid {
                what: "ciphertexts of a key in a folder do not tell their version, so it does not rotate: make another key",
            }),
            false => Ok(()),
        }
    }

    async fn create(&self, version: VersionRef<'_>, token: &RecordId) -> Result<Material, KeyStoreError> {
        let algorithm = version.algorithm;
        self.check_create(version)?;
        let (folder, entropy, name) = (Arc::clone(&self.folder), self.entropy.clone(), file::name_of(token));
        let make = move || {
            let pkcs8 = match folder.read(&name)? {
                Some(made_before) => made_before,
                None => {
                    let pkcs8 = secret::generate(algorithm, &entropy).map_err(broken)?;
                    folder.write(&name, &pkcs8)?;
                    pkcs8
                }
            };
            material(&name, &parse(algorithm, pkcs8)?)
        };
        match Scheme::of(algorithm).is_slow_to_generate() {
            true => in_time(GENERATION_DEADLINE, self.offload.generate(make)).await,
            false => self.within(make).await,
        }
    }

    async fn undo(&self, token: &RecordId) -> Result<(), KeyStoreError> {
        let (folder, name) = (Arc::clone(&self.folder), file::name_of(token));
        self.within(move || folder.remove(&name)).await
    }

    async fn import(
        &self,
        _: VersionRef<'_>,
        _: VersionRef<'_>,
        _: &Material,
        _: &[u8],
    ) -> Result<Material, KeyStoreError> {
        Err(KeyStoreError::Invalid { what: "put the file into the folder, and register it" })
    }

    async fn register(&self, algorithm: Algorithm, object: &ObjectName) -> Result<Material, KeyStoreError> {
        if file::is_made_here(object.as_str()) {
            return Err(KeyStoreError::Invalid { what: "files of this name are made by Aegis, for keys of its own" });
        }
        let (folder, object) = (Arc::clone(&self.folder), object.clone());
        let read = move || {
            let pkcs8 = folder.read(object.as_str())?.ok_or(KeyStoreError::Invalid { what: NO_FILE })?;
            material(object.as_str(), &parse(algorithm, pkcs8)?)
        };
        self.within(read).await
    }

    async fn destroy(&self, version: VersionRef<'_>, material: &Material) -> Result<(), KeyStoreError> {
        let (folder, algorithm, material) = (Arc::clone(&self.folder), version.algorithm, material.clone());
        let remove = move || {
            let name = std::str::from_utf8(&material.sealed).map_err(|_| KeyStoreError::Damaged)?;
            let found = folder.read(name).ok().flatten().and_then(|pkcs8| SecretKey::parse(algorithm, pkcs8));
            // What the operator put in its place is not ours to remove. What cannot be read is removed: it must be gone.
            match found.map(|secret| secret.public_key().ok().flatten()) {
                Some(public) if public != material.public_key => Ok(()),
                _ => folder.remove(name),
            }
        };
        self.within(remove).await
    }

    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let message = Zeroizing::new(message.to_vec());
        self.with(version.algorithm, material, move |secret| secret.sign(kind, &message)).await
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

    async fn mac(&self, _: VersionRef<'_>, _: &Material, _: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        Err(NO_CODES)
    }

    async fn verify_mac(&self, _: VersionRef<'_>, _: &Material, _: &[u8], _: &[u8]) -> Result<bool, KeyStoreError> {
        Err(NO_CODES)
    }

    async fn encrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        check_context(context)?;
        let plaintext = Zeroizing::new(plaintext.to_vec());
        self.with(version.algorithm, material, move |secret| match secret {
            SecretKey::Oaep(key) => oaep::seal(key, None, &plaintext),
            _ => Err(NOT_AN_ENCRYPTING_KEY),
        })
        .await
    }

    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        check_context(context)?;
        let ciphertext = ciphertext.to_vec();
        self.with(version.algorithm, material, move |secret| match secret {
            SecretKey::Oaep(key) => oaep::open(key, None, &ciphertext).ok_or(KeyStoreError::Refused),
            _ => Err(NOT_AN_ENCRYPTING_KEY),
        })
        .await
    }

    fn version_of(&self, present: VersionRef<'_>, _: &[u8]) -> Result<u32, KeyStoreError> {
        Ok(present.version)
    }

    fn random(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }
}

impl fmt::Debug for FolderKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FolderKeyStore(..)")
    }
}

/// Far more than a file takes, and less than a caller waits.
const DEADLINE: Duration = Duration::from_secs(10);
/// The last of those who wait for RSA-4096 primes waits some ten seconds.
const GENERATION_DEADLINE: Duration = Duration::from_secs(60);
const NO_FILE: &str = "the folder has no such file";
const NO_CODES: KeyStoreError =
    KeyStoreError::Invalid { what: "a folder holds private keys: they make no message authentication codes" };
