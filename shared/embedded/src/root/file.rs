//! The bytes of a root file: a JSON header in the clear, and the secrets under AES-256-GCM, which authenticates both.

use super::{KdfParams, Passphrase, RootError, Secrets};
use aegis_core::ambient::Entropy;
use aegis_core::encoding::base64_bytes;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use std::io;
use zeroize::Zeroizing;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: u32,
    kdf: Kdf,
    #[serde(with = "base64_bytes")]
    nonce: Vec<u8>,
    #[serde(with = "base64_bytes")]
    ciphertext: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
struct Kdf {
    name: KdfName,
    #[serde(flatten)]
    params: KdfParams,
    #[serde(with = "base64_bytes")]
    salt: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum KdfName {
    Argon2id,
}

/// Read first: a newer format may differ in everything else.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

pub(super) fn seal(secrets: &Secrets, passphrase: &Passphrase, params: KdfParams) -> Result<Vec<u8>, RootError> {
    let mut salt = vec![0; 16];
    Entropy::system().fill(&mut salt);
    let key = passphrase.stretch(params, &salt)?;
    let kdf = Kdf { name: KdfName::Argon2id, params, salt };
    // Room for all of it, so that no copy is left behind by growing.
    let mut buffer = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *buffer, secrets).map_err(io::Error::from)?;
    let nonce = cipher(&key)?
        .seal_in_place_append_tag(Aad::from(header(FORMAT, &kdf)), &mut *buffer)
        .map_err(|_| io::Error::other("sealing failed"))?;
    let ciphertext = std::mem::take(&mut *buffer);
    let sealed = Sealed { format: FORMAT, kdf, nonce: nonce.as_ref().to_vec(), ciphertext };
    let mut bytes = serde_json::to_vec_pretty(&sealed).map_err(io::Error::from)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `stretch` is [`Passphrase::stretch`].
pub(super) fn open(
    bytes: &[u8],
    stretch: impl FnOnce(KdfParams, &[u8]) -> Result<Zeroizing<[u8; 32]>, RootError>,
) -> Result<Secrets, RootError> {
    let damaged = |_| RootError::Damaged;
    match serde_json::from_slice(bytes).map_err(damaged)? {
        AnyFormat { format: FORMAT } => (),
        AnyFormat { format: found } if found > FORMAT => return Err(RootError::NewerFormat { found, known: FORMAT }),
        AnyFormat { .. } => return Err(RootError::Damaged),
    }
    let Sealed { format, kdf, nonce, ciphertext } = serde_json::from_slice(bytes).map_err(damaged)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| RootError::Damaged)?;
    let key = stretch(kdf.params, &kdf.salt)?;
    let mut buffer = Zeroizing::new(ciphertext);
    let secrets = cipher(&key)?
        .open_in_place(Nonce::from(&nonce), Aad::from(header(format, &kdf)), &mut buffer)
        .map_err(|_| RootError::WrongPassphrase)?;
    serde_json::from_slice(secrets).map_err(damaged)
}

/// How the passphrase of these bytes is stretched.
pub(super) fn params(bytes: &[u8]) -> Result<KdfParams, RootError> {
    let Sealed { kdf, .. } = serde_json::from_slice(bytes).map_err(|_| RootError::Damaged)?;
    Ok(kdf.params)
}

fn cipher(key: &[u8; 32]) -> Result<RandomizedNonceKey, RootError> {
    Ok(RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| io::Error::other("no cipher could be made"))?)
}

/// Each part with its length, so that no two headers are alike.
fn header(format: u32, kdf: &Kdf) -> Vec<u8> {
    let Kdf { name: KdfName::Argon2id, params: KdfParams { memory_kib, passes, lanes }, salt } = kdf;
    let numbers = [format, *memory_kib, *passes, *lanes].map(u32::to_be_bytes).concat();
    let mut bytes = Vec::new();
    for part in [b"aegis root file".as_slice(), b"argon2id", &numbers, salt] {
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

const FORMAT: u32 = 1;
