//! Encrypts and decrypts one message with a key derived for it alone, committing to the key as the suites with key
//! commitment of the AWS Encryption SDK do. The layout is in `header`.
//!
//! A random salt of 32 bytes for each message lifts the bound of 2^32 messages that random nonces put on one AES-GCM
//! key (NIST SP 800-38D §8.3); the commitment stops one ciphertext from opening under two keys, which GCM alone allows.

use super::aead::{self, NONCE};
use super::broken;
use super::header::{COMMITMENT, Header, Name, SALT};
use aegis_core::keystore::{Context, KeyStoreError, VersionRef};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// `salt` must never have been used before.
pub(super) fn encrypt(
    secret: &[u8],
    version: VersionRef<'_>,
    context: &Context,
    salt: [u8; SALT],
    plaintext: &[u8],
) -> Result<Vec<u8>, KeyStoreError> {
    let name = Name::of(version).ok_or(KeyStoreError::Invalid { what: "the key id is malformed" })?;
    let derived = Derived::new(secret, name, &salt).map_err(broken)?;
    let header = Header { name, salt, commitment: derived.commitment };
    let body = aead::seal(&derived.key, derived.nonce, &header.aad(context), plaintext).map_err(broken)?;
    Ok([header.to_bytes(), body].concat())
}

/// `None` for whatever `encrypt` did not return for the same key, version and context.
pub(super) fn decrypt(
    secret: &[u8],
    version: VersionRef<'_>,
    context: &Context,
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (header, body) = Header::parse(ciphertext)?;
    if header.name != Name::of(version)? {
        return None;
    }
    let derived = Derived::new(secret, header.name, &header.salt).ok()?;
    verify_slices_are_equal(&derived.commitment, &header.commitment).ok()?;
    aead::open(&derived.key, derived.nonce, &header.aad(context), body)
}

/// What one message is encrypted with.
pub(super) struct Derived {
    /// On the heap, so that moving it leaves no copy behind.
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) nonce: [u8; NONCE],
    pub(super) commitment: [u8; COMMITMENT],
}

impl Derived {
    pub(super) fn new(secret: &[u8], name: Name, salt: &[u8]) -> Result<Self, Unspecified> {
        let name = name.to_bytes();
        let key = Zeroizing::new(vec![0; secret.len()]);
        let mut derived = Self { key, nonce: [0; NONCE], commitment: [0; COMMITMENT] };
        hkdf(salt, secret, &[&name, b"aegis/message-key"], &mut derived.key)?;
        hkdf(salt, secret, &[&name, b"aegis/message-nonce"], &mut derived.nonce)?;
        hkdf(salt, secret, &[&name, b"aegis/key-commitment"], &mut derived.commitment)?;
        Ok(derived)
    }
}

/// HKDF-SHA-256 (RFC 5869); the info is the concatenation of its parts.
pub(super) fn hkdf(salt: &[u8], secret: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Unspecified> {
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(out.len()))?.fill(out)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
