//! Counters: beginning, order, limits. Whether the expiry given at creation is kept cannot be seen through the port.

use super::{Suite, assert_limit, item, put, query};
use crate::ambient::Timestamp;
use crate::store::{Add, Expect, ItemKey, MAX_BATCH};

pub(super) fn add(sort: &str, by: i64) -> Add {
    Add { counter: ItemKey::state("n", sort), by, expires_at: None }
}

pub async fn additions_answer_in_order(suite: &Suite) {
    let store = suite.store();
    let table = [
        (vec![("a", 1)], vec![1]),
        (vec![("b", -5), ("a", 2), ("c", 0)], vec![-5, 3, 0]),
        (vec![("a", 10), ("a", -1), ("b", 7), ("a", 0)], vec![13, 12, 2, 12]),
        (vec![], vec![]),
        (vec![("big", i64::MAX), ("small", i64::MIN)], vec![i64::MAX, i64::MIN]),
    ];
    let expiry = |by: i64| (by % 2 == 0).then(|| Timestamp::from_second(4_000_000_000).unwrap());
    for (additions, want) in table {
        let additions: Vec<Add> =
            additions.into_iter().map(|(sort, by)| Add { expires_at: expiry(by), ..add(sort, by) }).collect();
        assert_eq!(store.add(&additions).await.unwrap(), want, "{additions:?}");
    }
    let elsewhere = Add { counter: ItemKey::state("m", "a"), by: 1, expires_at: None };
    assert_eq!(store.add(&[elsewhere]).await.unwrap(), [1]);
}

pub async fn a_counter_is_no_item(suite: &Suite) {
    let store = suite.store();
    store.add(&[add("a", 1)]).await.unwrap();
    assert_eq!(store.get(&ItemKey::state("n", "a")).await.unwrap(), None);
    suite.finds(&query(None, "n"), &[]).await;
    let stored = put(&*store, item("a", "1"), Expect::Absent).await;
    assert_eq!(store.add(&[add("a", 1)]).await.unwrap(), [2]);
    assert_eq!(store.get(&stored.item.key).await.unwrap(), Some(stored));
}

pub async fn additions_have_limits(suite: &Suite) {
    let store = suite.store();
    let many: Vec<Add> = (0..=MAX_BATCH).map(|_| add("a", 1)).collect();
    assert_limit(store.add(&many).await, "101 additions");
    let journal = Add { counter: ItemKey::journal("n", "a"), by: 1, expires_at: None };
    assert_limit(store.add(&[add("a", 1), journal]).await, "a counter in the journal");
    assert_eq!(store.add(&[add("a", 1)]).await.unwrap(), [1], "nothing was added before");
    assert_eq!(store.add(&many[1..]).await.unwrap().last(), Some(&101));
}
