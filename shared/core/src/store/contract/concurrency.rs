//! Many at once: nothing is lost, nothing counts twice, nothing happens by half.

use super::counters::add;
use super::{Suite, absent, item, put};
use crate::store::{Expect, ItemKey, Put, Revision, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

const TASKS: usize = 16;

pub async fn concurrent_additions_each_count(suite: &Suite) {
    let store = suite.store();
    let one = |_| {
        let store = store.clone();
        async move { store.add(&[add("a", 1)]).await.unwrap()[0] }
    };
    let mut values = suite.together((0..64).map(one)).await;
    values.sort_unstable();
    assert_eq!(values, (1..=64).collect::<Vec<i64>>());
}

pub async fn one_of_many_writers_wins(suite: &Suite) {
    let store = suite.store();
    for expect in [Expect::Absent, Expect::Current(Revision(1)), Expect::Current(Revision(2))] {
        let write = |n: usize| {
            let store = store.clone();
            async move { (n, store.put_if(item("a", &n.to_string()), expect).await) }
        };
        let results = suite.together((0..TASKS).map(write)).await;
        let won: Vec<usize> = results.iter().filter(|(_, result)| result.is_ok()).map(|(n, _)| *n).collect();
        let [winner] = won[..] else { panic!("{expect:?}: {results:?}") };
        let conflict = |result: &Result<Revision, StoreError>| matches!(result, Err(StoreError::Conflict { .. }));
        assert!(results.iter().all(|(n, result)| *n == winner || conflict(result)), "{results:?}");
        let stored = store.get(&ItemKey::state("p", "a")).await.unwrap().unwrap();
        assert_eq!((stored.item.body, stored.revision), (winner.to_string(), expect.next()));
    }
}

/// What one reader saw, no later reader sees undone; and what a writer was told is written, every later reader sees.
pub async fn reads_never_go_back(suite: &Suite) {
    const WRITES: u64 = 100;
    let store = suite.store();
    let keys = ["a", "still"].map(|sort| ItemKey::state("p", sort));
    for sort in ["a", "still"] {
        put(&*store, item(sort, "1"), Expect::Absent).await;
    }
    let known = Arc::new(AtomicU64::new(1));
    let task = |n: usize| {
        let (store, known, keys): (Arc<dyn Store>, _, _) = (store.clone(), Arc::clone(&known), keys.clone());
        async move {
            let mut revision = 1;
            // Bounded, so that readers whose writer failed end, too.
            for _ in 0..100_000 {
                if revision >= WRITES {
                    break;
                }
                let before = known.load(Ordering::SeqCst);
                revision = match n {
                    0 => store.put_if(item("a", "{}"), Expect::Current(Revision(before))).await.unwrap().0,
                    _ => store.batch_get(&keys).await.unwrap().find(&keys[0]).unwrap().revision.0,
                };
                assert!(revision >= before, "{revision} was read after {before}");
                known.fetch_max(revision, Ordering::SeqCst);
                give_way().await;
            }
        }
    };
    suite.together((0..TASKS).map(task)).await;
}

/// Lets other tasks of the same thread run.
async fn give_way() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Every task moves one from an account to the next until it has done so five times. Half a transaction would change
/// the total; one that is told to have failed and happened, or the reverse, would change the number of writes.
pub async fn overlapping_transactions_never_half_apply(suite: &Suite) {
    let store = suite.store();
    let accounts = ["0", "1", "2", "3"];
    let puts = accounts.iter().map(|account| absent(item(account, "100"))).collect();
    store.transact(puts).await.unwrap();
    let task = |n: usize| {
        let store: Arc<dyn Store> = store.clone();
        async move {
            for round in 0..5 {
                while !moved(&*store, accounts[(n + round) % 4], accounts[(n + round + 1) % 4]).await {}
            }
        }
    };
    suite.together((0..TASKS).map(task)).await;
    let found = store.batch_get(&accounts.map(|account| ItemKey::state("p", account))).await.unwrap();
    let total: i64 = found.0.iter().map(|stored| stored.item.body.parse::<i64>().unwrap()).sum();
    let writes: u64 = found.0.iter().map(|stored| stored.revision.0 - 1).sum();
    assert_eq!((total, writes), (400, 2 * 5 * 16));
    put(&*store, item("after", ""), Expect::Absent).await;
}

async fn moved(store: &dyn Store, from: &str, to: &str) -> bool {
    let found = store.batch_get(&[ItemKey::state("p", from), ItemKey::state("p", to)]).await.unwrap();
    let changed = |account: &str, by: i64| {
        let stored = found.find(&ItemKey::state("p", account)).unwrap();
        let balance = stored.item.body.parse::<i64>().unwrap() + by;
        Put { item: item(account, &balance.to_string()), expect: Expect::Current(stored.revision) }
    };
    match store.transact(vec![changed(from, -1), changed(to, 1)]).await {
        Ok(()) => true,
        Err(StoreError::Conflict { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}
