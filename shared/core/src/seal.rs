//! Sealing: AES-256-GCM under a key that is derived from the deployment's root for one purpose, with a nonce of its own.
//! For the little that Aegis must be able to read again, such as the secret of a webhook. Keys of customers are not
//! sealed here: that is the business of the key store.

use crate::ambient::Entropy;
use crate::encoding::base64_bytes;
use crate::error::Error;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Seals and opens for one purpose.
pub struct SealingKey(Option<LessSafeKey>);

/// What was sealed: the nonce, the ciphertext, the tag.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Sealed(#[serde(with = "base64_bytes")] Vec<u8>);

impl SealingKey {
    pub(crate) fn derive(root: &[u8; 32], purpose: &'static str) -> Self {
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(root);
        let info = [purpose.as_bytes()];
        Self(extracted.expand(&info, &AES_256_GCM).ok().map(|okm| LessSafeKey::new(UnboundKey::from(okm))))
    }

    /// Opens under the same `of` only: what belongs to one thing is never taken for another's.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the library refuses, which it does for no input of this size.
    pub fn seal(&self, of: &str, plaintext: &[u8], entropy: &Entropy) -> Result<Sealed, Error> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let tag = self.key()?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(of.as_bytes()),
            &mut sealed,
        );
        let tag = tag.map_err(|error| damaged(error.into()))?;
        Ok(Sealed([&nonce, sealed.as_slice(), tag.as_ref()].concat()))
    }

    /// # Errors
    /// [`Error::Damaged`] for what was not sealed by this key for `of`.
    pub fn open(&self, of: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (nonce, rest) = sealed.0.split_at_checked(NONCE_LEN).ok_or_else(|| damaged("too short".into()))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|error| damaged(error.into()))?;
        let mut opened = Zeroizing::new(rest.to_vec());
        let length = self.key()?.open_in_place(nonce, Aad::from(of.as_bytes()), &mut opened);
        let length = length.map_err(|error| damaged(error.into()))?.len();
        opened.truncate(length);
        Ok(opened)
    }

    fn key(&self) -> Result<&LessSafeKey, Error> {
        self.0.as_ref().ok_or_else(|| damaged("no key could be derived".into()))
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

fn damaged(source: crate::error::Cause) -> Error {
    Error::Damaged { what: "sealed data", source }
}

/// Parts these keys from any other use of the root.
const SALT: &[u8] = b"aegis/sealing";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::DigestKey;

    #[test]
    fn what_is_sealed_opens_for_its_own_purpose_and_thing_alone() {
        let root = DigestKey::new([7; 32]);
        let sealed = root.sealing_key("one").seal("thing", b"secret", &Entropy::system()).unwrap();
        assert_eq!(*root.sealing_key("one").open("thing", &sealed).unwrap(), b"secret");
        root.sealing_key("two").open("thing", &sealed).unwrap_err();
        root.sealing_key("one").open("other", &sealed).unwrap_err();
        DigestKey::new([8; 32]).sealing_key("one").open("thing", &sealed).unwrap_err();
        for at in 0..sealed.0.len() {
            let mut altered = sealed.clone();
            altered.0[at] ^= 1;
            root.sealing_key("one").open("thing", &altered).unwrap_err();
            root.sealing_key("one").open("thing", &Sealed(sealed.0[..at].to_vec())).unwrap_err();
        }
        let again = root.sealing_key("one").seal("thing", b"secret", &Entropy::system()).unwrap();
        assert_ne!(again.0, sealed.0, "each has a nonce of its own");
    }
}
