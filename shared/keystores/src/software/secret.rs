//! The secret half of a key version in memory: generated, parsed, signed with; and verification, which needs only the
//! public half. Knows nothing of wrapping.

use super::broken;
use super::scheme::Scheme;
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::ambient::Entropy;
use aegis_core::keystore::KeyStoreError;
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, PqdsaKeyPair, RsaKeyPair, RsaSignatureEncoding,
};
use zeroize::Zeroizing;

/// No `Debug`, on purpose.
pub(crate) enum SecretKey {
    Aes(Zeroizing<Vec<u8>>),
    Ecdsa(EcdsaKeyPair, &'static digest::Algorithm),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
    MlDsa(PqdsaKeyPair),
    Oaep(OaepKey),
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
}

pub(crate) struct OaepKey {
    pub(super) private: OaepPrivateDecryptingKey,
    pub(super) public: OaepPublicEncryptingKey,
    spki: Vec<u8>,
}

/// Fresh key bytes: raw for AES and HMAC, otherwise PKCS#8.
pub(crate) fn generate(algorithm: Algorithm, entropy: &Entropy) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let raw = |length| {
        let mut bytes = Zeroizing::new(vec![0; length]);
        entropy.fill(&mut bytes);
        Ok(bytes)
    };
    let pkcs8 = match Scheme::of(algorithm) {
        Scheme::Aes(length) => return raw(length),
        Scheme::Hmac(algorithm) => return raw(algorithm.tag_len()),
        Scheme::Ecdsa(signing, ..) => EcdsaKeyPair::generate(signing)?.to_pkcs8v1()?,
        Scheme::Ed25519 => Ed25519KeyPair::generate()?.to_pkcs8v1()?,
        Scheme::MlDsa(signing, _) => PqdsaKeyPair::generate(signing)?.to_pkcs8v1()?,
        Scheme::Oaep(size) | Scheme::Rsa(size, _) => {
            let pkcs8: Pkcs8V1Der<'_> = RsaKeyPair::generate(size)?.as_der()?;
            return Ok(Zeroizing::new(pkcs8.as_ref().to_vec()));
        }
    };
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

impl SecretKey {
    /// The key behind bytes as [`generate`] makes them, whoever made these, or `None`.
    pub(crate) fn parse(algorithm: Algorithm, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        match Scheme::of(algorithm) {
            Scheme::Aes(length) => (bytes.len() == length).then_some(Self::Aes(bytes)),
            Scheme::Ecdsa(signing, _, hash) => {
                EcdsaKeyPair::from_pkcs8(signing, &bytes).ok().map(|pair| Self::Ecdsa(pair, hash))
            }
            Scheme::Ed25519 => Ed25519KeyPair::from_pkcs8(&bytes).ok().map(Self::Ed25519),
            Scheme::Hmac(algorithm) => {
                (bytes.len() == algorithm.tag_len()).then(|| Self::Hmac(Box::new(hmac::Key::new(algorithm, &bytes))))
            }
            Scheme::MlDsa(signing, _) => PqdsaKeyPair::from_pkcs8(signing, &bytes).ok().map(Self::MlDsa),
            Scheme::Oaep(size) => {
                let private = PrivateDecryptingKey::from_pkcs8(&bytes).ok()?;
                (private.key_size_bytes() == size.len()).then(|| OaepKey::new(private).ok().map(Self::Oaep))?
            }
            Scheme::Rsa(size, (encoding, _)) => {
                let pair = RsaKeyPair::from_pkcs8(&bytes).ok()?;
                (pair.public_modulus_len() == size.len()).then_some(Self::Rsa(pair, encoding))
            }
        }
    }

