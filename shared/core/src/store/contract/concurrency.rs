//! Many at once: nothing is lost, nothing counts twice, nothing happens by half.

use super::counters::add;
use super::{Suite, absent, item, put};
use crate::store::{Expect, ItemKey, Put, Revision, Store, StoreError};
use std::sync::Arc;

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
    let total: i64 = found.values().map(|stored| stored.item.body.parse::<i64>().unwrap()).sum();
    let writes: u64 = found.values().map(|stored| stored.revision.0 - 1).sum();
    assert_eq!((total, writes), (400, 2 * 5 * 16));
    put(&*store, item("after", ""), Expect::Absent).await;
}

async fn moved(store: &dyn Store, from: &str, to: &str) -> bool {
    let found = store.batch_get(&[ItemKey::state("p", from), ItemKey::state("p", to)]).await.unwrap();
    let changed = |account: &str, by: i64| {
        let stored = &found[&ItemKey::state("p", account)];
        let balance = stored.item.body.parse::<i64>().unwrap() + by;
        Put { item: item(account, &balance.to_string()), expect: Expect::Current(stored.revision) }
    };
    match store.transact(vec![changed(from, -1), changed(to, 1)]).await {
        Ok(()) => true,
        Err(StoreError::Conflict { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}
