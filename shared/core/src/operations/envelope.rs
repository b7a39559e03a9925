//! Envelopes: more than a key store takes, encrypted under a data key of its own that lies beside it, wrapped. Whoever seals
//! generates a data key and whoever opens unwraps one: what each may do is decided as that is, and each could do the rest by
//! herself.
//!
//! ```text
//! envelope = %x41.45.47.53 %x01     ; "AEGS", the format
//!            length wrapped-key     ; length: 2 bytes, the higher first
//!            nonce ciphertext tag   ; AES-256-GCM under the data key: 12 bytes, as long as the plaintext, 16 bytes
//! ```
//!
//! All that stands before the nonce is the additional authenticated data. The context is bound to the wrapped key, and so to
//! the whole.

use super::context::{ContextText, distinct};
use super::key_use::{DataKeyRequest, UnwrapRequest, generate_data_key, unwrap};
use crate::ambient::Entropy;
use crate::encoding::Bytes64;
use crate::error::Error;
use crate::id::KeyId;
use crate::keystore::Context;
use crate::pipeline::{App, Done, Permit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most that is sealed, in bytes: in base64 it leaves room for the rest of a body of 1 MiB.
pub const MAX_SEALED: usize = 512 * 1024;
const MAGIC: [u8; 5] = *b"AEGS\x01";
/// Of the data key, in bytes.
const DATA_KEY: usize = 32;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealRequest {
    /// At most 512 KiB.
    pub plaintext: Bytes64,
    /// Authenticated, not encrypted; needed again to open. At most 16 pairs, each name and value at most 256 characters.
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct SealReply {
    pub key_id: KeyId,
    pub key_version: u32,
    /// The envelope.
    pub sealed: Bytes64,
}

/// Seals under a data key of its own, wrapped with the key's present version.
///
/// # Errors
/// As [`generate_data_key`]'s; [`Error::Invalid`] for too much.
pub async fn seal(app: &App, permit: &Permit, input: &SealRequest) -> Result<Done<SealReply>, Error> {
    if input.plaintext.0.len() > MAX_SEALED {
        return Err(Error::invalid("plaintext", format!("at most {MAX_SEALED} bytes are sealed")));
    }
    let asked = DataKeyRequest { length: Some(DATA_KEY), context: input.context.clone(), without_plaintext: false };
    let made = generate_data_key(app, permit, &asked).await?;
    let data_key = made.value.plaintext.as_ref().map(|bytes| bytes.0.as_slice()).unwrap_or_default();
    let sealed = pack(&app.entropy, data_key, &made.value.wrapped_key.0, &input.plaintext.0)?;
    Ok(made.map(|made| SealReply { key_id: made.key_id, key_version: made.key_version, sealed: sealed.into() }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// The envelope.
    pub sealed: Bytes64,
    /// As it was given to seal.
    #[serde(default, deserialize_with = "distinct")]
    #[schemars(with = "ContextText")]
    pub context: Context,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct OpenReply {
    pub key_id: KeyId,
    pub key_version: u32,
    pub plaintext: Bytes64,
}

/// Opens with the version that sealed.
///
/// # Errors
/// As [`unwrap`]'s; [`Error::NotAuthentic`] for what is no envelope of this key and context.
pub async fn open(app: &App, permit: &Permit, input: &OpenRequest) -> Result<Done<OpenReply>, Error> {
    let envelope = Envelope::read(&input.sealed.0).ok_or(Error::NotAuthentic)?;
    let asked = UnwrapRequest { wrapped_key: envelope.wrapped_key.to_vec().into(), context: input.context.clone() };
    let unwrapped = unwrap(app, permit, &asked).await?;
    let plaintext = envelope.open(&unwrapped.value.key_material.0)?;
    Ok(unwrapped.map(|key| OpenReply { key_id: key.key_id, key_version: key.key_version, plaintext }))
}

fn pack(entropy: &Entropy, data_key: &[u8], wrapped_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let refused = |why: &'static str| Error::Damaged { what: "envelope", source: why.into() };
    let length = u16::try_from(wrapped_key.len()).map_err(|_| refused("the wrapped key is too long"))?;
    let mut envelope = [MAGIC.as_slice(), &length.to_be_bytes(), wrapped_key].concat();
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut sealed = plaintext.to_vec();
    let (aad, once) = (Aad::from(envelope.as_slice()), Nonce::assume_unique_for_key(nonce));
    let cipher = cipher(data_key).ok_or_else(|| refused("no data key"))?;
    cipher.seal_in_place_append_tag(once, aad, &mut sealed).map_err(|_| refused("not sealed"))?;
    envelope.extend(nonce);
    envelope.append(&mut sealed);
    Ok(envelope)
}

/// The parts of one.
struct Envelope<'a> {
    /// All that stands before the nonce.
    head: &'a [u8],
    wrapped_key: &'a [u8],
    nonce: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(envelope: &'a [u8]) -> Option<Self> {
        let rest = envelope.strip_prefix(&MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (wrapped_key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let head = envelope.get(..envelope.len().checked_sub(rest.len())?)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        Some(Self { head, wrapped_key, nonce, sealed })
    }

    fn open(&self, data_key: &[u8]) -> Result<Bytes64, Error> {
        let nonce = Nonce::try_assume_unique_for_key(self.nonce).map_err(|_| Error::NotAuthentic)?;
        // A data key of another length was made for something else.
        let cipher = cipher(data_key).ok_or(Error::NotAuthentic)?;
        // Wiped on drop, also where it does not open.
        let mut opened = Bytes64(self.sealed.to_vec());
        let length = cipher.open_in_place(nonce, Aad::from(self.head), &mut opened.0);
        let length = length.map_err(|_| Error::NotAuthentic)?.len();
        opened.0.truncate(length);
        Ok(opened)
    }
}

fn cipher(data_key: &[u8]) -> Option<LessSafeKey> {
    (data_key.len() == DATA_KEY).then(|| UnboundKey::new(&AES_256_GCM, data_key).ok().map(LessSafeKey::new))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; DATA_KEY] = [7; DATA_KEY];

    fn opened(envelope: &[u8], key: &[u8]) -> Option<Vec<u8>> {
        Envelope::read(envelope)?.open(key).ok().map(|bytes| bytes.0.clone())
    }

    #[test]
    fn what_was_sealed_opens_whole_and_unaltered_or_not_at_all() {
        for plaintext in [&b""[..], b"x", &[9; 70_000]] {
            let sealed = pack(&Entropy::system(), &KEY, b"wrapped", plaintext).unwrap();
            assert_eq!(sealed.len(), MAGIC.len() + 2 + 7 + NONCE_LEN + plaintext.len() + 16);
            assert_eq!(Envelope::read(&sealed).unwrap().wrapped_key, b"wrapped");
            assert_eq!(opened(&sealed, &KEY).as_deref(), Some(plaintext));
            for at in (0..40.min(sealed.len())).chain([sealed.len() - 1]) {
                let mut altered = sealed.clone();
                altered[at] ^= 1;
                assert_eq!(opened(&altered, &KEY), None, "{at}");
                assert_eq!(opened(&sealed[..at], &KEY), None, "{at}");
            }
            assert_eq!(opened(&[sealed.as_slice(), b"x"].concat(), &KEY), None);
            assert_eq!(opened(&sealed, &[8; DATA_KEY]), None);
            assert_eq!(opened(&sealed, &KEY[..16]), None);
        }
    }

    #[test]
    fn two_envelopes_of_the_same_differ() {
        let sealed = || pack(&Entropy::system(), &KEY, b"wrapped", b"the same").unwrap();
        assert_ne!(sealed(), sealed());
    }
}
