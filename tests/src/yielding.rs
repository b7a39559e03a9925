//! A store that lets somebody else go on before each call, so that what happens at once on one thread takes turns.

use aegis_core::store::{Add, ItemKey, Items, Page, Put, Query, Store, StoreError};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
