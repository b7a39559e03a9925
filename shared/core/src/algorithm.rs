//! Algorithms a key can have, and which operations each supports. No algorithm is implemented here.
//!
//! A name says all that two parties must agree on: family, size, scheme, hash. What a name leaves out is fixed by its
//! family: ECDSA hashes with the SHA-2 of the curve's strength, RSA-PSS has a salt as long as its digest, and OAEP uses
//! one hash throughout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! algorithms {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $purpose:ident)*) => {
        /// What a key is for, for ever: one key, one algorithm (NIST SP 800-57 part 1, §5.2).
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
        pub enum Algorithm {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Algorithm {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub fn purpose(self) -> Purpose {
                match self {
                    $(Self::$variant => Purpose::$purpose,)*
                }
            }
        }
    };
}

algorithms! {
    /// AES-128 in Galois/Counter mode (NIST SP 800-38D), with a key derived for each message.
    Aes128Gcm "AES-128-GCM" EncryptDecrypt
    /// AES-192 in Galois/Counter mode (NIST SP 800-38D), with a key derived for each message.
    Aes192Gcm "AES-192-GCM" EncryptDecrypt
    /// AES-256 in Galois/Counter mode (NIST SP 800-38D), with a key derived for each message.
    Aes256Gcm "AES-256-GCM" EncryptDecrypt
    /// ECDSA on NIST P-256 with SHA-256 (FIPS 186-5). Signatures are ASN.1 DER.
    EcdsaP256 "ECDSA-P256" SignVerify
    /// ECDSA on NIST P-384 with SHA-384 (FIPS 186-5). Signatures are ASN.1 DER.
    EcdsaP384 "ECDSA-P384" SignVerify
    /// ECDSA on NIST P-521 with SHA-512 (FIPS 186-5). Signatures are ASN.1 DER.
    EcdsaP521 "ECDSA-P521" SignVerify
    /// ECDSA on secp256k1 (SEC 2) with SHA-256. Signatures are ASN.1 DER.
    EcdsaSecp256k1 "ECDSA-secp256k1" SignVerify
    /// Ed25519 (RFC 8032). Signatures are 64 bytes; only whole messages can be signed.
    Ed25519 "Ed25519" SignVerify
    /// HMAC with SHA-256 (FIPS 198-1) and a key of 32 bytes. MACs are 32 bytes.
    HmacSha256 "HMAC-SHA256" Mac
    /// HMAC with SHA-384 (FIPS 198-1) and a key of 48 bytes. MACs are 48 bytes.
    HmacSha384 "HMAC-SHA384" Mac
    /// HMAC with SHA-512 (FIPS 198-1) and a key of 64 bytes. MACs are 64 bytes.
    HmacSha512 "HMAC-SHA512" Mac
    /// ML-DSA-44 (FIPS 204), pure and with an empty context. Signatures are 2,420 bytes; only whole messages can be
    /// signed.
    MlDsa44 "ML-DSA-44" SignVerify
    /// ML-DSA-65 (FIPS 204), pure and with an empty context. Signatures are 3,309 bytes; only whole messages can be
    /// signed.
    MlDsa65 "ML-DSA-65" SignVerify
    /// ML-DSA-87 (FIPS 204), pure and with an empty context. Signatures are 4,627 bytes; only whole messages can be
    /// signed.
    MlDsa87 "ML-DSA-87" SignVerify
    /// RSAES-OAEP (RFC 8017) with SHA-256 throughout. Encrypts at most 190 bytes.
    Rsa2048OaepSha256 "RSA-2048-OAEP-SHA256" EncryptDecrypt
    /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-256. Signatures are 256 bytes.
    Rsa2048Pkcs1Sha256 "RSA-2048-PKCS1-SHA256" SignVerify
    /// RSASSA-PSS (RFC 8017) with SHA-256 throughout and a salt of 32 bytes. Signatures are 256 bytes.
    Rsa2048PssSha256 "RSA-2048-PSS-SHA256" SignVerify
    /// RSAES-OAEP (RFC 8017) with SHA-256 throughout. Encrypts at most 318 bytes.
    Rsa3072OaepSha256 "RSA-3072-OAEP-SHA256" EncryptDecrypt
    /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-256. Signatures are 384 bytes.
    Rsa3072Pkcs1Sha256 "RSA-3072-PKCS1-SHA256" SignVerify
    /// RSASSA-PSS (RFC 8017) with SHA-256 throughout and a salt of 32 bytes. Signatures are 384 bytes.
    Rsa3072PssSha256 "RSA-3072-PSS-SHA256" SignVerify
    /// RSAES-OAEP (RFC 8017) with SHA-256 throughout. Encrypts at most 446 bytes.
    Rsa4096OaepSha256 "RSA-4096-OAEP-SHA256" EncryptDecrypt
    /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-256. Signatures are 512 bytes.
    Rsa4096Pkcs1Sha256 "RSA-4096-PKCS1-SHA256" SignVerify
    /// RSASSA-PSS (RFC 8017) with SHA-256 throughout and a salt of 32 bytes. Signatures are 512 bytes.
    Rsa4096PssSha256 "RSA-4096-PSS-SHA256" SignVerify
}

impl Algorithm {
    /// Bits of the modulus; `None` where there is none.
    pub fn modulus_bits(self) -> Option<u16> {
        self.as_str().strip_prefix("RSA-")?.split('-').next()?.parse().ok()
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
        let mut all = Self::ALL.iter().copied();
        all.find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownAlgorithm)
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown algorithm; they read like AES-256-GCM, ECDSA-P256, HMAC-SHA256, RSA-3072-PSS-SHA256")]
pub struct UnknownAlgorithm;

/// The pair of operations an algorithm serves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    EncryptDecrypt,
    /// Makes and verifies message authentication codes.
    Mac,
    SignVerify,
}

/// How the bytes to be signed are given.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageType {
    /// The digest of the message by the algorithm's own hash, of 32, 48 or 64 bytes; for ECDSA and RSA.
    Digest,
    /// The message itself.
    #[default]
    Raw,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_one_name_everywhere() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().to_lowercase().parse(), Ok(*algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.as_str());
            // The variant spells the name, so that no two rows of the table are swapped.
            let spelled = format!("{algorithm:?}").to_lowercase();
            assert_eq!(algorithm.as_str().replace('-', "").to_lowercase(), spelled);
        }
    }
}
