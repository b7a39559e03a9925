//! Scope: which keys an agent may use, and how. One grammar in the CLI, in tokens and in the docs:
//!
//! ```text
//! scope    = entry *( SP entry )
//! entry    = "key:" selector *( "," selector ) ":" action *( "," action )
//! selector = key id / key name / label name "=" label value
//! action   = "sign" / "verify" / "mac" / "verify-mac" / "encrypt" / "decrypt" / "re-encrypt"
//!          / "wrap" / "unwrap" / "generate-data-key" / "rotate"
//! ```
//!
//! An entry also lets its holder read the metadata and the public half of the keys it names. In tokens and JSON an
//! entry is an `authorization_details` object (RFC 9396) of type `aegis_key_use`.

use crate::id::KeyId;
use crate::key::Key;
use crate::name::{KeyName, KeyRef, Label};
use crate::operation::Operation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Most entries in a scope (DESIGN §5).
pub const MAX_ENTRIES: usize = 32;
/// Most selectors in an entry: keeps a scope of full size within a 6 KiB token.
pub const MAX_SELECTORS: usize = 32;

/// A scope whose keys are `R`: [`KeyRef`] as asked for, [`KeyId`] as granted, so that moving an alias widens nothing.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Scope<R>(pub Vec<Entry<R>>);

#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<R> {
    pub r#type: EntryType,
    /// Key ids, key names or labels (`team=billing`); 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub keys: Vec<Selector<R>>,
    #[schemars(length(min = 1))]
    pub actions: BTreeSet<Action>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EntryType {
    #[default]
    #[serde(rename = "aegis_key_use")]
    KeyUse,
}

#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Selector<R> {
    Key(R),
    Label(Label),
}

/// What an agent can be granted to do with a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Decrypt,
    Encrypt,
    GenerateDataKey,
    Mac,
    ReEncrypt,
    Rotate,
    Sign,
    Unwrap,
    Verify,
    VerifyMac,
    Wrap,
}

impl Action {
    pub const ALL: [Self; 11] = [
        Self::Decrypt,
        Self::Encrypt,
        Self::GenerateDataKey,
        Self::Mac,
        Self::ReEncrypt,
        Self::Rotate,
        Self::Sign,
        Self::Unwrap,
        Self::Verify,
        Self::VerifyMac,
        Self::Wrap,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Encrypt => "encrypt",
            Self::GenerateDataKey => "generate-data-key",
            Self::Mac => "mac",
            Self::ReEncrypt => "re-encrypt",
            Self::Rotate => "rotate",
            Self::Sign => "sign",
            Self::Unwrap => "unwrap",
            Self::Verify => "verify",
            Self::VerifyMac => "verify-mac",
            Self::Wrap => "wrap",
        }
    }

    /// The operation that it lets its holder do.
    pub fn operation(self) -> Operation {
        match self {
            Self::Decrypt => Operation::KeyDecrypt,
            Self::Encrypt => Operation::KeyEncrypt,
            Self::GenerateDataKey => Operation::KeyGenerateDataKey,
            Self::Mac => Operation::KeyMac,
            Self::ReEncrypt => Operation::KeyReEncrypt,
            Self::Rotate => Operation::KeyRotate,
            Self::Sign => Operation::KeySign,
            Self::Unwrap => Operation::KeyUnwrap,
            Self::Verify => Operation::KeyVerify,
            Self::VerifyMac => Operation::KeyVerifyMac,
            Self::Wrap => Operation::KeyWrap,
        }
    }
}

impl Scope<KeyId> {
    /// Whether `action` on `key` is in the scope. `None` asks for reading the key's metadata and public half.
    pub fn permits(&self, key: &Key, action: Option<Action>) -> bool {
        self.0.iter().any(|entry| entry.names(key) && action.is_none_or(|action| entry.actions.contains(&action)))
    }

    /// Whether the scope names the key of this id, for `action` or for reading. Labels do not count.
    pub fn names(&self, key: &KeyId, action: Option<Action>) -> bool {
        self.0.iter().any(|entry| {
            let named = entry.keys.iter().any(|selector| matches!(selector, Selector::Key(id) if id == key));
            named && action.is_none_or(|action| entry.actions.contains(&action))
        })
    }

    /// Whether the scope selects keys by this label, for `action` or for reading.
    pub fn selects(&self, label: &Label, action: Option<Action>) -> bool {
        self.0.iter().any(|entry| {
            let named = entry.keys.iter().any(|selector| matches!(selector, Selector::Label(own) if own == label));
            named && action.is_none_or(|action| entry.actions.contains(&action))
        })
    }

