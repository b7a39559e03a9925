//! The sealed root file: the few secrets from which the embedded host protects all others, under a passphrase.
//! It says nothing of how they are used, and holds no key of a customer.

mod file;
mod passphrase;

pub use passphrase::{KdfParams, Passphrase};

use crate::folder;
use aegis_core::ambient::Entropy;
use aegis_core::encoding::{base64_bytes, hex};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The root of trust of one deployment. Wiped on drop; no `Clone`, no `Serialize`.
pub struct Root(Secrets);

/// Callers branch on the variant; `Display` is for whoever typed the passphrase.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("the root file is damaged; restore it from a backup")]
    Damaged,
    /// Nothing was overwritten.
    #[error("there is a root file already")]
    Exists,
    /// Nothing was overwritten.
    #[error("the folder has a root file of another deployment, or under another passphrase")]
    Foreign,
    #[error("the root file cannot be read or written")]
    Io(#[source] io::Error),
    /// A store without the root that sealed it. Nothing was written.
    #[error("the folder has a store, and no root file to open it with; restore the root from a backup")]
    Lost,
    #[error("there is no root file")]
    Missing,
    #[error("the root file has format {found}, but this aegis knows none above {known}; use a newer aegis")]
    NewerFormat { found: u32, known: u32 },
    /// Nothing was overwritten.
    #[error(
        "the folder has a root file of epoch {found}, and this one would be of epoch {offered}; use a newer backup"
    )]
    OlderEpoch { found: u64, offered: u64 },
    /// Outside what is safe (too little) or bearable (too much); in a file, somebody put them there.
    #[error("the passphrase would be stretched too little or too much")]
    Params,
    #[error("a passphrase has at least {} characters", Passphrase::SHORTEST)]
    WeakPassphrase,
    /// The two cannot be told apart.
    #[error("the passphrase is wrong, or the root file was altered")]
    WrongPassphrase,
}

impl Root {
    /// Makes a root and writes it, durably, before it returns it. Never replaces a root that exists.
    pub fn create(dir: &Path, passphrase: &Passphrase, params: KdfParams) -> Result<Self, RootError> {
        passphrase.refuse_weak()?;
        folder::prepare(dir)?;
        let _lock = lock(dir)?;
        if dir.join(NAME).try_exists()? {
            return Err(RootError::Exists);
        }
        let root = Self::random()?;
        write(dir, &file::seal(&root.0, passphrase, params)?)?;
        Ok(root)
    }

    /// Opens the root, or makes the one of a new deployment: never beside a store, which only its own root opens. To be
    /// called before the store is opened: a root is always written before its store.
    pub fn open_or_create(dir: &Path, passphrase: &Passphrase, params: KdfParams) -> Result<Self, RootError> {
        // INVARIANT: looked at first, so that whoever is being started beside this one has written its root by then.
        let stored = crate::store::is_stored(dir)?;
        match Self::open(dir, passphrase) {
            Err(RootError::Missing) if stored => Err(RootError::Lost),
            Err(RootError::Missing) => match Self::create(dir, passphrase, params) {
                // Another process was faster. Which of the two goes on, the store's lock decides.
                Err(RootError::Exists) => Self::open(dir, passphrase),
                made => made,
            },
            opened => opened,
        }
    }

    pub fn open(dir: &Path, passphrase: &Passphrase) -> Result<Self, RootError> {
        Self::open_sealed(&read(dir)?, passphrase)
    }

    /// Opens the bytes of a root file.
    pub(crate) fn open_sealed(sealed: &[u8], passphrase: &Passphrase) -> Result<Self, RootError> {
        file::open(sealed, |params, salt| passphrase.stretch(params, salt)).map(Self)
    }

    /// Opens the bytes of a root file with what a passphrase would have been stretched to.
    #[cfg(feature = "testing")]
    pub fn open_with_key(sealed: &[u8], key: [u8; 32]) -> Result<Self, RootError> {
        file::open(sealed, |_, _| Ok(zeroize::Zeroizing::new(key))).map(Self)
    }

