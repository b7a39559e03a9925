//! Which KMS key serves which algorithm, and what KMS takes at once.

use aegis_core::algorithm::Algorithm;
use aegis_core::keystore::KeyStoreError;
use aws_lc_rs::digest;
use aws_sdk_kms::types::{EncryptionAlgorithmSpec, KeySpec, KeyUsageType, MacAlgorithmSpec, SigningAlgorithmSpec};

/// A kind of KMS key, and the one thing that it does under Aegis.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) key: KeySpec,
    pub(super) does: Does,
}

#[derive(Debug)]
pub(super) enum Does {
    Codes(MacAlgorithmSpec),
    Encrypts(Encrypts),
    Signs(SigningAlgorithmSpec, &'static digest::Algorithm),
}

#[derive(Debug)]
pub(super) struct Encrypts {
    pub(super) with: EncryptionAlgorithmSpec,
    /// Bytes of the longest plaintext.
    pub(super) most: usize,
    /// With a public half, and so without context.
    pub(super) asymmetric: bool,
}

impl Spec {
    /// # Errors
    /// [`KeyStoreError::Invalid`] for what KMS has no keys for, or none that are supported here.
    pub(super) fn of(algorithm: Algorithm) -> Result<Self, KeyStoreError> {
        use {Algorithm as A, KeySpec as K, SigningAlgorithmSpec as S};
        let signs = |key, with, hash| Ok(Self { key, does: Does::Signs(with, hash) });
        let codes = |key, with| Ok(Self { key, does: Does::Codes(with) });
        let encrypts =
            |key, with, most, asymmetric| Ok(Self { key, does: Does::Encrypts(Encrypts { with, most, asymmetric }) });
        // RFC 8017 §7.1.1: two hashes and two bytes less than the modulus.
        let oaep = |key, modulus: usize| {
            encrypts(key, EncryptionAlgorithmSpec::RsaesOaepSha256, modulus.saturating_sub(66), true)
        };
        match algorithm {
            A::Aes256Gcm => encrypts(K::SymmetricDefault, EncryptionAlgorithmSpec::SymmetricDefault, MOST, false),
            A::EcdsaP256 => signs(K::EccNistP256, S::EcdsaSha256, &digest::SHA256),
            A::EcdsaP384 => signs(K::EccNistP384, S::EcdsaSha384, &digest::SHA384),
            A::EcdsaP521 => signs(K::EccNistP521, S::EcdsaSha512, &digest::SHA512),
            A::EcdsaSecp256k1 => signs(K::EccSecgP256K1, S::EcdsaSha256, &digest::SHA256),
            A::HmacSha256 => codes(K::Hmac256, MacAlgorithmSpec::HmacSha256),
            A::HmacSha384 => codes(K::Hmac384, MacAlgorithmSpec::HmacSha384),
            A::HmacSha512 => codes(K::Hmac512, MacAlgorithmSpec::HmacSha512),
            A::Rsa2048OaepSha256 => oaep(K::Rsa2048, 256),
            A::Rsa3072OaepSha256 => oaep(K::Rsa3072, 384),
            A::Rsa4096OaepSha256 => oaep(K::Rsa4096, 512),
            A::Rsa2048Pkcs1Sha256 => signs(K::Rsa2048, S::RsassaPkcs1V15Sha256, &digest::SHA256),
            A::Rsa3072Pkcs1Sha256 => signs(K::Rsa3072, S::RsassaPkcs1V15Sha256, &digest::SHA256),
            A::Rsa4096Pkcs1Sha256 => signs(K::Rsa4096, S::RsassaPkcs1V15Sha256, &digest::SHA256),
            A::Rsa2048PssSha256 => signs(K::Rsa2048, S::RsassaPssSha256, &digest::SHA256),
            A::Rsa3072PssSha256 => signs(K::Rsa3072, S::RsassaPssSha256, &digest::SHA256),
            A::Rsa4096PssSha256 => signs(K::Rsa4096, S::RsassaPssSha256, &digest::SHA256),
            A::Aes128Gcm | A::Aes192Gcm => Err(KeyStoreError::Invalid { what: "KMS encrypts with AES-256 only" }),
            // KMS has them, but no emulator does, so nothing here could be tried.
            A::Ed25519 | A::MlDsa44 | A::MlDsa65 | A::MlDsa87 => {
                Err(KeyStoreError::Invalid { what: "Ed25519 and ML-DSA keys of KMS are not supported yet" })
            }
        }
    }

    pub(super) fn usage(&self) -> KeyUsageType {
        match self.does {
            Does::Codes(_) => KeyUsageType::GenerateVerifyMac,
            Does::Encrypts(_) => KeyUsageType::EncryptDecrypt,
            Does::Signs(..) => KeyUsageType::SignVerify,
        }
    }

    pub(super) fn has_public_half(&self) -> bool {
        match &self.does {
            Does::Codes(_) => false,
            Does::Encrypts(encrypts) => encrypts.asymmetric,
            Does::Signs(..) => true,
        }
    }
}

/// Bytes. The most that KMS takes of a message or a plaintext (AWS KMS API Reference, Encrypt, GenerateMac and Sign).
pub(super) const MOST: usize = 4_096;
/// Bytes. The most that KMS takes of a ciphertext, a signature or a code.
pub(super) const MOST_PROOF: usize = 6_144;
