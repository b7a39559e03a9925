//! The token-signing key in KMS: ECDSA P-256, of which nobody has the private half.

use aegis_core::error::{Cause, Error};
use aegis_core::token::{TokenSigner, jwk_of_point};
use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use jsonwebtoken::jwk::Jwk;

/// Signs by KMS.
#[derive(Clone, Debug)]
pub struct KmsTokenSigner {
    client: Client,
    key_id: String,
}

impl KmsTokenSigner {
    pub fn new(client: Client, key_id: String) -> Self {
        Self { client, key_id }
    }

    /// The public half, named by its thumbprint.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Damaged`] if it is no P-256 key.
    pub async fn public_key(&self) -> Result<Jwk, Error> {
        let found = self.client.get_public_key().key_id(&self.key_id).send().await;
        let found = found.map_err(|error| unavailable(error.into()))?.public_key;
        let der = found.map(Blob::into_inner).unwrap_or_default();
        let point = der.strip_prefix(P256_SPKI.as_slice());
        jwk_of_point(point.ok_or_else(|| damaged("it is no P-256 key".into()))?)
    }
}

#[async_trait]
impl TokenSigner for KmsTokenSigner {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
        let signing = self.client.sign().key_id(&self.key_id).message(Blob::new(digest.as_ref()));
        let signing = signing.message_type(MessageType::Digest).signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let signed = signing.send().await.map_err(|error| unavailable(error.into()))?.signature;
        let der = signed.map(Blob::into_inner).unwrap_or_default();
        fixed(&der).ok_or_else(|| damaged("KMS returned no ECDSA P-256 signature".into()))
    }
}

/// `SubjectPublicKeyInfo` of a P-256 key, up to its uncompressed point (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// `r` and `s`, of 32 bytes each, from the DER that KMS speaks (RFC 3279 §2.2.3).
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    let (tag, rest) = der.split_first()?;
    let (length, numbers) = rest.split_first()?;
    if *tag != 0x30 || usize::from(*length) != numbers.len() {
        return None;
    }
    let (r, rest) = integer(numbers)?;
    let (s, rest) = integer(rest)?;
    rest.is_empty().then(|| [r, s].concat())
}

/// A positive integer of at most 32 bytes, padded to them, and what follows it.
fn integer(der: &[u8]) -> Option<([u8; 32], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
    let magnitude = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut padded = [0; 32];
    let place = padded.len().checked_sub(magnitude.len())?;
    padded.get_mut(place..)?.copy_from_slice(magnitude);
    (*tag == 0x02 && !bytes.is_empty()).then_some((padded, rest))
}

fn unavailable(source: Cause) -> Error {
    crate::unavailable("the KMS")(source)
}

fn damaged(source: Cause) -> Error {
    Error::Damaged { what: "token-signing key", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    };

    /// Often enough that both numbers begin with zeros, with a high bit and with neither.
    #[test]
    fn what_is_signed_in_der_verifies_in_fixed_length() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        for n in 0..2_000_u32 {
            let message = n.to_be_bytes();
            let der = pair.sign(&random, &message).unwrap();
            public.verify(&message, &fixed(der.as_ref()).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let one = [0x02, 0x01, 0x01];
        let table: [(&str, Vec<u8>); 7] = [
            ("nothing", vec![]),
            ("a set", [&[0x31, 6][..], &one, &one].concat()),
            ("one number", [&[0x30, 3][..], &one].concat()),
            ("three numbers", [&[0x30, 9][..], &one, &one, &one].concat()),
            ("a length beyond its end", [&[0x30, 7][..], &one, &one].concat()),
            ("an empty number", [&[0x30, 5][..], &one, &[0x02, 0]].concat()),
            ("a number of 33 bytes", [&[0x30, 38][..], &one, &[0x02, 33], &[1; 33]].concat()),
        ];
        for (what, der) in table {
            assert_eq!(fixed(&der), None, "{what}");
        }
        assert!(fixed(&[&[0x30, 6][..], &one, &one].concat()).is_some());
    }
}