    /// Writes the root of these bytes to a folder, at another epoch and under the same passphrase: at once or not at
    /// all. Replaces no root of another deployment, and none of a later epoch.
    pub(crate) fn restore(dir: &Path, sealed: &[u8], passphrase: &Passphrase, epoch: u64) -> Result<(), RootError> {
        let mut root = Self::open_sealed(sealed, passphrase)?;
        let _lock = lock(dir)?;
        match Self::open(dir, passphrase) {
            Ok(there) if there.deployment() != root.deployment() => return Err(RootError::Foreign),
            Ok(there) if there.epoch() > epoch => {
                return Err(RootError::OlderEpoch { found: there.epoch(), offered: epoch });
            }
            Ok(_) | Err(RootError::Missing) => (),
            Err(RootError::Io(error)) => return Err(RootError::Io(error)),
            Err(_) => return Err(RootError::Foreign),
        }
        root.0.epoch = epoch;
        write(dir, &file::seal(&root.0, passphrase, file::params(sealed)?)?)
    }

    /// Seals the same root under another passphrase. Whatever goes wrong, one of the two opens it.
    pub fn change_passphrase(
        dir: &Path,
        old: &Passphrase,
        new: &Passphrase,
        params: KdfParams,
    ) -> Result<(), RootError> {
        new.refuse_weak()?;
        let _lock = lock(dir)?;
        let root = Self::open(dir, old)?;
        write(dir, &file::seal(&root.0, new, params)?)
    }

    /// "dep_" and 32 hex digits.
    pub fn deployment(&self) -> &str {
        &self.0.deployment
    }

    /// Grows by one with each restore from a backup, from 1. A token of an earlier epoch is refused.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// "kek_" and 32 hex digits; not secret.
    pub fn kek_id(&self) -> &str {
        &self.0.kek_id
    }

    /// The raw key-encryption key, which opens every wrapped key of the deployment.
    pub fn expose_kek(&self) -> &[u8; 32] {
        &self.0.kek
    }

    /// The raw key of the digests under which credentials are stored.
    pub fn expose_digest_key(&self) -> &[u8; 32] {
        &self.0.digest_key
    }

    /// The private key that signs agents' tokens: ECDSA P-256, PKCS#8.
    pub fn expose_token_key(&self) -> &[u8] {
        &self.0.token_key
    }

    /// The private key that signs the local issuer's ID tokens: ECDSA P-256, PKCS#8.
    pub fn expose_issuer_key(&self) -> &[u8] {
        &self.0.issuer_key
    }

    fn random() -> Result<Self, RootError> {
        let entropy = Entropy::system();
        let id = |prefix: &str| {
            let mut random = [0_u8; 16];
            entropy.fill(&mut random);
            format!("{prefix}_{}", hex(&random))
        };
        let mut secrets = Secrets {
            deployment: id("dep"),
            epoch: 1,
            kek_id: id("kek"),
            kek: [0; 32],
            digest_key: [0; 32],
            token_key: signing_key()?,
            issuer_key: signing_key()?,
        };
        entropy.fill(&mut secrets.kek);
        entropy.fill(&mut secrets.digest_key);
        Ok(Self(secrets))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root(..)")
    }
}

/// What is sealed, as JSON.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Secrets {
    deployment: String,
    epoch: u64,
    kek_id: String,
    #[serde(with = "key32")]
    kek: [u8; 32],
    #[serde(with = "key32")]
    digest_key: [u8; 32],
    #[serde(with = "base64_bytes")]
    token_key: Vec<u8>,
    #[serde(with = "base64_bytes")]
    issuer_key: Vec<u8>,
}

mod key32 {
    use super::base64_bytes;
    use serde::{Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        base64_bytes::serialize(key, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let bytes = Zeroizing::new(base64_bytes::deserialize(deserializer)?);
        bytes.as_slice().try_into().map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

impl From<io::Error> for RootError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

fn signing_key() -> Result<Vec<u8>, RootError> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    Ok(made.map_err(|_| io::Error::other("no signing key could be made"))?.as_ref().to_vec())
}

/// Held while a root file is written; waits for whoever holds it.
fn lock(dir: &Path) -> Result<File, RootError> {
    let lock = folder::private().open(dir.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// At most what a root file could ever hold, whatever lies there.
pub(crate) fn read(dir: &Path) -> Result<Vec<u8>, RootError> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(dir.join(NAME))?, 64 * 1024), &mut bytes)?;
    Ok(bytes)
}

/// Replaces the file at once or not at all, durably.
fn write(dir: &Path, bytes: &[u8]) -> Result<(), RootError> {
    let fresh = dir.join(FRESH);
    let mut file = folder::private().truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(fresh, dir.join(NAME))?;
    Ok(folder::sync(dir)?)
}

pub(crate) const NAME: &str = "root.sealed";
/// A root file that is being written.
pub(crate) const FRESH: &str = "root.sealed.new";
pub(crate) const LOCK: &str = "root.lock";

#[cfg(test)]
mod tests;
