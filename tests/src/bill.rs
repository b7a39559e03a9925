//! What the store of a deployment on AWS would be asked for, in the units that DynamoDB is paid by. Held against the layout of
//! `shared/aws/src/store/layout.rs` and the indexes of `infra/tables.tf`.

use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::pipeline::{InMemory, SharedCounters};
use aegis_core::risk::Live;
use aegis_core::store::{Add, Item, ItemKey, Page, Put, Query, Stored, Table};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What one function asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Of 4 KiB, read consistently; half a unit of an index.
    pub read: f64,
    /// Of 1 KiB, indexes included.
    pub written: f64,
    /// Calls of DynamoDB. A page of an index of the journal counts as one, though its records are fetched by another.
    pub calls: u32,
}

/// By function: `authorizer`, an operation by its name, or nothing for what detects and counts.
#[derive(Clone, Debug, Default)]
pub struct Bill(Arc<Mutex<BTreeMap<String, Units>>>);

impl Bill {
    /// What was asked for since the last time this was.
    pub fn take(&self) -> BTreeMap<String, Units> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn note(&self, role: &str, read: f64, written: f64) {
        let mut all = self.0.lock().unwrap();
        let units = all.entry(role.to_string()).or_default();
        units.read += read;
        units.written += written;
        units.calls += 1;
    }
}

/// Units that `bytes` take, of `unit` each; what is not there takes one, too.
fn units(bytes: usize, unit: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(unit).max(1)).unwrap())
}

/// As it lies in the table: names and values.
fn size(item: &Item) -> usize {
    let key = key_size(&item.key);
    let index =
        |sort: &str, partition: &str| 8 + partition.len() + sort.len() + item.key.partition.len() + item.key.sort.len();
    let indexes = item.indexes.iter().map(|entry| index(&entry.sort, &entry.partition)).sum::<usize>();
    let expiry = item.expires_at.map_or(0, |_| 22);
    let (body, revision, mark) = ("body".len() + item.body.len(), 8, 20);
    key + body + revision + mark + indexes + expiry
}

fn key_size(key: &ItemKey) -> usize {
    "pk".len() + "sk".len() + 3 + key.partition.len() + key.sort.len()
}

pub(crate) fn of_reads<'a>(found: impl Iterator<Item = Option<&'a Stored>>) -> f64 {
    found.map(|stored| units(stored.map_or(0, |stored| size(&stored.item)), READ)).sum()
}

pub(crate) fn of_page(query: &Query, page: &Page) -> f64 {
    let each = page.items.iter().map(|stored| (&stored.item, size(&stored.item)));
    match (query.table, query.index) {
        // The keys, and then each record by its own.
        (Table::Journal, Some(_)) => {
            let keys = each.clone().map(|(item, _)| 3 * key_size(&item.key)).sum();
            0.5 * units(keys, READ) + each.map(|(_, bytes)| units(bytes, READ)).sum::<f64>()
        }
        (Table::State, Some(_)) => 0.5 * units(each.map(|(_, bytes)| bytes).sum(), READ),
        (_, None) => units(each.map(|(_, bytes)| bytes).sum(), READ),
    }
}

/// A transaction is paid twice, but for its indexes.
pub(crate) fn of_puts(puts: &[Put]) -> f64 {
    let times = if puts.len() > 1 { 2.0 } else { 1.0 };
    let of_put = |put: &Put| {
        let whole = units(size(&put.item), WRITTEN);
        // An index of the journal holds keys alone, of the state the whole item.
        let each = if put.item.key.table == Table::Journal { 1.0 } else { whole };
        let indexes = f64::from(u32::try_from(put.item.indexes.len()).unwrap());
        whole * times + each * indexes
    };
    puts.iter().map(of_put).sum()
}

pub(crate) fn of_additions(additions: &[Add]) -> f64 {
    f64::from(u32::try_from(additions.len()).unwrap())
}

const READ: usize = 4_096;
const WRITTEN: usize = 1_024;

/// Live counters as on AWS, where each count is an update of one item and a read of the minute before, not a consistent one
/// (`shared/aws/src/live.rs`): paid for, and kept in memory.
pub struct PaidCounters {
    pub bill: Bill,
    pub counters: InMemory,
}

#[async_trait]
impl SharedCounters for PaidCounters {
    async fn count(&self, actors: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error> {
        for _ in actors {
            self.bill.note(&crate::roles::role(), 0.0, 1.0);
            self.bill.note(&crate::roles::role(), 0.5, 0.0);
        }
        Ok(actors.map(|actor| self.counters.count(actor, now)))
    }

    async fn take_back(&self, actors: [&str; 2], at: Timestamp) -> Result<(), Error> {
        for actor in actors {
            self.bill.note(&crate::roles::role(), 0.0, 1.0);
            self.counters.take_back(actor, at);
        }
        Ok(())
    }

    async fn look(&self, actors: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error> {
        for _ in actors {
            self.bill.note(&crate::roles::role(), 0.5, 0.0);
            self.bill.note(&crate::roles::role(), 0.5, 0.0);
        }
        Ok(actors.map(|actor| self.counters.look(actor, now)))
    }
}
