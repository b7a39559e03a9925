//! One item and several: expectations, revisions, transactions, limits.

use super::{Suite, absent, assert_conflict, assert_limit, entry, item, put};
use crate::ambient::Timestamp;
use crate::store::{Expect, Index, Item, ItemKey, MAX_BATCH, MAX_ITEM, MAX_TRANSACTION, Put, Revision, Stored};

pub async fn absent_items_are_not_found(suite: &Suite) {
    let store = suite.store();
    put(&*store, item("there", "{}"), Expect::Absent).await;
    let strangers = [ItemKey::state("p", "a"), ItemKey::state("q", "there"), ItemKey::journal("p", "there")];
    for key in &strangers {
        assert_eq!(store.get(key).await.unwrap(), None, "{key:?}");
    }
    assert!(store.batch_get(&strangers).await.unwrap().0.is_empty());
    assert!(store.batch_get(&[]).await.unwrap().0.is_empty());
}

pub async fn reads_give_back_what_was_put(suite: &Suite) {
    let store = suite.store();
    let full = Item {
        key: ItemKey::state("hüman#a'\"b", "créd#\u{1F511}%_\n"),
        body: "{\"text\":\"\u{0} é \u{1F511}\"}".into(),
        indexes: vec![entry(Index::Third, "", ""), entry(Index::First, "p", "s")],
        expires_at: Some(Timestamp::from_millisecond(4_000_000_000_123).unwrap()),
    };
    let bare = item("bare", "");
    let record = Item { key: ItemKey::journal("p", "bare"), ..item("", "{\"record\":1}") };
    let mut want = Vec::new();
    for item in [full, bare, record] {
        want.push(put(&*store, item, Expect::Absent).await);
    }
    want[0].item.indexes.reverse();
    for stored in &want {
        assert_eq!(store.get(&stored.item.key).await.unwrap().as_ref(), Some(stored));
    }
    let mut keys: Vec<ItemKey> = want.iter().map(|stored| stored.item.key.clone()).collect();
    keys.push(ItemKey::state("p", "absent"));
    let found = store.batch_get(&keys).await.unwrap();
    assert_eq!(found.0.len(), want.len());
    assert!(want.iter().all(|stored| **found.find(&stored.item.key).unwrap() == *stored), "{found:?}");
}

pub async fn a_put_holds_to_its_expectation(suite: &Suite) {
    let store = suite.store();
    let current = |n| Expect::Current(Revision(n));
    let table = [
        (current(1), None),
        (Expect::Absent, Some(1)),
        (Expect::Absent, None),
        (current(2), None),
        (current(0), None),
        (current(1), Some(2)),
        (current(1), None),
        (Expect::Absent, None),
        (current(2), Some(3)),
    ];
    let mut last = None;
    for (step, (expect, want)) in table.into_iter().enumerate() {
        let written = item("a", &format!("{{\"step\":{step}}}"));
        let result = store.put_if(written.clone(), expect).await;
        match want {
            None => assert_conflict(result, &written.key),
            Some(n) => {
                assert_eq!(result.unwrap(), Revision(n), "step {step}");
                last = Some(Stored::new(written, Revision(n)));
            }
        }
        assert_eq!(store.get(&ItemKey::state("p", "a")).await.unwrap(), last, "step {step}");
    }
}

pub async fn a_conflict_names_its_key_and_writes_nothing(suite: &Suite) {
    let store = suite.store();
    let there = put(&*store, item("there", "1"), Expect::Absent).await;
    let puts = vec![absent(item("new", "2")), absent(item("there", "2"))];
    assert_conflict(store.transact(puts).await, &there.item.key);
    assert_eq!(store.get(&there.item.key).await.unwrap(), Some(there));
    assert_eq!(store.get(&ItemKey::state("p", "new")).await.unwrap(), None);
}