    /// DER `SubjectPublicKeyInfo` of an asymmetric key.
    pub(crate) fn public_key(&self) -> Result<Option<Vec<u8>>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Aes(_) | Self::Hmac(_) => return Ok(None),
            Self::Ecdsa(pair, _) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
            Self::MlDsa(pair) => pair.public_key().as_der()?,
            Self::Oaep(key) => return Ok(Some(key.spki.clone())),
            Self::Rsa(pair, _) => pair.public_key().as_der()?,
        };
        Ok(Some(der.as_ref().to_vec()))
    }

    pub(crate) fn sign(&self, kind: MessageType, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        let random = SystemRandom::new();
        match (self, kind) {
            (Self::Ecdsa(pair, hash), MessageType::Digest) => {
                Ok(pair.sign_digest(&import(hash, message)?).map_err(broken)?.as_ref().to_vec())
            }
            (Self::Ecdsa(pair, _), MessageType::Raw) => {
                Ok(pair.sign(&random, message).map_err(broken)?.as_ref().to_vec())
            }
            (Self::Ed25519(_) | Self::MlDsa(_), MessageType::Digest) => Err(NO_DIGESTS),
            (Self::Ed25519(pair), MessageType::Raw) => Ok(pair.try_sign(message).map_err(broken)?.as_ref().to_vec()),
            (Self::MlDsa(pair), MessageType::Raw) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(message, &mut signature).map_err(broken)?;
                signature.truncate(length);
                Ok(signature)
            }
            (Self::Rsa(pair, encoding), kind) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = match kind {
                    MessageType::Digest => {
                        pair.sign_digest(*encoding, &import(&digest::SHA256, message)?, &mut signature)
                    }
                    MessageType::Raw => pair.sign(*encoding, &random, message, &mut signature),
                };
                signed.map_err(broken)?;
                Ok(signature)
            }
            (Self::Aes(_) | Self::Hmac(_) | Self::Oaep(_), _) => Err(NOT_A_SIGNING_KEY),
        }
    }

    pub(super) fn hmac(&self) -> Result<&hmac::Key, KeyStoreError> {
        match self {
            Self::Hmac(key) => Ok(key),
            _ => Err(KeyStoreError::Invalid { what: "this key makes no message authentication codes" }),
        }
    }
}

impl OaepKey {
    /// The length of the modulus, and of every ciphertext, in bytes.
    pub(crate) fn modulus(&self) -> usize {
        self.private.key_size_bytes()
    }

    fn new(private: PrivateDecryptingKey) -> Result<Self, Unspecified> {
        let public = private.public_key();
        let spki: PublicKeyX509Der<'_> = public.as_der()?;
        let spki = spki.as_ref().to_vec();
        let (private, public) = (OaepPrivateDecryptingKey::new(private)?, OaepPublicEncryptingKey::new(public)?);
        Ok(Self { private, public, spki })
    }
}

/// Whether `signature` is over `message`; a malformed one is not. `public_key` is DER `SubjectPublicKeyInfo`.
pub(crate) fn verify(
    algorithm: Algorithm,
    public_key: &[u8],
    kind: MessageType,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, KeyStoreError> {
    let (verifying, hash) = Scheme::of(algorithm).verification().ok_or(NOT_A_SIGNING_KEY)?;
    let digest = match kind {
        MessageType::Digest => Some(import(hash.ok_or(NO_DIGESTS)?, message)?),
        MessageType::Raw => None,
    };
    let public_key = ParsedPublicKey::new(verifying, public_key).map_err(|_| KeyStoreError::Damaged)?;
    let verified = match digest {
        Some(digest) => public_key.verify_digest_sig(&digest, signature),
        None => public_key.verify_sig(message, signature),
    };
    Ok(verified.is_ok())
}

fn import(hash: &'static digest::Algorithm, bytes: &[u8]) -> Result<Digest, KeyStoreError> {
    Digest::import_less_safe(bytes, hash)
        .map_err(|_| KeyStoreError::Invalid { what: "the digest is not as long as those of the key's hash" })
}

const NOT_A_SIGNING_KEY: KeyStoreError = KeyStoreError::Invalid { what: "this key does not sign" };
const NO_DIGESTS: KeyStoreError = KeyStoreError::Invalid { what: "this key signs whole messages, not digests" };
