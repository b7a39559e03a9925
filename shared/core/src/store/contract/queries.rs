//! Ranges, orders, pages and indexes.

use super::{Suite, absent, assert_limit, entry, item, put, query};
use crate::ambient::Timestamp;
use crate::store::{Expect, Index, Item, ItemKey, MAX_PAGE, Order, Query, Store, Stored, Table};

const INDEXES: [Index; 4] = [Index::First, Index::Second, Index::Third, Index::Fourth];

pub async fn a_query_walks_one_partition_in_order(suite: &Suite) {
    let store = suite.store();
    for sort in ["b", "d", "a", "c"] {
        let expires_at = Some(Timestamp::from_second(4_000_000_000).unwrap());
        let indexed = Item { indexes: vec![entry(Index::First, "i", sort)], expires_at, ..item(sort, sort) };
        put(&*store, indexed, Expect::Absent).await;
        for key in [ItemKey::state("p2", sort), ItemKey::state("", sort), ItemKey::journal("p", sort)] {
            let stranger = Item { key, indexes: vec![entry(Index::First, "i2", sort)], ..item("", "stranger") };
            put(&*store, stranger, Expect::Absent).await;
        }
    }
    let table = [
        (None, None, "abcd"),
        (Some("b"), None, "bcd"),
        (None, Some("c"), "ab"),
        (Some("b"), Some("d"), "bc"),
        (Some("bb"), Some("cc"), "c"),
        (Some("a"), Some("a"), ""),
        (Some("d"), Some("a"), ""),
        (Some("e"), None, ""),
    ];
    for (from, below, want) in table {
        let mut found = Vec::new();
        for sort in want.chars() {
            found.push(store.get(&ItemKey::state("p", sort)).await.unwrap().unwrap());
        }
        let backwards: Vec<Stored> = found.iter().rev().cloned().collect();
        for main in [query(None, "p"), query(Some(Index::First), "i")] {
            let ascending = Query { from: from.map(str::to_owned), below: below.map(str::to_owned), ..main };
            suite.finds(&ascending, &found).await;
            suite.finds(&Query { order: Order::Descending, ..ascending }, &backwards).await;
        }
    }
    for (table, partition) in [(Table::State, "absent"), (Table::Journal, "p2")] {
        suite.finds(&Query { table, ..query(None, partition) }, &[]).await;
    }
}

pub async fn sort_keys_are_in_byte_order(suite: &Suite) {
    let store = suite.store();
    // As UTF-8 bytes. In UTF-16 the last two would change places; with a collation, the cases would mix.
    let sorts =
        ["", "\u{1}", " ", "10", "2", "A", "Z", "_", "a", "a\u{0}", "aa", "z", "~", "é", "\u{ffff}", "\u{10000}"];
    let mut want = Vec::new();
    for sort in sorts {
        let indexed = Item { indexes: vec![entry(Index::Second, "i", sort)], ..item(sort, "") };
        want.push(put(&*store, indexed, Expect::Absent).await);
    }
    suite.finds(&query(None, "p"), &want).await;
    suite.finds(&query(Some(Index::Second), "i"), &want).await;
}

pub async fn pages_join_without_gaps(suite: &Suite) {
    let store = suite.store();
    // Eleven items, three to a place in the index, written in neither order.
    let mut sorts: Vec<usize> = (0..11).map(|n| n * 7 % 11).collect();
    let mut puts = Vec::new();
    for n in &sorts {
        let at = entry(Index::Fourth, "i", &format!("at{}", n / 3));
        puts.push(absent(Item { indexes: vec![at], ..item(&format!("{n:02}"), "") }));
    }
    store.transact(puts).await.unwrap();
    sorts.sort_unstable();
    let mut want = Vec::new();
    for n in sorts {
        want.push(store.get(&ItemKey::state("p", format!("{n:02}"))).await.unwrap().unwrap());
    }
    for order in [Order::Ascending, Order::Descending] {
        for limit in [1, 2, 3, 4, 10, 11, 12, MAX_PAGE] {
            for main in [query(None, "p"), query(Some(Index::Fourth), "i")] {
                suite.finds(&Query { order, limit, ..main }, &want).await;
            }
        }
        want.reverse();
    }
    // A range holds across its pages.
    let part =
        Query { from: Some("at1".into()), below: Some("at3".into()), limit: 2, ..query(Some(Index::Fourth), "i") };
    suite.finds(&part, &want[3..9]).await;
    want.reverse();
    suite.finds(&Query { order: Order::Descending, ..part }, &want[2..8]).await;
    a_page_is_full_on_the_main_key(&*store).await;
}

/// A short page is allowed, but a store that gives empty ones for ever would pass every other case.
async fn a_page_is_full_on_the_main_key(store: &dyn Store) {
    let page = store.query(&Query { limit: 3, ..query(None, "p") }).await.unwrap();
    assert!(!page.items.is_empty() && page.next.is_some());
}

pub async fn an_index_follows_its_item(suite: &Suite) {
    let store = suite.store();
    let places = [
        vec![entry(Index::First, "i", "a"), entry(Index::Second, "i", "a")],
        vec![entry(Index::First, "i", "b"), entry(Index::Second, "i", "a")],
        vec![entry(Index::First, "j", "b")],
        vec![],
        vec![entry(Index::Second, "i", "c")],
    ];
    let mut expect = Expect::Absent;
    for (step, indexes) in places.into_iter().enumerate() {
        let stored = put(&*store, Item { indexes, ..item("a", &step.to_string()) }, expect).await;
        expect = Expect::Current(stored.revision);
        for index in INDEXES {
            for partition in ["i", "j"] {
                let here = stored.item.indexes.iter().any(|e| e.index == index && e.partition == partition);
                let want = if here { vec![stored.clone()] } else { vec![] };
                suite.finds(&query(Some(index), partition), &want).await;
            }
        }
        let moved = stored.item.indexes.iter().find(|e| e.index == Index::First && e.sort == "b" && e.partition == "i");
        if moved.is_some() {
            suite.finds(&Query { below: Some("b".into()), ..query(Some(Index::First), "i") }, &[]).await;
        }
    }
}

pub async fn indexes_do_not_mix(suite: &Suite) {
    let store = suite.store();
    let everywhere = |sort: &str| INDEXES.map(|index| entry(index, &format!("{index:?}"), sort)).to_vec();
    let state = put(&*store, Item { indexes: everywhere("s"), ..item("a", "1") }, Expect::Absent).await;
    let key = ItemKey::journal("p", "a");
    let record = put(&*store, Item { key, indexes: everywhere("r"), ..item("", "2") }, Expect::Absent).await;
    for index in INDEXES {
        for partition in INDEXES {
            let own = |stored: &Stored| if index == partition { vec![stored.clone()] } else { vec![] };
            let in_state = query(Some(index), &format!("{partition:?}"));
            suite.finds(&in_state, &own(&state)).await;
            suite.finds(&Query { table: Table::Journal, ..in_state }, &own(&record)).await;
        }
    }
}

pub async fn queries_have_limits(suite: &Suite) {
    let store = suite.store();
    for limit in [0, MAX_PAGE + 1, usize::MAX] {
        for index in [None, Some(Index::First)] {
            assert_limit(store.query(&Query { limit, ..query(index, "p") }).await, "limit");
        }
    }
}
