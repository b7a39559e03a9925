//! AES-GCM (NIST SP 800-38D) with a 12-byte nonce and a 16-byte tag, and the encoding of what is authenticated with it.
//! The length of the key says which AES. That no nonce meets a key twice is the caller's duty.

use aegis_core::keystore::Context;
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

/// The ciphertext, then the tag.
pub(super) fn seal(key: &[u8], nonce: [u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let key = cipher(key)?;
    // Room for the tag from the start: a vector that grows leaves a copy of the plaintext behind.
    let mut in_out = Vec::with_capacity(plaintext.len().saturating_add(TAG));
    in_out.extend_from_slice(plaintext);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut in_out)?;
    Ok(in_out)
}

/// The plaintext behind ciphertext and tag, or `None` if anything differs from what was sealed.
pub(super) fn open(key: &[u8], nonce: [u8; NONCE], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = cipher(key).ok()?;
    let mut in_out = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::from(aad), &mut in_out).ok()?.len();
    in_out.truncate(length);
    Some(in_out)
}

fn cipher(key: &[u8]) -> Result<LessSafeKey, Unspecified> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return Err(Unspecified),
    };
    Ok(LessSafeKey::new(UnboundKey::new(algorithm, key)?))
}

/// Appends a caller's context: the number of pairs as a `u64`, and for each pair, in the order of the UTF-8 bytes of
/// the names, the name and the value as fields.
pub(super) fn put_context(aad: &mut Vec<u8>, context: &Context) {
    put_count(aad, context.len());
    for (name, value) in context {
        put_field(aad, name.as_bytes());
        put_field(aad, value.as_bytes());
    }
}

/// Appends a field of authenticated data: its length as a `u64`, big-endian, then its bytes.
pub(super) fn put_field(aad: &mut Vec<u8>, field: &[u8]) {
    put_count(aad, field.len());
    aad.extend_from_slice(field);
}

/// Appends a `u64`, big-endian.
fn put_count(aad: &mut Vec<u8>, count: usize) {
    // No platform counts past 64 bits, so the fallback, which would be ambiguous, is never taken.
    aad.extend_from_slice(&u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes());
}

/// Lengths in bytes; `KEY` is that of AES-256.
pub(super) const KEY: usize = 32;
pub(super) const NONCE: usize = 12;
const TAG: usize = 16;