    /// Whether every right in `narrower` is also in `self`. `key_of` finds the keys `narrower` names; a key it does not
    /// find is not covered, and a label is covered only by the same label.
    pub fn covers<'k>(&self, narrower: &Self, key_of: impl Fn(&KeyId) -> Option<&'k Key>) -> bool {
        narrower.0.iter().all(|entry| {
            entry.keys.iter().all(|selector| {
                entry.actions.iter().all(|action| match selector {
                    Selector::Key(id) => key_of(id).is_some_and(|key| self.permits(key, Some(*action))),
                    Selector::Label(_) => {
                        self.0.iter().any(|own| own.keys.contains(selector) && own.actions.contains(action))
                    }
                })
            })
        })
    }

    /// This scope and `more`; an entry that is there already is not there twice.
    pub fn with(mut self, more: Self) -> Self {
        for entry in more.0 {
            if !self.0.contains(&entry) {
                self.0.push(entry);
            }
        }
        self
    }

    /// How many selectors the scope has: a label counts once, however many keys bear it.
    pub fn breadth(&self) -> usize {
        self.0.iter().map(|entry| entry.keys.len()).sum()
    }
}

impl Scope<KeyRef> {
    /// The keys it names, as they were named.
    pub fn keys(&self) -> impl Iterator<Item = &KeyRef> {
        let selectors = self.0.iter().flat_map(|entry| &entry.keys);
        selectors.filter_map(|selector| match selector {
            Selector::Key(key) => Some(key),
            Selector::Label(_) => None,
        })
    }

    /// What it grants, however it is written: each action with each selector.
    pub fn rights(&self) -> BTreeSet<(&Selector<KeyRef>, Action)> {
        let mut rights = BTreeSet::new();
        for (entry, selector) in
            self.0.iter().flat_map(|entry| entry.keys.iter().map(move |selector| (entry, selector)))
        {
            rights.extend(entry.actions.iter().map(|action| (selector, *action)));
        }
        rights
    }

    /// The same scope by ids, or `None` if one of the keys has none.
    pub fn resolved(self, id_of: impl Fn(&KeyRef) -> Option<KeyId>) -> Option<Scope<KeyId>> {
        let selector = |selector| match selector {
            Selector::Key(key) => id_of(&key).map(Selector::Key),
            Selector::Label(label) => Some(Selector::Label(label)),
        };
        let entry = |entry: Entry<KeyRef>| {
            let keys = entry.keys.into_iter().map(selector).collect::<Option<_>>()?;
            Some(Entry { r#type: entry.r#type, keys, actions: entry.actions })
        };
        self.0.into_iter().map(entry).collect::<Option<_>>().map(Scope)
    }
}

impl<R> Scope<R> {
    /// Checks the bounds that the types cannot hold.
    ///
    /// # Errors
    /// A scope, an entry's keys or its actions are empty or too many.
    pub fn check(&self) -> Result<(), InvalidScope> {
        let entry_ok = |entry: &Entry<R>| (1..=MAX_SELECTORS).contains(&entry.keys.len()) && !entry.actions.is_empty();
        match (1..=MAX_ENTRIES).contains(&self.0.len()) && self.0.iter().all(entry_ok) {
            true => Ok(()),
            false => Err(InvalidScope::Size),
        }
    }
}

impl Entry<KeyId> {
    fn names(&self, key: &Key) -> bool {
        self.keys.iter().any(|selector| match selector {
            Selector::Key(id) => *id == key.id,
            Selector::Label(label) => key.labels.contains(label),
        })
    }
}

impl std::str::FromStr for Scope<KeyRef> {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let scope = Self(text.split_ascii_whitespace().map(parse_entry).collect::<Result<_, _>>()?);
        scope.check()?;
        Ok(scope)
    }
}

/// Stands for a scope as text in JSON Schemas.
pub struct ScopeText;

impl JsonSchema for ScopeText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScopeText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let actions = Action::ALL.map(Action::as_str).join("|");
        let selector = "(key_[0-9a-f]{32}|[a-z][a-z0-9-]{2,63}|[a-z][a-z0-9-]{0,31}=[A-Za-z0-9._-]{1,63})";
        // How many selectors there may be is left out: repetitions that are counted within others are too much for some
        // validators.
        let entry = format!("key:{selector}(,{selector})*:({actions})(,({actions}))*");
        schemars::json_schema!({ "type": "string", "pattern": format!("^{entry}( +{entry}){{0,31}}$") })
    }
}

fn parse_entry(text: &str) -> Result<Entry<KeyRef>, InvalidScope> {
    let malformed = || InvalidScope::Entry { text: text.chars().take(80).collect() };
    let (selectors, actions) =
        text.strip_prefix("key:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(malformed)?;
    let selector = |text: &str| match text.contains('=') {
        true => Label::try_from(text.to_string()).map(Selector::Label).map_err(|_| malformed()),
        false => KeyRef::try_from(text.to_string()).map(Selector::Key).map_err(|_| malformed()),
    };
    let action = |text: &str| Action::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(malformed);
    Ok(Entry {
        r#type: EntryType::KeyUse,
        keys: selectors.split(',').map(selector).collect::<Result<_, _>>()?,
        actions: actions.split(',').map(action).collect::<Result<_, _>>()?,
    })
}

impl<R: fmt::Display> fmt::Display for Scope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            let gap = if i > 0 { " " } else { "" };
            let keys: Vec<String> = entry.keys.iter().map(ToString::to_string).collect();
            let actions: Vec<&str> = entry.actions.iter().map(|action| action.as_str()).collect();
            write!(f, "{gap}key:{}:{}", keys.join(","), actions.join(","))?;
        }
        Ok(())
    }
}