pub async fn a_transaction_is_all_or_nothing(suite: &Suite) {
    let store = suite.store();
    let sorts = ["a", "b", "c", "d"];
    let mut puts: Vec<Put> = sorts.iter().map(|sort| absent(item(sort, "1"))).collect();
    let record = Item { key: ItemKey::journal("p", "a"), ..item("", "1") };
    puts.push(absent(record));
    let keys: Vec<ItemKey> = puts.iter().map(|put| put.item.key.clone()).collect();
    for wrong in 0..sorts.len() {
        let mut puts = puts.clone();
        puts[wrong].expect = Expect::Current(Revision(1));
        assert_conflict(store.transact(puts).await, &keys[wrong]);
        assert!(store.batch_get(&keys).await.unwrap().0.is_empty(), "expectation {wrong} failed");
    }
    store.transact(puts.clone()).await.unwrap();
    let found = store.batch_get(&keys).await.unwrap();
    assert_eq!(found.0.len(), keys.len());
    assert!(puts.iter().all(|put| **found.find(&put.item.key).unwrap() == Stored::new(put.item.clone(), Revision(1))));
}

pub async fn writes_have_limits(suite: &Suite) {
    let store = suite.store();
    let many = |count: usize, size: usize| -> Vec<Put> {
        (0..count).map(|n| absent(item(&format!("{n:03}"), &"x".repeat(size)))).collect()
    };
    let indexed_twice =
        Item { indexes: vec![entry(Index::First, "p", "a"), entry(Index::First, "p", "b")], ..item("000", "") };
    let table = [
        ("empty", vec![]),
        ("101 items", many(MAX_BATCH + 1, 1)),
        ("an item twice", vec![absent(item("000", "1")), absent(item("001", "")), absent(item("000", "2"))]),
        ("a body too long", many(1, MAX_ITEM + 1)),
        ("too much in all", many(MAX_TRANSACTION / MAX_ITEM + 1, MAX_ITEM)),
        ("an index twice", vec![absent(indexed_twice)]),
    ];
    for (what, puts) in table {
        assert_limit(store.transact(puts).await, what);
        assert_eq!(store.get(&ItemKey::state("p", "000")).await.unwrap(), None, "{what}");
    }
    let keys: Vec<ItemKey> = (0..=MAX_BATCH).map(|n| ItemKey::state("p", n.to_string())).collect();
    assert_limit(store.batch_get(&keys).await, "101 keys");
    let twice = ["0", "1", "0"].map(|sort| ItemKey::state("p", sort));
    assert_limit(store.batch_get(&twice).await, "a key twice");
}

pub async fn the_largest_writes_are_taken(suite: &Suite) {
    let store = suite.store();
    let size = MAX_TRANSACTION / MAX_BATCH;
    let puts: Vec<Put> = (0..MAX_BATCH).map(|n| absent(item(&n.to_string(), &"x".repeat(size)))).collect();
    let keys: Vec<ItemKey> = puts.iter().map(|put| put.item.key.clone()).collect();
    store.transact(puts).await.unwrap();
    let found = store.batch_get(&keys).await.unwrap();
    assert!(found.0.len() == MAX_BATCH && found.0.iter().all(|stored| stored.item.body.len() == size));
    let largest = put(&*store, item("largest", &"y".repeat(MAX_ITEM)), Expect::Absent).await;
    assert_eq!(store.get(&largest.item.key).await.unwrap(), Some(largest));
}

pub async fn the_journal_is_append_only(suite: &Suite) {
    let store = suite.store();
    let record = |body: &str| Item { key: ItemKey::journal("day", "rec"), ..item("", body) };
    let first = put(&*store, record("1"), Expect::Absent).await;
    assert_limit(store.put_if(record("2"), Expect::Current(first.revision)).await, "replacing a record");
    let mixed = vec![absent(item("a", "")), Put { item: record("2"), expect: Expect::Current(first.revision) }];
    assert_limit(store.transact(mixed).await, "replacing a record beside an item");
    assert_conflict(store.put_if(record("2"), Expect::Absent).await, &first.item.key);
    assert_eq!(store.get(&first.item.key).await.unwrap(), Some(first));
    assert_eq!(store.get(&ItemKey::state("p", "a")).await.unwrap(), None);
}
