//! Stores that let somebody else go on: before each call, so that what happens at once on one thread takes turns, or at one place.

use aegis_core::store::{Add, ItemKey, Items, Page, Put, Query, Store, StoreError};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::Notify;

pub struct Yielding {
    store: Arc<dyn Store>,
    /// Writes that came second.
    pub conflicts: AtomicU32,
}

impl Yielding {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, conflicts: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Store for Yielding {
    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        tokio::task::yield_now().await;
        self.store.batch_get(keys).await
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        tokio::task::yield_now().await;
        self.store.add(additions).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        let written = self.store.transact(puts).await;
        let conflict = matches!(written, Err(StoreError::Conflict { .. }));
        self.conflicts.fetch_add(u32::from(conflict), Ordering::SeqCst);
        written
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        tokio::task::yield_now().await;
        self.store.query(query).await
    }

    fn spread(&self) -> u8 {
        self.store.spread()
    }
}

/// A store in which the first write to partitions of a kind waits until it is let go on.
pub struct Gated {
    store: Arc<dyn Store>,
    kind: &'static str,
    closed: AtomicBool,
    reached: Notify,
    opened: Notify,
}

impl Gated {
    /// `kind` is what those partitions begin with. It is open at first.
    pub fn new(store: Arc<dyn Store>, kind: &'static str) -> Self {
        let (reached, opened) = (Notify::new(), Notify::new());
        Self { store, kind, closed: AtomicBool::new(false), reached, opened }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Until somebody waits at it.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    pub fn open(&self) {
        self.opened.notify_one();
    }
}

#[async_trait]
impl Store for Gated {
    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        self.store.batch_get(keys).await
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        self.store.add(additions).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        let is_of_kind = puts.iter().any(|put| put.item.key.partition.starts_with(self.kind));
        if is_of_kind && self.closed.swap(false, Ordering::SeqCst) {
            self.reached.notify_one();
            self.opened.notified().await;
        }
        self.store.transact(puts).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query(query).await
    }

    fn spread(&self) -> u8 {
        self.store.spread()
    }
}
