//! Algorithms a key can have, and which operations each supports. No algorithm is implemented here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a key is for, for ever: one key, one algorithm (NIST SP 800-57 part 1, §5.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Algorithm {
    /// AES-256 in Galois/Counter mode (NIST SP 800-38D), with a key derived for each message.
    #[serde(rename = "AES-256-GCM")]
    Aes256Gcm,
    /// ECDSA on NIST P-256 with SHA-256 (FIPS 186-5). Signatures are ASN.1 DER.
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// Ed25519 (RFC 8032). Signatures are 64 bytes; only whole messages can be signed.
    #[serde(rename = "Ed25519")]
    Ed25519,
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Aes256Gcm, Self::EcdsaP256, Self::Ed25519];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::Ed25519 => "Ed25519",
        }
    }

    pub fn purpose(self) -> Purpose {
        match self {
            Self::Aes256Gcm => Purpose::EncryptDecrypt,
            Self::EcdsaP256 | Self::Ed25519 => Purpose::SignVerify,
        }
    }

    /// Whether the key has a public half that may leave Aegis.
    pub fn is_asymmetric(self) -> bool {
        matches!(self, Self::EcdsaP256 | Self::Ed25519)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownAlgorithm)
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown algorithm; known are AES-256-GCM, ECDSA-P256, Ed25519")]
pub struct UnknownAlgorithm;

/// The pair of operations an algorithm serves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    EncryptDecrypt,
    SignVerify,
}

/// How the bytes to be signed are given.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageType {
    /// The SHA-256 digest of the message, 32 bytes; for ECDSA-P256.
    Digest,
    /// The message itself.
    #[default]
    Raw,
}
