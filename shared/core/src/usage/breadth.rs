//! How broad a scope is beside what was used of it, and the narrower scope that would have sufficed. A right is one
//! action on one key; a label stands for the keys that bear it now.

use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Key, KeyRecord};
use crate::name::{KeyRef, Label};
use crate::operations::listing::MAX_LIMIT;
use crate::repository::{self, ALL_KEYS};
use crate::scope::{Action, Entry, EntryType, MAX_SELECTORS, Scope, Selector};
use crate::store::{Index, Order, Store};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most keys read to count what labels stand for.
const MAX_KEYS: usize = 2_000;

/// The keys of a deployment, as scopes name them.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    keys: HashMap<KeyId, Key>,
    by_label: HashMap<Label, Vec<KeyId>>,
    /// Whether these are all.
    pub(crate) complete: bool,
}

impl Keyring {
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn read(store: &dyn Store) -> Result<Self, Error> {
        let mut ring = Self::default();
        let mut after = None;
        while ring.keys.len() < MAX_KEYS {
            let all = ALL_KEYS.to_string();
            let page =
                repository::list::<KeyRecord>(store, Index::First, all, Order::Ascending, MAX_LIMIT, after).await?;
            page.items.into_iter().for_each(|record| ring.add(record.key));
            after = page.next;
            if after.is_none() {
                ring.complete = true;
                break;
            }
        }
        Ok(ring)
    }

    fn add(&mut self, key: Key) {
        for label in &key.labels {
            self.by_label.entry(label.clone()).or_default().push(key.id.clone());
        }
        self.keys.insert(key.id.clone(), key);
    }

    /// Every right that `scope` gives on keys that are not destroyed.
    pub(crate) fn rights(&self, scope: &Scope<KeyId>) -> Rights {
        let mut rights = Rights::default();
        for entry in &scope.0 {
            for selector in &entry.keys {
                let keys = match selector {
                    Selector::Key(id) => std::slice::from_ref(id),
                    Selector::Label(label) => self.by_label.get(label).map(Vec::as_slice).unwrap_or_default(),
                };
                let live = |id: &&KeyId| self.keys.get(*id).is_none_or(|key| !key.state.is_destroyed());
                for key in keys.iter().filter(live) {
                    rights.0.entry(key.clone()).or_default().extend(&entry.actions);
                }
            }
        }
        rights
    }

    /// The scope that gives these rights and no others, in the scope grammar; `None` if there is none of permitted size.
    pub(crate) fn scope(&self, rights: &Rights) -> Option<String> {
        let mut alike: BTreeMap<&BTreeSet<Action>, BTreeSet<Selector<KeyRef>>> = BTreeMap::new();
        for (key, actions) in &rights.0 {
            alike.entry(actions).or_default().insert(Selector::Key(self.name(key)));
        }
        let alike: Vec<(&BTreeSet<Action>, Vec<Selector<KeyRef>>)> =
            alike.into_iter().map(|(actions, keys)| (actions, keys.into_iter().collect())).collect();
        let entries = alike.iter().flat_map(|(actions, keys)| {
            keys.chunks(MAX_SELECTORS).map(|keys| Entry {
                r#type: EntryType::KeyUse,
                keys: keys.to_vec(),
                actions: BTreeSet::clone(actions),
            })
        });
        let scope = Scope(entries.collect());
        scope.check().ok().map(|()| scope.to_string())
    }

    /// A scope as people read it.
    pub(crate) fn named(&self, scope: &Scope<KeyId>) -> String {
        let selector = |selector: &Selector<KeyId>| match selector {
            Selector::Key(id) => Selector::Key(self.name(id)),
            Selector::Label(label) => Selector::Label(label.clone()),
        };
        let entry = |entry: &Entry<KeyId>| Entry {
            r#type: entry.r#type,
            keys: entry.keys.iter().map(selector).collect(),
            actions: entry.actions.clone(),
        };
        Scope(scope.0.iter().map(entry).collect()).to_string()
    }

    fn name(&self, id: &KeyId) -> KeyRef {
        let name = self.keys.get(id).and_then(|key| key.aliases.first());
        name.map_or_else(|| KeyRef::Id(id.clone()), |name| KeyRef::Name(name.clone()))
    }
}

/// Actions on keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rights(BTreeMap<KeyId, BTreeSet<Action>>);

impl Rights {
    /// What of these was used.
    pub(crate) fn intersection(&self, used: &BTreeMap<KeyId, BTreeSet<Action>>) -> Self {
        let both = self.0.iter().filter_map(|(key, actions)| {
            let both: BTreeSet<Action> = used.get(key)?.intersection(actions).copied().collect();
            (!both.is_empty()).then(|| (key.clone(), both))
        });
        Self(both.collect())
    }

    pub(crate) fn breadth(&self, more: bool) -> Breadth {
        let actions: BTreeSet<Action> = self.0.values().flatten().copied().collect();
        Breadth { keys: self.0.len(), actions: actions.len(), rights: self.0.values().map(BTreeSet::len).sum(), more }
    }
}

/// How broad a scope is.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub struct Breadth {
    pub keys: usize,
    /// Different ones, on any key.
    pub actions: usize,
    /// Actions on keys: the sum over the keys.
    pub rights: usize,
    /// Whether there are more, beyond what is counted.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyState;
    use crate::key::tests::a_key;

    fn keyring(keys: &[(&str, &str)]) -> Keyring {
        let mut ring = Keyring { complete: true, ..Keyring::default() };
        for (name, label) in keys {
            let labels = [label.parse().unwrap()].into();
            ring.add(Key { labels, ..a_key(name) });
        }
        ring
    }

    fn scope(ring: &Keyring, text: &str) -> Scope<KeyId> {
        let id = |name: &KeyRef| ring.keys.values().find(|key| ring.name(&key.id) == *name).map(|key| key.id.clone());
        text.parse::<Scope<KeyRef>>().unwrap().resolved(id).unwrap()
    }

    #[test]
    fn the_narrower_scope_holds_what_was_used_and_still_is_granted() {
        let mut ring = keyring(&[("one", "team=a"), ("two", "team=a"), ("three", "team=b"), ("gone", "team=a")]);
        let gone = ring.keys.values_mut().find(|key| key.display_name() == "gone");
        gone.unwrap().state = KeyState::Destroyed;
        let table = [
            ("key:one:sign,verify", "key:one:sign", (1, 2, 2), (1, 1, 1), Some("key:one:sign")),
            ("key:team=a:sign,verify", "key:one:sign", (2, 2, 4), (1, 1, 1), Some("key:one:sign")),
            ("key:team=a,three:sign", "key:one,two,three:sign", (3, 1, 3), (3, 1, 3), None),
            ("key:one:sign", "key:two:sign key:one:verify", (1, 1, 1), (0, 0, 0), None),
            (
                "key:one,two,three:sign,verify,mac",
                "key:one,two:sign key:three:sign,verify",
                (3, 3, 9),
                (3, 2, 4),
                Some("key:one,two:sign key:three:sign,verify"),
            ),
        ];
        for (granted, used, wide, narrow, sufficient) in table {
            let (all, used) = (ring.rights(&scope(&ring, granted)), ring.rights(&scope(&ring, used)));
            let both = all.intersection(&used.0);
            let numbers = |breadth: Breadth| (breadth.keys, breadth.actions, breadth.rights);
            assert_eq!((numbers(all.breadth(false)), numbers(both.breadth(false))), (wide, narrow), "{granted}");
            let narrower = (both != all).then(|| ring.scope(&both)).flatten();
            assert_eq!(narrower.as_deref(), sufficient, "{granted}");
        }
    }
}
