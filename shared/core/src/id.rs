//! Identifiers. Each is a prefix, an underscore and 32 hex digits: 48 bits of Unix milliseconds, then 80 random bits,
//! so that ids sort by age (to the millisecond) and cannot be guessed. Names have no underscore, so an id is never
//! mistaken for a name.

use crate::ambient::{Entropy, Timestamp};
use crate::encoding::push_hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String")]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// A fresh id; `at` gives its first 48 bits.
            pub fn new(at: Timestamp, entropy: &Entropy) -> Self {
                Self(time_ordered(concat!($prefix, "_"), at, entropy))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                match text.strip_prefix(concat!($prefix, "_")).is_some_and(is_tail) {
                    true => Ok(Self(text)),
                    false => Err(InvalidId { prefix: $prefix }),
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/// Names a key for ever: it survives renaming and is what grants and records hold.
    KeyId, "key", "^key_[0-9a-f]{32}$");
id!(/// Names an agent, sub-agents included.
    AgentId, "agt", "^agt_[0-9a-f]{32}$");
id!(/// Names a credential: an agent's token or a human's session. It is the token's `jti`.
    CredentialId, "crd", "^crd_[0-9a-f]{32}$");
id!(/// Names an agent's request for a wider grant.
    AccessRequestId, "acr", "^acr_[0-9a-f]{32}$");
id!(/// Names an approval: one request that waits for humans.
    ApprovalId, "apr", "^apr_[0-9a-f]{32}$");
id!(/// Names an audit record. It is also the id of the permit that led to it.
    RecordId, "rec", "^rec_[0-9a-f]{32}$");
id!(/// Names an `AgentRecommendation`.
    RecommendationId, "rcm", "^rcm_[0-9a-f]{32}$");
id!(/// Names one event on its way to one webhook. A receiver that sees it twice has seen the event before.
    DeliveryId, "dlv", "^dlv_[0-9a-f]{32}$");
id!(/// Names a webhook for ever, also once it is deleted.
    WebhookId, "whk", "^whk_[0-9a-f]{32}$");
id!(/// Names one HTTP request. Made by the server, never taken from the caller.
    RequestId, "req", "^req_[0-9a-f]{32}$");

impl KeyId {
    /// The id that no key has.
    pub fn none() -> Self {
        Self(format!("key_{:032x}", 0))
    }
}

impl RecommendationId {
    /// The same for the same words: what says the same thing twice is one recommendation.
    pub fn derived(at: Timestamp, words: &str) -> Self {
        Self(derived("rcm", at, words))
    }
}

impl RecordId {
    /// The smallest id a record of `at` can have: the lower end of a time range.
    pub fn floor(at: Timestamp) -> Self {
        Self(format!("rec_{:012x}{:020x}", unix_millis(at), 0))
    }

    /// One that is no record's, and the same for the same words: a token for what nobody asked for.
    pub fn derived(at: Timestamp, words: &str) -> Self {
        Self(derived("rec", at, words))
    }

    /// The smallest id above this one.
    pub fn next(&self) -> Self {
        let number = self.0.get(4..).and_then(|hex| u128::from_str_radix(hex, 16).ok()).unwrap_or(0);
        Self(format!("rec_{:032x}", number.saturating_add(1)))
    }

    /// The millisecond in which the record was begun.
    pub fn at(&self) -> Timestamp {
        let millis = self.0.get(4..16).and_then(|hex| i64::from_str_radix(hex, 16).ok());
        millis.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl DeliveryId {
    /// The same for the same words: an event that is put on its way again has the id it had.
    pub fn derived(at: Timestamp, words: &str) -> Self {
        Self(derived("dlv", at, words))
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 32 hex digits")]
pub struct InvalidId {
    prefix: &'static str,
}

fn derived(prefix: &str, at: Timestamp, words: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, words.as_bytes());
    let tail: String = crate::encoding::hex(digest.as_ref()).chars().take(20).collect();
    format!("{prefix}_{:012x}{tail}", unix_millis(at))
}

fn time_ordered(prefix: &str, at: Timestamp, entropy: &Entropy) -> String {
    let [_, _, time @ ..] = unix_millis(at).to_be_bytes();
    let mut random = [0_u8; 10];
    entropy.fill(&mut random);
    let mut text = String::with_capacity(prefix.len().saturating_add(32));
    text.push_str(prefix);
    push_hex(&mut text, &time);
    push_hex(&mut text, &random);
    text
}

fn unix_millis(at: Timestamp) -> u64 {
    // Times before 1970 have no ids; 48 bits last until the year 10889.
    u64::try_from(at.as_millisecond()).unwrap_or(0) & 0xffff_ffff_ffff
}

fn is_tail(tail: &str) -> bool {
    tail.len() == 32 && tail.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_back_and_nothing_else_does() {
        let at = Timestamp::from_millisecond(1_790_000_000_123).unwrap();
        let id = KeyId::new(at, &Entropy::system());
        assert_eq!(KeyId::try_from(id.to_string()).unwrap(), id);
        for bad in ["", "key_", "key_ABCDEF", "agt_00000000000000000000000000000000", "invoice-2026"] {
            assert!(KeyId::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_its_time_and_then_what_was_random() {
        let at = Timestamp::from_millisecond(0x01a0_c5e6_087b).unwrap();
        let entropy = Entropy::new(|bytes| bytes.copy_from_slice(&[0, 1, 0x2f, 0xf0, 4, 5, 6, 7, 8, 0xff]));
        assert_eq!(KeyId::new(at, &entropy).as_str(), "key_01a0c5e6087b00012ff00405060708ff");
    }

    #[test]
    fn record_ids_sort_by_time_and_tell_it() {
        let earlier = Timestamp::from_millisecond(1_790_000_000_123).unwrap();
        let later = Timestamp::from_millisecond(1_790_000_000_124).unwrap();
        let (a, b) = (RecordId::new(earlier, &Entropy::system()), RecordId::new(later, &Entropy::system()));
        assert!(RecordId::floor(earlier) <= a && a < RecordId::floor(later) && RecordId::floor(later) <= b);
        assert_eq!((a.at(), b.at()), (earlier, later));
        assert!(a < a.next() && a.next() < b && a.next().at() == earlier);
        let last = RecordId::try_from(format!("rec_{:012x}{}", unix_millis(earlier), "f".repeat(20))).unwrap();
        assert_eq!(last.next(), RecordId::floor(later));
    }
}
