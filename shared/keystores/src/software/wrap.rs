//! Seals the bytes of one key version under the deployment's key-encryption key. Where that key comes from, and how it
//! is itself kept, is the caller's affair.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the letters `AEGK` |
//! | 4 | 1 | format: 1 |
//! | 5 | 1 | n, the length of the id of the key-encryption key |
//! | 6 | n | that id |
//! | 6 + n | 12 | nonce, random |
//! | 18 + n | m | AES-256-GCM ciphertext of raw key bytes (AES, HMAC) or of PKCS#8 (RFC 5958; of ML-DSA the seed) |
//! | 18 + n + m | 16 | AES-256-GCM tag |
//!
//! Authenticated with it are six fields, each preceded by its length as a big-endian `u64`: the text
//! `aegis/key-version/1`, the key id, the version as a big-endian `u32`, the algorithm, the purpose, and the id of the
//! key-encryption key. Nonces are random: one key-encryption key may seal 2^32 times (NIST SP 800-38D §8.3).

use super::aead::{self, KEY, NONCE};
use super::broken;
use aegis_core::algorithm::Purpose;
use aegis_core::ambient::Entropy;
use aegis_core::keystore::{KeyStoreError, VersionRef};
use std::fmt;
use zeroize::Zeroizing;

/// The key that every key version of a deployment is sealed under. Wiped on drop.
pub struct KeyEncryptionKey {
    id: String,
    /// On the heap, so that moving the key leaves no copy behind.
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyEncryptionKey {
    /// `id` is stored with everything sealed and is not secret; at most 255 bytes. Never one id for two keys.
    pub fn new(id: String, bytes: Zeroizing<[u8; KEY]>) -> Self {
        Self { id, bytes: Zeroizing::new(bytes.to_vec()) }
    }

    pub(super) fn seal(
        &self,
        version: VersionRef<'_>,
        secret: &[u8],
        entropy: &Entropy,
    ) -> Result<Vec<u8>, KeyStoreError> {
        let length = u8::try_from(self.id.len()).map_err(|_| KeyStoreError::Invalid {
            what: "the id of the key-encryption key is longer than 255 bytes",
        })?;
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        let body = aead::seal(&self.bytes, nonce, &self.aad(version), secret).map_err(broken)?;
        Ok([MAGIC.as_slice(), &[length], self.id.as_bytes(), &nonce, &body].concat())
    }

    /// `None` if `sealed` is damaged, was sealed for another key version, or under another key-encryption key.
    pub(super) fn open(&self, version: VersionRef<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (length, rest) = sealed.strip_prefix(&MAGIC)?.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(*length))?;
        if id != self.id.as_bytes() {
            return None;
        }
        let (nonce, body) = rest.split_first_chunk()?;
        aead::open(&self.bytes, *nonce, &self.aad(version), body)
    }

    fn aad(&self, version: VersionRef<'_>) -> Vec<u8> {
        let purpose = match version.algorithm.purpose() {
            Purpose::EncryptDecrypt => "encrypt-decrypt",
            Purpose::Mac => "mac",
            Purpose::SignVerify => "sign-verify",
        };
        let mut aad = Vec::new();
        for field in [
            b"aegis/key-version/1".as_slice(),
            version.key.as_str().as_bytes(),
            &version.version.to_be_bytes(),
            version.algorithm.as_str().as_bytes(),
            purpose.as_bytes(),
            self.id.as_bytes(),
        ] {
            aead::put_field(&mut aad, field);
        }
        aad
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

/// The letters and the format.
const MAGIC: [u8; 5] = *b"AEGK\x01";
