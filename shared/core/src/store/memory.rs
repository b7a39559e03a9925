//! The storage port in memory, for tests. Nothing survives it, and a query on an index reads every item.

use super::{
    Add, Expect, Item, ItemKey, Items, Order, Page, Position, Put, Query, Store, StoreError, Stored, check_additions,
    check_keys, check_limits, check_query,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    items: BTreeMap<ItemKey, Arc<Stored>>,
    counters: HashMap<ItemKey, i64>,
    /// The items as queries on an index see them, while that is held.
    held: Option<BTreeMap<ItemKey, Arc<Stored>>>,
}

impl MemoryStore {
    /// While held, queries on an index see nothing written since; released, they see everything.
    pub fn hold_indexes(&self, hold: bool) {
        let mut tables = self.lock();
        tables.held = hold.then(|| tables.items.clone());
    }

    /// Makes it hold what `other` holds, so that many runs begin alike.
    pub fn reset_to(&self, other: &Self) {
        let tables = other.lock().clone();
        *self.lock() = tables;
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        check_keys(keys)?;
        let tables = self.lock();
        Ok(Items(keys.iter().filter_map(|key| tables.items.get(key).cloned()).collect()))
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        check_additions(additions)?;
        let mut tables = self.lock();
        let add = |add: &Add| {
            let value = tables.counters.entry(add.counter.clone()).or_default();
            *value = value.checked_add(add.by).ok_or(StoreError::Limit { what: "a counter holds 64 bits" })?;
            Ok(*value)
        };
        additions.iter().map(add).collect()
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        check_limits(&puts)?;
        let mut tables = self.lock();
        let current = |key: &ItemKey| tables.items.get(key).map_or(Expect::Absent, |s| Expect::Current(s.revision));
        if let Some(put) = puts.iter().find(|put| current(&put.item.key) != put.expect) {
            return Err(StoreError::Conflict { key: put.item.key.clone() });
        }
        for Put { item, expect } in puts {
            tables.items.insert(item.key.clone(), Arc::new(Stored::new(normal(item), expect.next())));
        }
        Ok(())
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        check_query(query)?;
        let tables = self.lock();
        let items = match query.index {
            Some(_) => tables.held.as_ref().unwrap_or(&tables.items),
            None => &tables.items,
        };
        let mut found: Vec<(Position, &Arc<Stored>)> =
            items.values().filter_map(|stored| Some((position(query, &stored.item)?, stored))).collect();
        found.sort_by(|(a, _), (b, _)| in_order(query.order, a, b));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = if more { found.last().map(|(position, _)| position.clone()) } else { None };
        Ok(Page { items: found.into_iter().map(|(_, stored)| Stored::clone(stored)).collect(), next })
    }
}

/// Where the query finds the item, if it does.
fn position(query: &Query, item: &Item) -> Option<Position> {
    let (partition, sort) = match query.index {
        None => (&item.key.partition, &item.key.sort),
        Some(index) => {
            let entry = item.indexes.iter().find(|entry| entry.index == index)?;
            (&entry.partition, &entry.sort)
        }
    };
    let position = Position { sort: sort.clone(), key: item.key.clone() };
    let wanted = item.key.table == query.table
        && *partition == query.partition
        && query.from.as_ref().is_none_or(|from| sort >= from)
        && query.below.as_ref().is_none_or(|below| sort < below)
        && query.after.as_ref().is_none_or(|after| in_order(query.order, after, &position).is_lt());
    wanted.then_some(position)
}

fn in_order(order: Order, a: &Position, b: &Position) -> std::cmp::Ordering {
    match order {
        Order::Ascending => a.cmp(b),
        Order::Descending => b.cmp(a),
    }
}

/// As the port promises to give it back.
fn normal(mut item: Item) -> Item {
    item.indexes.sort_by_key(|entry| entry.index);
    item.expires_at = item.expires_at.map(super::to_millisecond);
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::Subject;
    use crate::store::{Index, IndexEntry, Table};
    use std::sync::Arc;

    struct Prompt(Arc<MemoryStore>);

    impl Subject for Prompt {
        fn store(&self) -> Arc<dyn Store> {
            self.0.clone()
        }
    }

    crate::store_contract!(Prompt(Arc::default()));

    #[tokio::test]
    async fn held_indexes_show_the_past_and_the_main_key_the_present() {
        let store = MemoryStore::default();
        let [index, main] = [Some(Index::First), None].map(|index| {
            let (table, partition, order) = (Table::State, "p".into(), Order::Ascending);
            Query { table, index, partition, from: None, below: None, order, limit: 9, after: None }
        });
        let count = async |query: &Query| store.query(query).await.unwrap().items.len();
        for (hold, sort, want) in [(true, "a", (0, 1)), (true, "b", (1, 2)), (false, "c", (3, 3))] {
            store.hold_indexes(hold);
            let indexes = vec![IndexEntry { index: Index::First, partition: "p".into(), sort: sort.into() }];
            let item = Item { key: ItemKey::state("p", sort), body: String::new(), indexes, expires_at: None };
            store.put_if(item, Expect::Absent).await.unwrap();
            assert_eq!((count(&index).await, count(&main).await), want, "{sort}");
        }
    }

    /// The suite must not ask more of an adapter than the port promises: here the indexes only move when told to.
    mod with_indexes_that_lag {
        use super::*;

        struct Lagging(Arc<MemoryStore>);

        impl Lagging {
            fn new() -> Self {
                let store = MemoryStore::default();
                store.hold_indexes(true);
                Self(Arc::new(store))
            }
        }

        #[async_trait]
        impl Subject for Lagging {
            fn store(&self) -> Arc<dyn Store> {
                self.0.clone()
            }

            async fn settle(&self) {
                self.0.hold_indexes(false);
                self.0.hold_indexes(true);
            }
        }

        crate::store_contract!(Lagging::new());
    }
}
