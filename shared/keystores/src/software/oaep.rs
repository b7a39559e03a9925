//! Encrypts and decrypts with RSA-OAEP (RFC 8017 §7.1): SHA-256 for the label and for MGF1.
//!
//! There is no room for a data key and a tag, so a plaintext is at most as long as the modulus less 66 bytes: 190, 318
//! or 446 bytes. A ciphertext is one of two things, told apart by length, which is k, that of the modulus, or k + 25:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 25 | the name of the key version, as in `header`, with format 2 |
//! | 25 | k | RSAES-OAEP ciphertext |
//!
//! or the RSAES-OAEP ciphertext alone, as whoever holds the exported public key makes it outside of Aegis. That one
//! names no version: it is taken to be of the present one, and has no context. Who wants it to outlive a rotation puts
//! the 25 bytes before it.
//!
//! The OAEP label is empty where the context is empty; otherwise it is the context, encoded as in `header`. The name
//! needs no authentication of its own: every version is another RSA key, so under another name nothing opens. Nothing
//! here proves who encrypted: the key that does it is public.

use super::aead::put_context;
use super::broken;
use super::header::Name;
use super::secret::OaepKey;
use aegis_core::keystore::{Context, KeyStoreError, VersionRef};
use aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
use zeroize::Zeroizing;

pub(super) fn encrypt(
    key: &OaepKey,
    version: VersionRef<'_>,
    context: &Context,
    plaintext: &[u8],
) -> Result<Vec<u8>, KeyStoreError> {
    let name = Name::of(version).ok_or(KeyStoreError::Invalid { what: "the key id is malformed" })?;
    let body = seal(key, label(context).as_deref(), plaintext)?;
    Ok([name.to_bytes(), body].concat())
}

/// `None` for whatever was not encrypted for the same key, version and context.
pub(super) fn decrypt(
    key: &OaepKey,
    version: VersionRef<'_>,
    context: &Context,
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (name, body) = split(key.modulus(), ciphertext)?;
    let named_right = match name {
        Some(name) => name == Name::of(version)?,
        None => context.is_empty(),
    };
    if !named_right {
        return None;
    }
    open(key, label(context).as_deref(), body)
}

/// The version a ciphertext names, if it is one of the key of `present`; the present one where it names none. `modulus`
/// is the length of the modulus in bytes.
pub(super) fn version_of(modulus: usize, present: VersionRef<'_>, ciphertext: &[u8]) -> Option<u32> {
    match split(modulus, ciphertext)?.0 {
        Some(name) => name.version_of(present),
        None => Some(present.version),
    }
}

/// RSAES-OAEP-ENCRYPT.
pub(crate) fn seal(key: &OaepKey, label: Option<&[u8]>, plaintext: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
    if plaintext.len() > key.public.max_plaintext_size(&OAEP_SHA256_MGF1SHA256) {
        return Err(KeyStoreError::Invalid {
            what: "RSA-OAEP takes at most 190, 318 or 446 bytes, as the key has 2048, 3072 or 4096 bits",
        });
    }
    let mut body = vec![0; key.public.ciphertext_size()];
    key.public.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut body, label).map_err(broken)?;
    Ok(body)
}

/// RSAES-OAEP-DECRYPT, or `None`.
pub(crate) fn open(key: &OaepKey, label: Option<&[u8]>, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plaintext = Zeroizing::new(vec![0; key.private.min_output_size()]);
    let length = key.private.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plaintext, label).ok()?.len();
    plaintext.truncate(length);
    Some(plaintext)
}

/// The name, where there is one, and the RSAES-OAEP ciphertext, of exactly the length of the modulus: AWS-LC would take
/// a shorter one for a number with leading zeros.
fn split(modulus: usize, ciphertext: &[u8]) -> Option<(Option<Name>, &[u8])> {
    if ciphertext.len() == modulus {
        return Some((None, ciphertext));
    }
    let (name, body) = Name::parse(ciphertext)?;
    (body.len() == modulus).then_some((Some(name), body))
}

fn label(context: &Context) -> Option<Vec<u8>> {
    let mut label = Vec::new();
    put_context(&mut label, context);
    (!context.is_empty()).then_some(label)
}
