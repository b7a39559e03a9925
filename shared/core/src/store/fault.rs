//! Wraps a store to make chosen calls fail, before or after they took effect, and to count calls. For tests.

use super::{Add, Expect, Item, ItemKey, Items, Page, Put, Query, Revision, Store, StoreError, Stored};
use crate::error::Error;
use crate::feed::Feed;
use crate::id::RecordId;
use crate::record::AuditRecord;
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store some calls to which fail with [`StoreError::Unavailable`].
#[derive(Debug, Default)]
pub struct Faulty<S> {
    inner: S,
    plan: Mutex<Plan>,
}

/// What a call does, whichever method it is: `get` and `batch_get` read, `put_if` and `transact` write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    Add,
    Query,
    Read,
    Write,
}

/// When a call fails. For one that writes nothing, both are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    AfterWrite,
    BeforeWrite,
}

/// How many calls of each kind arrived, those that failed included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Calls {
    pub adds: u32,
    pub queries: u32,
    pub reads: u32,
    pub writes: u32,
}

#[derive(Debug, Default)]
struct Plan {
    /// How many calls of the kind pass before one fails.
    faults: Vec<(Operation, u32, Fault)>,
    calls: Calls,
}

impl<S: Store> Faulty<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The next call of the kind fails. Told again before then, the one after it fails too.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        let mut plan = self.lock();
        let planned = plan.faults.iter().filter(|(kind, _, _)| *kind == operation);
        let passing = planned.map(|(_, passing, _)| passing.saturating_add(1)).max().unwrap_or(0);
        plan.faults.push((operation, passing, fault));
    }

    /// `passing` more calls of the kind succeed, the one after them fails.
    pub fn fail_later(&self, operation: Operation, passing: u32, fault: Fault) {
        self.lock().faults.push((operation, passing, fault));
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.lock().calls)
    }

    async fn through<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.lock().arrive(operation);
        match fault {
            None => call.await,
            Some(Fault::BeforeWrite) => Err(injected()),
            // A call that was refused was answered, so the fault finds nothing to spoil.
            Some(Fault::AfterWrite) => call.await.and_then(|_| Err(injected())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn arrive(&mut self, operation: Operation) -> Option<Fault> {
        let count = match operation {
            Operation::Add => &mut self.calls.adds,
            Operation::Query => &mut self.calls.queries,
            Operation::Read => &mut self.calls.reads,
            Operation::Write => &mut self.calls.writes,
        };
        *count = count.saturating_add(1);
        let due = self.faults.iter().position(|(kind, passing, _)| *kind == operation && *passing == 0);
        let due = due.map(|at| self.faults.remove(at).2);
        for (_, passing, _) in self.faults.iter_mut().filter(|(kind, _, _)| *kind == operation) {
            *passing = passing.saturating_sub(1);
        }
        due
    }
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn get(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        self.through(Operation::Read, self.inner.get(key)).await
    }

    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        self.through(Operation::Read, self.inner.batch_get(keys)).await
    }

    async fn put_if(&self, item: Item, expect: Expect) -> Result<Revision, StoreError> {
        self.through(Operation::Write, self.inner.put_if(item, expect)).await
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        self.through(Operation::Add, self.inner.add(additions)).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        self.through(Operation::Write, self.inner.transact(puts)).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.through(Operation::Query, self.inner.query(query)).await
    }

    fn spread(&self) -> u8 {
        self.inner.spread()
    }
}

/// What was committed is handed over as it is: a feed that fails is a read that fails.
#[async_trait]
impl<S: Feed> Feed for Faulty<S> {
    async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<Arc<AuditRecord>>, Error> {
        self.inner.after(last, limit).await
    }
}

fn injected() -> StoreError {
    StoreError::Unavailable { source: "a fault was injected".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    fn item(sort: &str) -> Item {
        Item { key: ItemKey::state("p", sort), body: "{}".into(), indexes: vec![], expires_at: None }
    }

    #[tokio::test]
    async fn the_chosen_calls_fail_and_no_others() {
        let store = Faulty::new(MemoryStore::default());
        store.fail_next(Operation::Write, Fault::BeforeWrite);
        store.fail_next(Operation::Write, Fault::AfterWrite);
        store.fail_later(Operation::Write, 3, Fault::BeforeWrite);
        let mut failed = Vec::new();
        for sort in ["a", "b", "c", "d", "e"] {
            failed.push(store.put_if(item(sort), Expect::Absent).await.is_err());
        }
        assert_eq!(failed, [true, true, false, true, false]);
        for (sort, there) in [("a", false), ("b", true), ("c", true), ("d", false), ("e", true)] {
            assert_eq!(store.get(&ItemKey::state("p", sort)).await.unwrap().is_some(), there, "{sort}");
        }
    }

    #[tokio::test]
    async fn reads_fail_and_every_call_counts_once() {
        let store = Faulty::new(MemoryStore::default());
        store.fail_next(Operation::Read, Fault::AfterWrite);
        assert!(matches!(store.get(&ItemKey::state("p", "a")).await, Err(StoreError::Unavailable { .. })));
        store.batch_get(&[]).await.unwrap();
        store.put_if(item("a"), Expect::Absent).await.unwrap();
        store.add(&[]).await.unwrap();
        assert_eq!(store.take_calls(), Calls { adds: 1, queries: 0, reads: 2, writes: 1 });
        assert_eq!(store.take_calls(), Calls::default());
    }

    #[tokio::test]
    async fn a_call_that_is_refused_keeps_its_answer() {
        let store = Faulty::new(MemoryStore::default());
        store.put_if(item("a"), Expect::Absent).await.unwrap();
        store.fail_next(Operation::Write, Fault::AfterWrite);
        assert!(matches!(store.put_if(item("a"), Expect::Absent).await, Err(StoreError::Conflict { .. })));
    }
}
