//! What every adapter of the storage port must pass: one function a case, and [`store_contract!`](crate::store_contract)
//! that makes a test of each. It asks for nothing the port does not promise: queries on an index are repeated until
//! they agree, and no case looks for what has expired. Durability is the adapter's own to prove.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test suite fails by panicking")]

mod concurrency;
mod counters;
mod faults;
mod model;
mod queries;
mod writes;

pub use concurrency::{
    concurrent_additions_each_count, one_of_many_writers_wins, overlapping_transactions_never_half_apply,
    reads_never_go_back,
};
pub use counters::{a_counter_is_no_item, additions_answer_in_order, additions_have_limits};
pub use faults::a_failed_write_happened_wholly_or_not_at_all;
pub use model::{agrees_with_memory, random_calls_agree_with_memory};
pub use queries::{
    a_query_walks_one_partition_in_order, an_index_follows_its_item, indexes_do_not_mix, pages_join_without_gaps,
    queries_have_limits, sort_keys_are_in_byte_order,
};
pub use writes::{
    a_conflict_names_its_key_and_writes_nothing, a_put_holds_to_its_expectation, a_transaction_is_all_or_nothing,
    absent_items_are_not_found, reads_give_back_what_was_put, the_journal_is_append_only, the_largest_writes_are_taken,
    writes_have_limits,
};

use super::{Expect, Index, IndexEntry, Item, ItemKey, Order, Page, Put, Query, Store, StoreError, Stored, Table};
use async_trait::async_trait;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

/// A store under test, empty at first.
#[async_trait]
pub trait Subject: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;

    /// Gives the indexes time, or means, to catch up. Called between attempts, of which there are [`ATTEMPTS`].
    async fn settle(&self) {}
}

/// Makes one test of each case. `$subject` is evaluated for each; the caller needs tokio with `macros` and
/// `rt-multi-thread`.
#[macro_export]
macro_rules! store_contract {
    ($subject:expr) => {
        $crate::store_contract! { $subject;
            a_conflict_names_its_key_and_writes_nothing,
            a_counter_is_no_item,
            a_failed_write_happened_wholly_or_not_at_all,
            a_put_holds_to_its_expectation,
            a_query_walks_one_partition_in_order,
            a_transaction_is_all_or_nothing,
            absent_items_are_not_found,
            additions_answer_in_order,
            additions_have_limits,
            an_index_follows_its_item,
            concurrent_additions_each_count,
            indexes_do_not_mix,
            one_of_many_writers_wins,
            overlapping_transactions_never_half_apply,
            pages_join_without_gaps,
            queries_have_limits,
            random_calls_agree_with_memory,
            reads_give_back_what_was_put,
            reads_never_go_back,
            sort_keys_are_in_byte_order,
            the_journal_is_append_only,
            the_largest_writes_are_taken,
            writes_have_limits,
        }
    };
    ($subject:expr; $($case:ident,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            fn spawn(task: $crate::store::contract::Task) -> $crate::store::contract::Task {
                let running = tokio::spawn(task);
                Box::pin(async move { running.await.expect("a task panicked") })
            }
            let suite = $crate::store::contract::Suite::new($subject, spawn);
            $crate::store::contract::$case(&suite).await;
        }
    )* };
}

/// How often a query on an index may disagree before its case fails.
pub const ATTEMPTS: usize = 20;

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A subject and the means to do several things to it at once.
pub struct Suite {
    subject: Box<dyn Subject>,
    /// Starts a task and gives back one that ends with it.
    spawn: fn(Task) -> Task,
}

impl Suite {
    pub fn new(subject: impl Subject + 'static, spawn: fn(Task) -> Task) -> Self {
        Self { subject: Box::new(subject), spawn }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.subject.store()
    }

    /// Runs the tasks side by side; their results in the order of completion.
    async fn together<T, F>(&self, tasks: impl IntoIterator<Item = F>) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let results = Arc::new(Mutex::new(Vec::new()));
        let start = |task: F| {
            let results = Arc::clone(&results);
            (self.spawn)(Box::pin(async move {
                let result = task.await;
                results.lock().unwrap().push(result);
            }))
        };
        let running: Vec<Task> = tasks.into_iter().map(start).collect();
        for task in running {
            task.await;
        }
        std::mem::take(&mut *results.lock().unwrap())
    }

    /// Asserts that the query, followed to its last page, finds `want`: at once on the main key, in time on an index.
    async fn finds(&self, query: &Query, want: &[Stored]) {
        let store = self.store();
        let attempts = if query.index.is_some() { ATTEMPTS } else { 1 };
        let mut found = Vec::new();
        for _ in 0..attempts {
            if query.index.is_some() {
                self.subject.settle().await;
            }
            found = all_pages(&*store, query).await;
            if found == want {
                return;
            }
        }
        assert_eq!(found, want, "{query:?}");
    }
}

async fn all_pages(store: &dyn Store, query: &Query) -> Vec<Stored> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let Page { items, next } = store.query(&query).await.unwrap();
        assert!(items.len() <= query.limit, "a page holds more than was asked for: {query:?}");
        found.extend(items);
        match next {
            None => return found,
            Some(next) => assert_ne!(query.after.replace(next), query.after, "the cursor stands still: {query:?}"),
        }
    }
}

fn item(sort: &str, body: &str) -> Item {
    Item { key: ItemKey::state("p", sort), body: body.into(), indexes: vec![], expires_at: None }
}

fn entry(index: Index, partition: &str, sort: &str) -> IndexEntry {
    IndexEntry { index, partition: partition.into(), sort: sort.into() }
}

fn query(index: Option<Index>, partition: &str) -> Query {
    Query {
        table: Table::State,
        index,
        partition: partition.into(),
        from: None,
        below: None,
        order: Order::Ascending,
        limit: 1000,
        after: None,
    }
}

async fn put(store: &dyn Store, item: Item, expect: Expect) -> Stored {
    let revision = store.put_if(item.clone(), expect).await.unwrap();
    Stored::new(item, revision)
}

fn absent(item: Item) -> Put {
    Put { item, expect: Expect::Absent }
}

fn assert_limit<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    assert!(matches!(result, Err(StoreError::Limit { .. })), "{what}: {result:?}");
}

fn assert_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, want: &ItemKey) {
    assert!(matches!(&result, Err(StoreError::Conflict { key }) if key == want), "want {want:?}: {result:?}");
}
