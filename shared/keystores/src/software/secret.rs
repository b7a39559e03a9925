//! The secret half of a key version in memory: generated, parsed, signed with; and verification, which needs only the
//! public half. Knows nothing of wrapping.

use super::{aead, broken};
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::ambient::Entropy;
use aegis_core::keystore::KeyStoreError;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, VerificationAlgorithm,
};
use zeroize::Zeroizing;

/// No `Debug`, on purpose.
pub(super) enum SecretKey {
    Aes(Zeroizing<Vec<u8>>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Fresh key bytes: raw for AES, otherwise PKCS#8.
pub(super) fn generate(algorithm: Algorithm, entropy: &Entropy) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let pkcs8 = match algorithm {
        Algorithm::Aes256Gcm => {
            let mut bytes = Zeroizing::new(vec![0; aead::KEY]);
            entropy.fill(&mut bytes);
            return Ok(bytes);
        }
        Algorithm::EcdsaP256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?.to_pkcs8v1()?,
        Algorithm::Ed25519 => Ed25519KeyPair::generate()?.to_pkcs8v1()?,
    };
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

impl SecretKey {
    /// The key behind bytes that [`generate`] made, or `None`.
    pub(super) fn parse(algorithm: Algorithm, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        match algorithm {
            Algorithm::Aes256Gcm => (bytes.len() == aead::KEY).then_some(Self::Aes(bytes)),
            Algorithm::EcdsaP256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes).ok().map(Self::Ecdsa)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(&bytes).ok().map(Self::Ed25519),
        }
    }

    /// DER `SubjectPublicKeyInfo` of an asymmetric key.
    pub(super) fn public_key(&self) -> Result<Option<Vec<u8>>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Aes(_) => return Ok(None),
            Self::Ecdsa(pair) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
        };
        Ok(Some(der.as_ref().to_vec()))
    }

    pub(super) fn aes_bytes(&self) -> Result<&[u8], KeyStoreError> {
        match self {
            Self::Aes(bytes) => Ok(bytes),
            Self::Ecdsa(_) | Self::Ed25519(_) => Err(KeyStoreError::Invalid { what: "this key does not encrypt" }),
        }
    }

    pub(super) fn sign(&self, kind: MessageType, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        let signature = match (self, kind) {
            (Self::Aes(_), _) => return Err(NOT_A_SIGNING_KEY),
            (Self::Ecdsa(pair), MessageType::Digest) => pair.sign_digest(&sha256_digest(message)?),
            (Self::Ecdsa(pair), MessageType::Raw) => pair.sign(&SystemRandom::new(), message),
            (Self::Ed25519(_), MessageType::Digest) => return Err(NO_DIGESTS),
            (Self::Ed25519(pair), MessageType::Raw) => pair.try_sign(message),
        };
        Ok(signature.map_err(broken)?.as_ref().to_vec())
    }
}

/// Whether `signature` is over `message`; a malformed one is not. `public_key` is DER `SubjectPublicKeyInfo`.
pub(super) fn verify(
    algorithm: Algorithm,
    public_key: &[u8],
    kind: MessageType,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, KeyStoreError> {
    let parse = |algorithm: &'static dyn VerificationAlgorithm| {
        ParsedPublicKey::new(algorithm, public_key).map_err(|_| KeyStoreError::Damaged)
    };
    let verified = match (algorithm, kind) {
        (Algorithm::Aes256Gcm, _) => return Err(NOT_A_SIGNING_KEY),
        (Algorithm::EcdsaP256, MessageType::Digest) => {
            parse(&ECDSA_P256_SHA256_ASN1)?.verify_digest_sig(&sha256_digest(message)?, signature)
        }
        (Algorithm::EcdsaP256, MessageType::Raw) => parse(&ECDSA_P256_SHA256_ASN1)?.verify_sig(message, signature),
        (Algorithm::Ed25519, MessageType::Digest) => return Err(NO_DIGESTS),
        (Algorithm::Ed25519, MessageType::Raw) => parse(&ED25519)?.verify_sig(message, signature),
    };
    Ok(verified.is_ok())
}

fn sha256_digest(bytes: &[u8]) -> Result<Digest, KeyStoreError> {
    Digest::import_less_safe(bytes, &SHA256)
        .map_err(|_| KeyStoreError::Invalid { what: "a SHA-256 digest has 32 bytes" })
}

const NOT_A_SIGNING_KEY: KeyStoreError = KeyStoreError::Invalid { what: "this key does not sign" };
const NO_DIGESTS: KeyStoreError = KeyStoreError::Invalid { what: "Ed25519 signs whole messages, not digests" };
