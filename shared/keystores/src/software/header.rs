//! The layout of a ciphertext, and what is authenticated with it. Derives nothing and decrypts nothing.
//!
//! Integers are unsigned and big-endian. A ciphertext is 105 bytes longer than its plaintext:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the letters `AEGC` |
//! | 4 | 1 | format: 1, which is AES-256-GCM with keys derived by HKDF-SHA-256 |
//! | 5 | 16 | key id, the bytes behind its 32 hex digits |
//! | 21 | 4 | key version |
//! | 25 | 32 | salt, random for each message |
//! | 57 | 32 | key commitment |
//! | 89 | n | AES-256-GCM ciphertext of the plaintext of n bytes |
//! | 89 + n | 16 | AES-256-GCM tag |
//!
//! From the 32 bytes of the key version come three values, each by HKDF-SHA-256 (RFC 5869) with the key as input keying
//! material, the salt at offset 25, and as info the bytes at offsets 0 to 24 and then the text:
//!
//! | info text | bytes | use |
//! |---|---|---|
//! | `aegis/message-key` | 32 | the AES-256-GCM key of this message |
//! | `aegis/message-nonce` | 12 | its nonce: the key is used once, so the nonce need not travel |
//! | `aegis/key-commitment` | 32 | compared with offset 57 before anything is decrypted |
//!
//! The additional authenticated data is the header, offsets 0 to 88, then the caller's context: the number of pairs as
//! a `u64`, and for each pair, in the order of the UTF-8 bytes of the names, the length of the name in bytes as a
//! `u64`, the name, the length of the value as a `u64`, the value.

use super::aead::{put_count, put_field};
use aegis_core::id::KeyId;
use aegis_core::keystore::{Context, VersionRef};

/// The version `ciphertext` says it was made with, or `None` if it is not one of `key`'s.
pub(super) fn version_of(key: &KeyId, ciphertext: &[u8]) -> Option<u32> {
    let (header, _) = Header::parse(ciphertext)?;
    (header.name.key == id_bytes(key)?).then_some(header.name.version)
}

pub(super) struct Header {
    pub(super) name: Name,
    pub(super) salt: [u8; SALT],
    pub(super) commitment: [u8; COMMITMENT],
}

impl Header {
    /// The header and what follows it.
    pub(super) fn parse(ciphertext: &[u8]) -> Option<(Self, &[u8])> {
        let rest = ciphertext.strip_prefix(&MAGIC)?;
        let (key, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let name = Name { key: *key, version: u32::from_be_bytes(*version) };
        Some((Self { name, salt: *salt, commitment: *commitment }, rest))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.name.to_bytes().as_slice(), &self.salt, &self.commitment].concat()
    }

    /// What is authenticated with the message.
    pub(super) fn aad(&self, context: &Context) -> Vec<u8> {
        let mut aad = self.to_bytes();
        put_count(&mut aad, context.len());
        for (name, value) in context {
            put_field(&mut aad, name.as_bytes());
            put_field(&mut aad, value.as_bytes());
        }
        aad
    }
}

/// Which key version a message is of.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Name {
    key: [u8; 16],
    version: u32,
}

impl Name {
    /// `None` only for an id that `KeyId` would not have accepted.
    pub(super) fn of(version: VersionRef<'_>) -> Option<Self> {
        Some(Self { key: id_bytes(version.key)?, version: version.version })
    }

    /// Offsets 0 to 24.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [MAGIC.as_slice(), &self.key, &self.version.to_be_bytes()].concat()
    }
}

fn id_bytes(key: &KeyId) -> Option<[u8; 16]> {
    let (_, digits) = key.as_str().split_once('_')?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// Lengths in bytes.
pub(super) const SALT: usize = 32;
pub(super) const COMMITMENT: usize = 32;
/// The letters and the format.
const MAGIC: [u8; 5] = *b"AEGC\x01";
