//! The storage port: items under (partition, sort) keys, shaped like the store production uses (DynamoDB).
//! What an item means is the business of the repositories, which are written once over this port.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

use crate::ambient::Timestamp;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Items under (partition, sort) keys, with compare-and-swap, counters and range queries.
///
/// Calls about one item are linearizable, across processes and restarts; calls about different items are unordered;
/// queries on an index may lag. `Ok` means durable. Items past their expiry may still appear: callers check.
#[async_trait]
pub trait Store: Send + Sync {
    /// The item, or `None`. Sees every write that returned before the call.
    async fn get(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        Ok(self.batch_get(std::slice::from_ref(key)).await?.0.pop().map(Arc::unwrap_or_clone))
    }

    /// The items found, of at most [`MAX_BATCH`] named, none of them twice. Each read sees every write that returned before the call.
    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError>;

    /// Writes one item while `expect` holds. After [`StoreError::Unavailable`] the write may have happened.
    async fn put_if(&self, item: Item, expect: Expect) -> Result<Revision, StoreError> {
        self.transact(vec![Put { item, expect }]).await?;
        Ok(expect.next())
    }

    /// Adds to counters, creating those that are missing at zero, and returns their new values in order. Each addition
    /// is atomic and durable by itself; the batch is not. A counter is no item: `get` does not see it. After
    /// [`StoreError::Unavailable`] any of the additions may have happened. At most [`MAX_BATCH`], none in the journal.
    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError>;

    /// Writes all or none, while every expectation holds; at most [`MAX_BATCH`] items, none of them twice.
    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError>;

    /// A page of one partition in the order of the sort key (byte order), on the main key or on an index.
    async fn query(&self, query: &Query) -> Result<Page, StoreError>;

    /// Over how many partitions a writer should spread what many requests add to one index at once: more than one where
    /// a partition takes a bounded number of writes in a second. 1 to [`MAX_SPREAD`].
    fn spread(&self) -> u8 {
        MAX_SPREAD
    }
}

/// Most partitions that what belongs together is spread over; who reads merges as many, whichever store wrote them.
pub const MAX_SPREAD: u8 = 4;

/// Most items in a batch read or a transaction (DynamoDB's limit).
pub const MAX_BATCH: usize = 100;
/// Largest body of an item, in bytes.
pub const MAX_ITEM: usize = 64 * 1024;
/// Largest sum of bodies in a transaction, in bytes. DynamoDB takes 4 MiB, and counts keys and index entries, too.
pub const MAX_TRANSACTION: usize = 3584 * 1024;
/// Most items a page may hold.
pub const MAX_PAGE: usize = 1000;

/// `Journal` is append-only: a store refuses to replace or remove an item in it, whoever asks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    Journal,
    State,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ItemKey {
    pub table: Table,
    pub partition: String,
    pub sort: String,
}

impl ItemKey {
    pub fn state(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { table: Table::State, partition: partition.into(), sort: sort.into() }
    }

    pub fn journal(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { table: Table::Journal, partition: partition.into(), sort: sort.into() }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    pub key: ItemKey,
    /// JSON, at most [`MAX_ITEM`] bytes.
    pub body: String,
    /// Where else a query finds the item; at most one entry an index. Read back in the order of [`Index`].
    pub indexes: Vec<IndexEntry>,
    /// From when on the store may remove the item, unasked. Kept to the millisecond.
    pub expires_at: Option<Timestamp>,
}

/// One of the four indexes an item may appear in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Index {
    First,
    Second,
    Third,
    Fourth,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexEntry {
    pub index: Index,
    pub partition: String,
    pub sort: String,
}

/// Counts the writes of one item, from 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(pub u64);

/// An item as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    pub item: Item,
    pub revision: Revision,
    parsed: Parsed,
}

impl Stored {
    pub fn new(item: Item, revision: Revision) -> Self {
        Self { item, revision, parsed: Parsed::default() }
    }

    /// The body parsed as a `D`: once, however often this very value is asked, as where a store keeps it in memory.
    ///
    /// # Errors
    /// A body that is no `D`.
    pub fn parsed<D: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<D>, serde_json::Error> {
        let known = self.parsed.0.get().and_then(|parsed| Arc::clone(parsed).downcast::<D>().ok());
        if let Some(parsed) = known {
            return Ok(parsed);
        }
        let fresh: Arc<D> = Arc::new(serde_json::from_str(&self.item.body)?);
        // Lost where another caller was first, or took it for something else.
        let _ = self.parsed.0.set(fresh.clone());
        Ok(fresh)
    }
}

/// What a body was parsed as. Follows from the body, so it is part of no comparison, and a copy begins without it.
#[derive(Default)]
struct Parsed(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Clone for Parsed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parsed")
    }
}

impl Eq for Parsed {}

impl PartialEq for Parsed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The items a batch read found, in no order.
#[derive(Clone, Debug, Default)]
pub struct Items(pub Vec<Arc<Stored>>);

