//! Random calls, made to the subject and to the store in memory, must be answered alike.

use super::{Suite, all_pages};
use crate::store::memory::MemoryStore;
use crate::store::{
    Add, Expect, Index, IndexEntry, Item, ItemKey, Items, Order, Position, Put, Query, Revision, Store, StoreError,
    Table,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The same 24 scripts on every run; an adapter may feed [`agrees_with_memory`] others, and shrink them.
pub async fn random_calls_agree_with_memory(suite: &Suite) {
    let mut state = 0x0123_4567_89ab_cdef_u64;
    for _ in 0..24 {
        let script: Vec<u8> = (0..400).map(|_| splitmix(&mut state)).collect();
        agrees_with_memory(suite, &script).await;
    }
}

/// Reads a sequence of calls out of `script` and makes them. Scripts given to one suite do not see each other's items.
pub async fn agrees_with_memory(suite: &Suite, script: &[u8]) {
    let (subject, model) = (suite.store(), MemoryStore::default());
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let mut script = Script { bytes: script.iter(), name: hasher.finish() };
    while let Some(kind) = script.next() {
        match kind % 8 {
            0..=2 => {
                let puts = script.puts(&model).await;
                let (got, want) = (subject.transact(puts.clone()).await, model.transact(puts.clone()).await);
                alike(&got, &want);
                if let Err(StoreError::Conflict { key }) = got {
                    assert!(fails(&model, &puts, &key).await, "{key:?} is as it was expected: {puts:?}");
                }
            }
            3 => {
                let put = script.put(&model).await;
                let (item, expect) = (put.item, put.expect);
                let (got, want) = (subject.put_if(item.clone(), expect).await, model.put_if(item, expect).await);
                alike(&got, &want);
            }
            4 => {
                let additions = script.additions();
                let (got, want) = (subject.add(&additions).await, model.add(&additions).await);
                alike(&got, &want);
            }
            5 => {
                let mut keys = vec![script.key(), script.key(), script.key()];
                keys.sort();
                keys.dedup();
                let (got, want) = (subject.batch_get(&keys).await, model.batch_get(&keys).await);
                let sorted = |items: Items| {
                    let mut found = items.0;
                    found.sort_by(|a, b| a.item.key.cmp(&b.item.key));
                    found
                };
                assert_eq!(sorted(got.unwrap()), sorted(want.unwrap()));
                let (got, want) = (subject.get(&keys[0]).await, model.get(&keys[0]).await);
                assert_eq!(got.unwrap(), want.unwrap());
            }
            _ => {
                let query = script.query();
                suite.finds(&query, &all_pages(&model, &query).await).await;
            }
        }
    }
}

/// Every choice is drawn from few values, so that calls meet.
struct Script<'a> {
    bytes: std::slice::Iter<'a, u8>,
    name: u64,
}

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        self.bytes.next().copied()
    }

    fn below(&mut self, count: u8) -> u8 {
        self.next().unwrap_or(0) % count
    }

    fn text(&mut self, count: u8) -> String {
        ["", "a", "b", "ab", "\u{e9}", "B"][usize::from(self.below(count))].to_owned()
    }

    fn partition(&mut self) -> String {
        let which = self.below(2);
        format!("{:016x}-{which}", self.name)
    }

    fn key(&mut self) -> ItemKey {
        let table = if self.below(4) == 0 { Table::Journal } else { Table::State };
        ItemKey { table, partition: self.partition(), sort: self.text(6) }
    }

    async fn put(&mut self, model: &MemoryStore) -> Put {
        let key = self.key();
        let revision = model.get(&key).await.unwrap().map(|stored| stored.revision);
        let expect = match (self.below(6), revision) {
            (0, _) => Expect::Absent,
            (1, Some(Revision(n))) => Expect::Current(Revision(n - 1)),
            (2, Some(Revision(n))) => Expect::Current(Revision(n + 1)),
            (_, Some(revision)) => Expect::Current(revision),
            (1, None) => Expect::Current(Revision(1)),
            (_, None) => Expect::Absent,
        };
        let mut indexes = Vec::new();
        for index in [Index::First, Index::Second, Index::Third, Index::Fourth] {
            if self.below(3) == 0 {
                indexes.push(IndexEntry { index, partition: self.partition(), sort: self.text(4) });
            }
        }
        Put { item: Item { key, body: self.below(255).to_string(), indexes, expires_at: None }, expect }
    }

    async fn puts(&mut self, model: &MemoryStore) -> Vec<Put> {
        let mut puts = Vec::new();
        for _ in 0..self.below(5) {
            puts.push(self.put(model).await);
        }
        puts
    }

    fn additions(&mut self) -> Vec<Add> {
        let add = |script: &mut Self| {
            let counter = ItemKey::state(script.partition(), script.text(3));
            Add { counter, by: i64::from(script.below(9)) - 4, expires_at: None }
        };
        (0..self.below(4)).map(|_| add(self)).collect()
    }

    fn query(&mut self) -> Query {
        let index = [None, Some(Index::First), Some(Index::Second), Some(Index::Third), Some(Index::Fourth)];
        let index = index[usize::from(self.below(5))];
        let order = if self.below(2) == 0 { Order::Ascending } else { Order::Descending };
        let from = (self.below(3) == 0).then(|| self.text(6));
        let below = (self.below(3) == 0).then(|| self.text(6));
        let partition = self.partition();
        let table = if self.below(4) == 0 { Table::Journal } else { Table::State };
        // A cursor comes from a page of the same query.
        let after = (self.below(4) == 0).then(|| {
            let key = ItemKey { table, ..self.key() };
            match index {
                None => Position { sort: key.sort.clone(), key: ItemKey { partition: partition.clone(), ..key } },
                Some(_) => Position { sort: self.text(4), key },
            }
        });
        let limit = usize::from(self.below(4)) + 1;
        Query { table, index, partition, from, below, order, limit, after }
    }
}

fn alike<T: PartialEq + std::fmt::Debug>(got: &Result<T, StoreError>, want: &Result<T, StoreError>) {
    match (got, want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want),
        (Err(StoreError::Conflict { .. }), Err(StoreError::Conflict { .. })) => (),
        (Err(StoreError::Limit { .. }), Err(StoreError::Limit { .. })) => (),
        _ => panic!("{got:?} instead of {want:?}"),
    }
}

async fn fails(model: &MemoryStore, puts: &[Put], key: &ItemKey) -> bool {
    let current = model.get(key).await.unwrap().map_or(Expect::Absent, |stored| Expect::Current(stored.revision));
    puts.iter().any(|put| put.item.key == *key && put.expect != current)
}

/// SplitMix64 (Steele, Lea, Flood 2014): any sequence would do, as long as it is the same each time.
fn splitmix(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).to_le_bytes()[0]
}