impl<R: fmt::Display> fmt::Display for Selector<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Label(label) => label.fmt(f),
        }
    }
}

impl From<KeyName> for Selector<KeyRef> {
    fn from(name: KeyName) -> Self {
        Self::Key(KeyRef::Name(name))
    }
}

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidScope {
    #[error("`{text}` is no scope entry; one reads key:NAME:ACTION,ACTION, for example key:invoice-2026:sign,verify")]
    Entry { text: String },
    #[error("a scope has 1 to 32 entries, each with 1 to 32 keys and at least one action")]
    Size,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::a_key;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        let good = [
            "key:invoice-2026:sign",
            "key:invoice-2026:sign,verify key:team=billing:decrypt",
            "key:key_0123456789abcdef0123456789abcdef,other-key:encrypt",
            "key:invoice-2026:mac,verify-mac",
        ];
        for text in good {
            assert_eq!(text.parse::<Scope<KeyRef>>().unwrap().to_string(), text);
        }
        let bad = [
            "",
            "invoice-2026:sign",
            "key:invoice-2026",
            "key::sign",
            "key:invoice-2026:",
            "key:invoice-2026:destroy",
            "key:Invoice:sign",
            "key:a,b:sign",
            "key:=x:sign",
            "key:*:sign",
            "key:invoice-2026:sign,",
            "key:a-b:c:sign",
        ];
        for text in bad {
            assert!(text.parse::<Scope<KeyRef>>().is_err(), "{text}");
        }
        let many = vec!["key:invoice-2026:sign"; 33].join(" ");
        assert_eq!(many.parse::<Scope<KeyRef>>(), Err(InvalidScope::Size));
    }

    #[test]
    fn a_scope_permits_its_actions_on_its_keys_and_reading_them() {
        let (own, other) = (a_key("invoice-2026"), a_key("treasury-master"));
        let mut labelled = a_key("third-key");
        labelled.labels.insert(Label::try_from("team=billing".to_string()).unwrap());
        let scope = granted(&own, "key:{}:sign key:team=billing:decrypt");
        let table = [
            (&own, Some(Action::Sign), true),
            (&own, Some(Action::Decrypt), false),
            (&own, None, true),
            (&other, Some(Action::Sign), false),
            (&other, None, false),
            (&labelled, Some(Action::Decrypt), true),
            (&labelled, Some(Action::Sign), false),
        ];
        for (key, action, want) in table {
            assert_eq!(scope.permits(key, action), want, "{:?} {action:?}", key.aliases);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_covered_scope_permits_the_covering_one_permits(
            wide in any_scope(), narrow in any_scope(), key in 0..4_usize, action in 0..Action::ALL.len()
        ) {
            let keys: Vec<Key> = pool();
            let find = |id: &KeyId| keys.iter().find(|key| key.id == *id);
            prop_assert!(wide.covers(&wide, find));
            if wide.covers(&narrow, find) && narrow.permits(&keys[key], Some(Action::ALL[action])) {
                prop_assert!(wide.permits(&keys[key], Some(Action::ALL[action])));
            }
        }
    }

    fn granted(key: &Key, text: &str) -> Scope<KeyId> {
        serde_json::from_value(
            serde_json::to_value(text.replace("{}", key.id.as_str()).parse::<Scope<KeyRef>>().unwrap()).unwrap(),
        )
        .unwrap()
    }

    fn pool() -> Vec<Key> {
        (0..4)
            .map(|i| {
                let mut key = a_key("pool-key");
                key.id = KeyId::try_from(format!("key_{i:032x}")).unwrap();
                key.labels = if i % 2 == 0 { [a_label()].into() } else { BTreeSet::new() };
                key
            })
            .collect()
    }

    fn a_label() -> Label {
        Label::try_from("even=yes".to_string()).unwrap()
    }

    fn any_scope() -> impl Strategy<Value = Scope<KeyId>> {
        let selector = prop_oneof![
            (0..4_usize).prop_map(|i| Selector::Key(pool()[i].id.clone())),
            Just(Selector::Label(a_label())),
        ];
        let actions = proptest::collection::btree_set((0..Action::ALL.len()).prop_map(|i| Action::ALL[i]), 1..4);
        let entry = (proptest::collection::vec(selector, 1..3), actions).prop_map(|(keys, actions)| Entry {
            r#type: EntryType::KeyUse,
            keys,
            actions,
        });
        proptest::collection::vec(entry, 1..3).prop_map(Scope)
    }
}
