//! The layout of a ciphertext, and what is authenticated with it. Derives nothing and decrypts nothing.
//!
//! Every ciphertext begins with the name of the key version that made it. Integers are unsigned and big-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the letters `AEGC` |
//! | 4 | 1 | format: 1 for AES-GCM with keys derived by HKDF-SHA-256, 2 for RSA-OAEP |
//! | 5 | 16 | key id, the bytes behind its 32 hex digits |
//! | 21 | 4 | key version |
//!
//! Format 2 goes on as `oaep` says. A ciphertext of format 1 is 105 bytes longer than its plaintext:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 25 | 32 | salt, random for each message |
//! | 57 | 32 | key commitment |
//! | 89 | n | AES-GCM ciphertext of the plaintext of n bytes |
//! | 89 + n | 16 | AES-GCM tag |
//!
//! From the bytes of the key version come three values, each by HKDF-SHA-256 (RFC 5869) with the key as input keying
//! material, the salt at offset 25, and as info the bytes at offsets 0 to 24 and then the text:
//!
//! | info text | bytes | use |
//! |---|---|---|
//! | `aegis/message-key` | as the key | the AES-GCM key of this message, of the same AES as the key |
//! | `aegis/message-nonce` | 12 | its nonce: the key is used once, so the nonce need not travel |
//! | `aegis/key-commitment` | 32 | compared with offset 57 before anything is decrypted |
//!
//! The additional authenticated data is the header, offsets 0 to 88, then the caller's context: the number of pairs as
//! a `u64`, and for each pair, in the order of the UTF-8 bytes of the names, the length of the name in bytes as a
//! `u64`, the name, the length of the value as a `u64`, the value.

use super::aead::put_context;
use super::scheme::Scheme;
use aegis_core::id::KeyId;
use aegis_core::keystore::{Context, VersionRef};

pub(super) struct Header {
    pub(super) name: Name,
    pub(super) salt: [u8; SALT],
    pub(super) commitment: [u8; COMMITMENT],
}

impl Header {
    /// The header of format 1 and what follows it.
    pub(super) fn parse(ciphertext: &[u8]) -> Option<(Self, &[u8])> {
        let (name, rest) = Name::parse(ciphertext)?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        Some((Self { name, salt: *salt, commitment: *commitment }, rest))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.name.to_bytes().as_slice(), &self.salt, &self.commitment].concat()
    }

    /// What is authenticated with the message.
    pub(super) fn aad(&self, context: &Context) -> Vec<u8> {
        let mut aad = self.to_bytes();
        put_context(&mut aad, context);
        aad
    }
}

/// Which key version a message is of, and of which format.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Name {
    format: u8,
    key: [u8; 16],
    version: u32,
}

impl Name {
    /// `None` only for an id that `KeyId` would not have accepted.
    pub(super) fn of(version: VersionRef<'_>) -> Option<Self> {
        let format = match Scheme::of(version.algorithm) {
            Scheme::Oaep(_) => OAEP,
            _ => DERIVED_GCM,
        };
        Some(Self { format, key: id_bytes(version.key)?, version: version.version })
    }

    /// The name and what follows it.
    pub(super) fn parse(ciphertext: &[u8]) -> Option<(Self, &[u8])> {
        let (format, rest) = ciphertext.strip_prefix(&MAGIC)?.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        Some((Self { format: *format, key: *key, version: u32::from_be_bytes(*version) }, rest))
    }

    /// Offsets 0 to 24.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [MAGIC.as_slice(), &[self.format], &self.key, &self.version.to_be_bytes()].concat()
    }

    /// The version named, if it is one of the key of `present`.
    pub(super) fn version_of(self, present: VersionRef<'_>) -> Option<u32> {
        let expected = Self { version: self.version, ..Self::of(present)? };
        (self == expected).then_some(self.version)
    }
}

fn id_bytes(key: &KeyId) -> Option<[u8; 16]> {
    let (_, digits) = key.as_str().split_once('_')?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// Lengths in bytes.
pub(super) const SALT: usize = 32;
pub(super) const COMMITMENT: usize = 32;
const MAGIC: [u8; 4] = *b"AEGC";
/// Formats.
const DERIVED_GCM: u8 = 1;
const OAEP: u8 = 2;
