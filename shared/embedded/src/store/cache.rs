//! Items of the state table as they are in the file, kept in memory: those read or written lately. This process is the only
//! one that writes (it holds the folder's lock), and all its writes pass [`Cache::begin`] and [`Cache::end`].
//!
//! A read is served from here only if every item it names is here, so that one read never mixes two moments. Items about
//! to be written leave before the commit and come back, as written, after it and before the writer is answered; while a
//! write is on its way nothing is taken in from a read, which may have seen either side of it.

use aegis_core::store::{Item, ItemKey, Items, Put, Stored, Table, to_millisecond};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Cache(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` of what is not in the file.
    items: LruCache<ItemKey, Option<Arc<Stored>>>,
    /// How often writes began or ended; odd while one is on its way.
    turns: u64,
}

/// What a read that did not find everything here shows when it brings what it found in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl Cache {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner { items: LruCache::new(MOST_ITEMS), turns: 0 }))
    }

    /// Those of the items named that there are, if all are known here.
    pub(super) fn find(&self, keys: &[ItemKey]) -> Result<Items, Ticket> {
        let mut inner = self.lock();
        let known: Option<Vec<Option<Arc<Stored>>>> = keys.iter().map(|key| inner.items.get(key).cloned()).collect();
        known.map(|known| Items(known.into_iter().flatten().collect())).ok_or(Ticket(inner.turns))
    }

    /// Keeps what a read of `keys` found in the file, and what it did not, unless a write began or ended since `ticket` was
    /// drawn.
    pub(super) fn keep(&self, ticket: Ticket, keys: &[ItemKey], found: &Items) {
        let mut inner = self.lock();
        if inner.turns == ticket.0 && inner.turns.is_multiple_of(2) {
            for key in keys.iter().filter(|key| key.table == Table::State) {
                let stored = found.find(key).cloned();
                if stored.as_ref().is_none_or(|stored| is_kept(&stored.item)) {
                    inner.items.put(key.clone(), stored);
                }
            }
        }
    }

    /// Before a commit that may change these items.
    pub(super) fn begin<'a>(&self, keys: impl IntoIterator<Item = &'a ItemKey>) {
        let mut inner = self.lock();
        inner.turns = inner.turns.wrapping_add(1);
        for key in keys {
            inner.items.pop(key);
        }
    }

    /// After the commit, whatever became of it: `written` is what is certainly in the file now.
    pub(super) fn end(&self, written: impl IntoIterator<Item = Put>) {
        let mut inner = self.lock();
        for Put { item, expect } in written {
            if is_kept(&item) {
                let stored = Stored::new(as_read(item), expect.next());
                inner.items.put(stored.item.key.clone(), Some(Arc::new(stored)));
            }
        }
        inner.turns = inner.turns.wrapping_add(1);
    }

    /// Where it is not known which items a commit will change. [`Cache::end`] follows.
    pub(super) fn begin_unknown(&self) {
        let mut inner = self.lock();
        inner.turns = inner.turns.wrapping_add(1);
        inner.items.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the file gives it back: expiries to the millisecond, indexes in their order.
fn as_read(mut item: Item) -> Item {
    item.expires_at = item.expires_at.map(to_millisecond);
    item.indexes.sort_by_key(|entry| entry.index);
    item
}

fn is_kept(item: &Item) -> bool {
    item.key.table == Table::State && item.body.len() <= LARGEST
}

/// An agent that signs needs nine items, most of them below 1 KiB; with [`LARGEST`] at most 256 MiB of bodies, if all were
/// as large as what is known of the behaviour of the busiest.
const MOST_ITEMS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// In bytes.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::store::{Expect, Revision};

    #[test]
    fn what_a_read_brings_while_a_write_is_on_its_way_or_after_it_is_not_kept() {
        let cache = Cache::new();
        let [key] = keys(["a"]);
        let old = || Items(vec![Arc::new(stored("a", "old", 1))]);
        let before = cache.find(std::slice::from_ref(&key)).unwrap_err();
        cache.begin([&key]);
        let during = cache.find(std::slice::from_ref(&key)).unwrap_err();
        cache.keep(before, std::slice::from_ref(&key), &old());
        cache.keep(during, std::slice::from_ref(&key), &old());
        cache.find(std::slice::from_ref(&key)).unwrap_err();
        cache.end([]);
        cache.keep(before, std::slice::from_ref(&key), &old());
        cache.keep(during, std::slice::from_ref(&key), &old());
        let after = cache.find(std::slice::from_ref(&key)).unwrap_err();
        cache.keep(after, std::slice::from_ref(&key), &old());
        assert_eq!(cache.find(&[key]).unwrap().0.len(), 1);
    }

    #[test]
    fn a_written_item_leaves_before_the_commit_and_comes_back_as_written() {
        let cache = Cache::new();
        let [key, other] = keys(["a", "b"]);
        let both = Items(vec![Arc::new(stored("a", "old", 1)), Arc::new(stored("b", "old", 1))]);
        let named = [key.clone(), other.clone()];
        cache.keep(cache.find(&named).unwrap_err(), &named, &both);
        cache.begin([&key]);
        cache.find(std::slice::from_ref(&key)).unwrap_err();
        cache.find(&[key.clone(), other.clone()]).unwrap_err();
        cache.find(std::slice::from_ref(&other)).unwrap();
        let put = Put { item: stored("a", "new", 2).item, expect: Expect::Current(Revision(1)) };
        cache.end([put]);
        assert_eq!(*cache.find(&[key]).unwrap().0[0], stored("a", "new", 2));
    }

    #[test]
    fn what_is_not_there_is_known_not_to_be_until_it_is_written() {
        let cache = Cache::new();
        let named = keys(["a", "b"]);
        let only_b = Items(vec![Arc::new(stored("b", "old", 1))]);
        cache.keep(cache.find(&named).unwrap_err(), &named, &only_b);
        assert_eq!(cache.find(&named).unwrap().0.len(), 1);
        cache.begin([&named[0]]);
        cache.find(&named).unwrap_err();
        cache.end([Put { item: stored("a", "new", 1).item, expect: Expect::Absent }]);
        assert_eq!(cache.find(&named).unwrap().0.len(), 2);
    }

    #[test]
    fn records_and_large_items_are_not_kept_and_the_rest_is_bounded() {
        let cache = Cache::new();
        let record = Item { key: ItemKey::journal("p", "a"), ..stored("a", "{}", 1).item };
        let large = stored("large", &"x".repeat(LARGEST + 1), 1).item;
        let absent = |item| Put { item, expect: Expect::Absent };
        cache.begin([]);
        cache.end([absent(record.clone()), absent(large.clone())]);
        for key in [record.key, large.key] {
            cache.find(&[key]).unwrap_err();
        }
        for n in 0..=MOST_ITEMS.get() {
            cache.begin([]);
            cache.end([absent(stored(&n.to_string(), "{}", 1).item)]);
        }
        assert_eq!(cache.lock().items.len(), MOST_ITEMS.get());
    }

    fn keys<const N: usize>(sorts: [&str; N]) -> [ItemKey; N] {
        sorts.map(|sort| ItemKey::state("p", sort))
    }

    fn stored(sort: &str, body: &str, revision: u64) -> Stored {
        let key = ItemKey::state("p", sort);
        Stored::new(Item { key, body: body.into(), indexes: vec![], expires_at: None }, Revision(revision))
    }
}
