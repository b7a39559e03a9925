//! Unwraps key bytes that a caller wrapped for a wrapping key of RSA-3072: an AES-256 key by RSAES-OAEP with SHA-256
//! throughout and no label, 384 bytes, then the key bytes by AES-KWP (RFC 5649) under it. PKCS#11 calls that
//! `CKM_RSA_AES_KEY_WRAP`.

use super::oaep;
use super::secret::SecretKey;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use zeroize::Zeroizing;

/// The key bytes, or `None`: whoever tries is not told which of the two layers did not open.
pub(super) fn unwrap(wrapping: &SecretKey, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let SecretKey::Oaep(wrapping) = wrapping else { return None };
    let (outer, inner) = wrapped.split_at_checked(wrapping.modulus())?;
    let key = oaep::open(wrapping, None, outer)?;
    let mut bytes = Zeroizing::new(vec![0; inner.len()]);
    let length = AesKek::new(&AES_256, &key).ok()?.unwrap_with_padding(inner, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