impl Items {
    pub fn find(&self, key: &ItemKey) -> Option<&Arc<Stored>> {
        self.0.iter().find(|stored| stored.item.key == *key)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// No such item. An expired item counts until the store has removed it.
    Absent,
    /// The item is as it was when it was read.
    Current(Revision),
}

impl Expect {
    /// The revision an item has after a write that expected this.
    pub fn next(self) -> Revision {
        match self {
            Self::Absent => Revision(1),
            Self::Current(Revision(n)) => Revision(n.saturating_add(1)),
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Put {
    pub item: Item,
    pub expect: Expect,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Add {
    pub counter: ItemKey,
    pub by: i64,
    /// Set when the counter is created; later additions leave it.
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    pub table: Table,
    /// `None`: the main key.
    pub index: Option<Index>,
    pub partition: String,
    /// Sort keys at or above this.
    pub from: Option<String>,
    /// Sort keys below this.
    pub below: Option<String>,
    pub order: Order,
    /// 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// Where the page before this one ended.
    pub after: Option<Position>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    Ascending,
    Descending,
}

/// The place of one item in the order of a query.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The sort key in the index that was queried.
    pub sort: String,
    /// The main key, which orders items of equal sort.
    pub key: ItemKey,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub items: Vec<Stored>,
    /// `Some` where more may follow; a page may be short, even empty, and not the last.
    pub next: Option<Position>,
}

/// Callers branch on the variant. Only after `Unavailable` is it unknown whether a write happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An expectation did not hold; nothing was written. `key` is one whose expectation failed.
    #[error("another writer changed an item meanwhile")]
    Conflict { key: ItemKey },
    /// The call breaks a limit of the port: a mistake in the caller. Nothing was written.
    #[error("the store cannot take this: {what}")]
    Limit { what: &'static str },
    /// The store did not answer.
    #[error("the store did not answer")]
    Unavailable { source: Box<dyn std::error::Error + Send + Sync> },
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn get(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        self.as_ref().get(key).await
    }

    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        self.as_ref().batch_get(keys).await
    }

    async fn put_if(&self, item: Item, expect: Expect) -> Result<Revision, StoreError> {
        self.as_ref().put_if(item, expect).await
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        self.as_ref().add(additions).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        self.as_ref().transact(puts).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.as_ref().query(query).await
    }

    fn spread(&self) -> u8 {
        self.as_ref().spread()
    }
}

/// An expiry as every adapter keeps it.
pub fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// Refuses a read that breaks a limit of the port.
pub fn check_keys(keys: &[ItemKey]) -> Result<(), StoreError> {
    let named_before = |(place, key): (usize, &ItemKey)| keys.iter().take(place).any(|before| before == key);
    match () {
        () if keys.len() > MAX_BATCH => Err(StoreError::Limit { what: "a batch read names at most 100 items" }),
        () if keys.iter().enumerate().any(named_before) => {
            Err(StoreError::Limit { what: "a batch read names an item once" })
        }
        () => Ok(()),
    }
}

/// Refuses a query that breaks a limit of the port.
pub fn check_query(query: &Query) -> Result<(), StoreError> {
    match (1..=MAX_PAGE).contains(&query.limit) {
        true => Ok(()),
        false => Err(StoreError::Limit { what: "a page holds 1 to 1,000 items" }),
    }
}

/// Refuses additions that break a limit of the port.
pub fn check_additions(additions: &[Add]) -> Result<(), StoreError> {
    match () {
        () if additions.len() > MAX_BATCH => Err(StoreError::Limit { what: "a call adds to at most 100 counters" }),
        () if additions.iter().any(|add| add.counter.table == Table::Journal) => {
            Err(StoreError::Limit { what: "the journal is append-only" })
        }
        () => Ok(()),
    }
}

/// Refuses writes that break a limit of the port. Adapters call these first, so that all refuse alike.
pub fn check_limits(puts: &[Put]) -> Result<(), StoreError> {
    let distinct: std::collections::HashSet<&ItemKey> = puts.iter().map(|put| &put.item.key).collect();
    let indexed_once = |item: &Item| {
        let indexes: std::collections::HashSet<Index> = item.indexes.iter().map(|entry| entry.index).collect();
        indexes.len() == item.indexes.len()
    };
    let limit = |what| Err(StoreError::Limit { what });
    match () {
        () if puts.is_empty() || puts.len() > MAX_BATCH => limit("a transaction holds 1 to 100 items"),
        () if distinct.len() < puts.len() => limit("an item may appear once in a transaction"),
        () if puts.iter().any(|put| put.item.body.len() > MAX_ITEM) => limit("an item holds at most 64 KiB"),
        () if puts.iter().map(|put| put.item.body.len()).sum::<usize>() > MAX_TRANSACTION => {
            limit("a transaction holds at most 3.5 MiB")
        }
        () if !puts.iter().all(|put| indexed_once(&put.item)) => limit("an item appears once in an index"),
        () if puts.iter().any(|put| put.item.key.table == Table::Journal && put.expect != Expect::Absent) => {
            limit("the journal is append-only")
        }
        () => Ok(()),
    }
}
