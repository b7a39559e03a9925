//! The short code of an approval: shown on the agent's side, typed by who approves, so that nobody approves another
//! request than the one before her. It follows from the approval's id and a secret, so it is stored nowhere.

use crate::deployment::DigestKey;
use crate::id::ApprovalId;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Eight characters, forty bits. Wiped on drop; no `Display`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code([u8; LENGTH]);

impl Code {
    pub fn of(key: &DigestKey, approval: &ApprovalId) -> Self {
        let derived = key.derive(&[b"approval-code", approval.as_str().as_bytes()]);
        let mut code = [0; LENGTH];
        for (character, byte) in code.iter_mut().zip(derived.iter()) {
            *character = ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or_default();
        }
        Self(code)
    }

    /// Whether somebody typed this code: in any case, with or without the dash, O for 0 and I or L for 1. Takes as long
    /// wherever the two differ.
    pub fn matches(&self, typed: &str) -> bool {
        let read = typed.bytes().filter(|byte| !matches!(byte, b'-' | b' '));
        let read = read.map(|byte| match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            byte => byte,
        });
        let read = zeroize::Zeroizing::new(read.take(LENGTH + 1).collect::<Vec<u8>>());
        self.0.as_slice().ct_eq(&read).into()
    }

    /// As it is shown, in two groups: to the agent that asks and to nobody else.
    pub fn expose(&self) -> String {
        let (first, second) = self.0.split_at(LENGTH / 2);
        format!("{}-{}", String::from_utf8_lossy(first), String::from_utf8_lossy(second))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(..)")
    }
}

const LENGTH: usize = 8;
/// Crockford's base 32: without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::{Entropy, Timestamp};

    #[test]
    fn a_code_is_one_approval_s_and_shows_itself_only_where_it_is_exposed() {
        let key = DigestKey::new([9; 32]);
        let id = || ApprovalId::new(Timestamp::UNIX_EPOCH, &Entropy::system());
        let (one, other) = (id(), id());
        let code = Code::of(&key, &one);
        assert_eq!(code.expose(), Code::of(&key, &one).expose());
        assert_ne!(code.expose(), Code::of(&key, &other).expose());
        assert_ne!(code.expose(), Code::of(&DigestKey::new([8; 32]), &one).expose());
        assert_eq!(format!("{code:?}"), "Code(..)");
        let shown = code.expose();
        assert!(shown.len() == 9 && shown.as_bytes()[4] == b'-', "{shown}");
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code(*b"0A1BCDEF");
        for typed in ["0A1B-CDEF", "0a1bcdef", "oalb cdef", "OAIB-CDEF"] {
            assert!(code.matches(typed), "{typed}");
        }
        for typed in ["", "0A1B-CDEG", "0A1B-CDE", "0A1B-CDEFF", "0A1B-CDEF0A1B-CDEF"] {
            assert!(!code.matches(typed), "{typed}");
        }
    }
}
