//! Names people give: keys, labels, humans. Text becomes one of these at the edge or is refused there.

use crate::id::KeyId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String")]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                match valid(&text) {
                    true => Ok(Self(text)),
                    false => Err(InvalidName { rule: $rule }),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_string())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(/// A name that stands for a key until it is moved to another: an alias.
KeyName, "^[a-z][a-z0-9-]{2,63}$", "a key name has 3 to 64 of a-z, 0-9 and -, and begins with a letter",
|text| {
    let allowed = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (3..=64).contains(&text.len()) && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(allowed)
});

name!(/// A label on a key, `name=value`: what a scope can select keys by.
Label, "^[a-z][a-z0-9-]{0,31}=[A-Za-z0-9._-]{1,63}$",
"a label reads name=value: 1 to 32 of a-z, 0-9 and -, then 1 to 63 of A-Z, a-z, 0-9, '.', '_' and -",
|text| {
    let name_ok = |name: &str| {
        (1..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let value_ok = |value: &str| {
        (1..=63).contains(&value.len())
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    text.split_once('=').is_some_and(|(name, value)| name_ok(name) && value_ok(value))
});

name!(/// A human, by the subject the identity provider gives: an e-mail address or another stable name.
HumanId, "^[A-Za-z0-9._@+:|-]{1,128}$", "a human's name has 1 to 128 of A-Z, a-z, 0-9 and . _ @ + : | -",
|text| {
    // Neither an agent's id nor Aegis itself: records name those in the same places.
    let of_another = text.starts_with("agt_") || text == "aegis";
    !of_another && (1..=128).contains(&text.len())
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'+' | b':' | b'|' | b'-')
        })
});

name!(/// What an agent is called by its human. Not unique.
AgentLabel, "^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$",
"an agent's label has 1 to 64 of A-Z, a-z, 0-9, space and . _ -, and begins with a letter or digit",
|text| {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b' ' | b'-'))
});

name!(/// What the operator calls a back end in the server's settings.
BackendName, "^[a-z][a-z0-9-]{0,31}$", "a back end's name has 1 to 32 of a-z, 0-9 and -, and begins with a letter",
|text| {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
});

name!(/// What a back end calls one of its objects. What it may look like beyond this, the back end decides.
ObjectName, "^[!-~]{1,256}$", "an object's name has 1 to 256 visible ASCII characters",
|text| (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{rule}")]
pub struct InvalidName {
    rule: &'static str,
}

/// A key as callers name it. Ids have an underscore and names have none, so the two never meet.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(key_[0-9a-f]{32}|[a-z][a-z0-9-]{2,63})$"))]
pub enum KeyRef {
    Id(KeyId),
    Name(KeyName),
}

impl TryFrom<String> for KeyRef {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        match KeyId::try_from(text.clone()) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => KeyName::try_from(text).map(Self::Name),
        }
    }
}

impl std::str::FromStr for KeyRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::try_from(text.to_string())
    }
}

impl From<KeyRef> for String {
    fn from(key: KeyRef) -> String {
        key.to_string()
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_rules() {
        let long = "a".repeat(65);
        let table: [(&str, bool); 8] = [
            ("invoice-2026", true),
            ("abc", true),
            ("ab", false),
            ("1abc", false),
            ("Abc", false),
            ("a_b", false),
            ("-abc", false),
            (&long, false),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<KeyName>().is_ok(), want, "{text}");
        }
        for (text, want) in [
            ("alice@org", true),
            ("auth0|7f", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("agt_1", false),
            ("aegis", false),
        ] {
            assert_eq!(text.parse::<HumanId>().is_ok(), want, "{text}");
        }
        for (text, want) in [("team=billing", true), ("team", false), ("=x", false), ("t=", false), ("T=x", false)] {
            assert_eq!(text.parse::<Label>().is_ok(), want, "{text}");
        }
    }

    #[test]
    fn an_id_is_never_read_as_a_name() {
        let id = "key_0123456789abcdef0123456789abcdef";
        assert!(matches!(id.parse::<KeyRef>().unwrap(), KeyRef::Id(_)));
        assert!(id.parse::<KeyName>().is_err());
    }
}
