//! What the network and a busy DynamoDB do to calls: before a write was made, and after.

use crate::network::{Fault, Network};
use crate::tables;
use aegis_aws::store::DynamoStore;
use aegis_core::ambient::Timestamp;
use aegis_core::store::{
    Add, Expect, Item, ItemKey, MAX_ITEM, MAX_PAGE, Order, Position, Put, Query, Revision, Store, StoreError, Table,
};
use aws_sdk_dynamodb::types::AttributeValue;

fn answer(code: &str, more: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}"{more}}}"#)
}

fn refused(code: &str) -> Fault {
    Fault::Answer(400, answer(code, ""))
}

/// For a reason an item, in their order.
fn cancelled(reasons: [&str; 2]) -> Fault {
    let [first, second] = reasons.map(|code| format!(r#"{{"Code":"{code}"}}"#));
    let reasons = format!(r#","CancellationReasons":[{first},{second}]"#);
    Fault::Answer(400, answer("TransactionCanceledException", &reasons))
}

fn busy() -> Fault {
    refused("ProvisionedThroughputExceededException")
}

/// Everything after which it is unknown whether a request was carried out, by whether it was.
fn doubts() -> [(Fault, bool); 4] {
    let broken = answer("InternalServerError", "");
    [
        (Fault::LostRequest, false),
        (Fault::Answer(500, broken.clone()), false),
        (Fault::LostAnswer, true),
        (Fault::FalseAnswer(500, broken), true),
    ]
}

fn item(sort: &str, body: &str) -> Item {
    Item { key: ItemKey::state("p", sort), body: body.into(), indexes: vec![], expires_at: None }
}

fn record(sort: &str) -> Item {
    Item { key: ItemKey::journal("p", sort), ..item("", "{}") }
}

fn add(sort: &str, by: i64) -> Add {
    Add { counter: ItemKey::state("n", sort), by, expires_at: None }
}

fn whole(partition: &str) -> Query {
    Query {
        table: Table::State,
        index: None,
        partition: partition.into(),
        from: None,
        below: None,
        order: Order::Ascending,
        limit: 5,
        after: None,
    }
}

async fn both() -> (DynamoStore, Network) {
    let network = Network::default();
    let store = tables::store(&network).await;
    network.asked();
    (store, network)
}

fn conflicts<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Conflict { .. })), "{result:?}");
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_made_once_and_is_its_own() {
    let (store, network) = both().await;
    for (n, (fault, _)) in doubts().into_iter().enumerate() {
        let sort = n.to_string();
        network.plan("PutItem", [fault.clone(), busy(), fault.clone()]);
        assert_eq!(store.put_if(item(&sort, "1"), Expect::Absent).await.unwrap(), Revision(1), "{fault:?}");
        network.plan("PutItem", [fault.clone()]);
        let second = store.put_if(item(&sort, "2"), Expect::Current(Revision(1))).await;
        assert_eq!(second.unwrap(), Revision(2), "{fault:?}");
        let stored = store.get(&ItemKey::state("p", &*sort)).await.unwrap().unwrap();
        assert_eq!((stored.item.body.as_str(), stored.revision), ("2", Revision(2)), "{fault:?}");

        network.plan("PutItem", [fault.clone()]);
        store.put_if(record(&sort), Expect::Absent).await.unwrap();
        conflicts(store.put_if(record(&sort), Expect::Absent).await);
    }
}

/// Two who write the same are two all the same.
#[tokio::test]
async fn a_put_that_another_writer_preceded_is_not_taken_for_its_own() {
    let (store, network) = both().await;
    store.put_if(item("a", "1"), Expect::Absent).await.unwrap();
    network.asked();
    conflicts(store.put_if(item("a", "1"), Expect::Absent).await);
    assert_eq!(network.asked(), ["PutItem"], "a refusal is final");
    // In doubt it could have been written and replaced since, so that nothing may be said of it.
    for (fault, _) in doubts() {
        network.plan("PutItem", [fault]);
        unavailable(store.put_if(item("a", "1"), Expect::Absent).await);
    }
    assert_eq!(store.get(&ItemKey::state("p", "a")).await.unwrap().unwrap().revision, Revision(1));
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_made_once() {
    let (store, network) = both().await;
    for (n, (fault, _)) in doubts().into_iter().enumerate() {
        let [a, b] = ["a", "b"].map(|name| item(&format!("{name}{n}"), "1"));
        let puts: Vec<Put> =
            [a.clone(), b, record(&n.to_string())].map(|item| Put { item, expect: Expect::Absent }).into();
        network.plan("TransactWriteItems", [fault.clone(), busy(), fault.clone()]);
        store.transact(puts.clone()).await.unwrap();
        let keys: Vec<ItemKey> = puts.iter().map(|put| put.item.key.clone()).collect();
        assert_eq!(store.batch_get(&keys).await.unwrap().0.len(), 3, "{fault:?}");

        network.plan("TransactWriteItems", [fault.clone()]);
        conflicts(store.transact(puts).await);
        assert_eq!(store.get(&a.key).await.unwrap().unwrap().revision, Revision(1));
    }
}

#[tokio::test]
async fn an_addition_whose_answer_is_lost_is_made_at_most_once_and_not_reported() {
    let (store, network) = both().await;
    for (n, (fault, made)) in doubts().into_iter().enumerate() {
        let sort = n.to_string();
        network.plan("UpdateItem", [fault.clone()]);
        unavailable(store.add(&[add(&sort, 5)]).await);
        let want = if made { 6 } else { 1 };
        assert_eq!(store.add(&[add(&sort, 1)]).await.unwrap(), [want], "{fault:?}");
    }
}

#[tokio::test]
async fn what_dynamodb_is_too_busy_for_is_asked_again() {
    let (store, network) = both().await;
    let conflict = refused("TransactionConflictException");
    network.plan("PutItem", [busy(), conflict.clone(), busy()]);
    store.put_if(item("a", "1"), Expect::Absent).await.unwrap();
    network.plan("UpdateItem", [busy(), conflict]);
    assert_eq!(store.add(&[add("a", 2)]).await.unwrap(), [2]);
    let at_once = cancelled(["None", "TransactionConflict"]);
    let throttled = cancelled(["ProvisionedThroughputExceeded", "ThrottlingError"]);
    network.plan("TransactWriteItems", [at_once, refused("TransactionInProgressException"), throttled]);
    let puts = ["b", "c"].map(|sort| Put { item: item(sort, "1"), expect: Expect::Absent });
    store.transact(puts.to_vec()).await.unwrap();
    assert_eq!(network.asked().len(), 4 + 3 + 4);
}

#[tokio::test]
async fn a_conflict_is_told_though_others_of_the_transaction_were_busy() {
    let (store, network) = both().await;
    network.plan("TransactWriteItems", [cancelled(["TransactionConflict", "ConditionalCheckFailed"])]);
    let puts = ["a", "b"].map(|sort| Put { item: item(sort, "1"), expect: Expect::Absent });
    match store.transact(puts.to_vec()).await {
        Err(StoreError::Conflict { key }) => assert_eq!(key, puts[1].item.key),
        other => panic!("{other:?}"),
    }
    network.plan("TransactWriteItems", [cancelled(["None", "ValidationError"])]);
    unavailable(store.transact(puts.to_vec()).await);
    assert_eq!(network.asked().len(), 2, "neither is tried again");
}

#[tokio::test]
async fn a_store_that_stays_busy_is_unavailable_in_the_end() {
    let (store, network) = both().await;
    network.plan("PutItem", std::iter::repeat_n(busy(), 8));
    unavailable(store.put_if(item("a", "1"), Expect::Absent).await);
    assert_eq!(network.asked().len(), 8);
    network.plan("PutItem", [refused("AccessDeniedException")]);
    unavailable(store.put_if(item("a", "1"), Expect::Absent).await);
    assert_eq!(network.asked().len(), 1, "what is not allowed is not asked again");
    store.put_if(item("a", "1"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn reads_are_asked_again_whatever_became_of_them() {
    let (store, network) = both().await;
    store.put_if(item("a", "1"), Expect::Absent).await.unwrap();
    let key = ItemKey::state("p", "a");
    for (fault, _) in doubts() {
        for operation in ["GetItem", "BatchGetItem", "Query"] {
            network.plan(operation, [fault.clone()]);
        }
        assert!(store.get(&key).await.unwrap().is_some(), "{fault:?}");
        assert_eq!(store.batch_get(std::slice::from_ref(&key)).await.unwrap().0.len(), 1, "{fault:?}");
        assert_eq!(store.query(&whole("p")).await.unwrap().items.len(), 1, "{fault:?}");
    }
    network.plan("GetItem", std::iter::repeat_n(Fault::LostRequest, 3));
    unavailable(store.get(&key).await);
}

#[tokio::test]
async fn keys_of_a_batch_that_were_not_read_are_asked_for_again() {
    let network = Network::default();
    let (store, tables) = tables::named(&network).await;
    for sort in ["a", "b"] {
        store.put_if(item(sort, "1"), Expect::Absent).await.unwrap();
    }
    network.asked();
    let rest = format!(r#"{{"{}":{{"Keys":[{{"pk":{{"S":"i:p"}},"sk":{{"S":":a"}}}}]}}}}"#, tables.state);
    let in_part = Fault::Answer(200, format!(r#"{{"Responses":{{}},"UnprocessedKeys":{rest}}}"#));
    network.plan("BatchGetItem", [in_part.clone(), in_part.clone()]);
    let keys = ["a", "b"].map(|sort| ItemKey::state("p", sort));
    let found = store.batch_get(&keys).await.unwrap();
    assert!(found.0.len() == 1 && found.find(&keys[0]).is_some(), "only the rest is asked for: {found:?}");
    network.plan("BatchGetItem", std::iter::repeat_n(in_part, 8));
    unavailable(store.batch_get(&keys).await);
    assert_eq!(network.asked().len(), 3 + 8);
}

/// DynamoDB ends a page at 1 MB, however much was asked for.
#[tokio::test]
async fn a_page_that_is_cut_short_goes_on_where_it_ended() {
    let (store, _) = both().await;
    let sorts: Vec<String> = (10..30).map(|n| n.to_string()).collect();
    for sort in &sorts {
        store.put_if(item(sort, &"x".repeat(MAX_ITEM)), Expect::Absent).await.unwrap();
    }
    for order in [Order::Ascending, Order::Descending] {
        let bounds = (Some("11".to_owned()), Some("29".to_owned()));
        let mut query = Query { from: bounds.0, below: bounds.1, order, limit: MAX_PAGE, ..whole("p") };
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let page = store.query(&query).await.unwrap();
            found.extend(page.items.into_iter().map(|stored| stored.item.key.sort));
            pages += 1;
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        found.sort();
        assert!(pages > 1 && found == sorts[1..19], "{order:?}: {pages} pages, {found:?}");
    }
}

/// The one test here that waits for a time limit of the store's.
#[tokio::test]
async fn a_write_that_is_never_answered_is_made_once() {
    let (store, network) = both().await;
    network.plan("PutItem", [Fault::NoAnswer]);
    assert_eq!(store.put_if(item("a", "1"), Expect::Absent).await.unwrap(), Revision(1));
    assert_eq!(network.asked(), ["PutItem", "PutItem"]);
}

/// Within one call nothing else may count in between.
#[tokio::test]
async fn a_counter_is_asked_once_a_call_and_never_passes_64_bits() {
    let (store, network) = both().await;
    let counts = [add("a", i64::MAX), add("b", 1), add("a", -5), add("a", 5)];
    assert_eq!(store.add(&counts).await.unwrap(), [i64::MAX, 1, i64::MAX - 5, i64::MAX]);
    assert_eq!(network.asked().len(), 2);
    for too_much in [vec![add("a", 1)], vec![add("a", 1), add("a", -1)], vec![add("c", i64::MAX), add("c", 1)]] {
        let result = store.add(&too_much).await;
        assert!(matches!(result, Err(StoreError::Limit { .. })), "{too_much:?}: {result:?}");
    }
    assert_eq!(store.add(&[add("a", -1), add("c", 0)]).await.unwrap(), [i64::MAX - 1, 0]);
}

#[tokio::test]
async fn an_expiry_is_set_where_a_counter_is_made_and_never_after() {
    let network = Network::default();
    let (store, names) = tables::named(&network).await;
    let expires = |sort: &str, ms: i64| Add {
        expires_at: Some(Timestamp::from_millisecond(4_000_000_000_000 + ms).unwrap()),
        ..add(sort, 1)
    };
    store.add(&[expires("kept", 1), add("none", 1)]).await.unwrap();
    store.add(&[expires("kept", 5_000), expires("none", 0)]).await.unwrap();
    let table = [("kept", AttributeValue::N("4000000001".into())), ("none", AttributeValue::Null(true))];
    for (sort, want) in table {
        let found = tables::client(&network).await.get_item().table_name(&names.state);
        let found = found.key("pk", AttributeValue::S("n:n".into())).key("sk", AttributeValue::S(format!(":{sort}")));
        assert_eq!(found.send().await.unwrap().item.unwrap()["ttl"], want, "{sort}");
    }
}

#[tokio::test]
async fn keys_that_dynamodb_could_not_hold_are_refused_and_found_nowhere() {
    let (store, network) = both().await;
    let long = ItemKey::state("p".repeat(2047), "s");
    let limit = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Limit { .. })), "{result:?}");
    limit(store.put_if(Item { key: long.clone(), ..item("", "") }, Expect::Absent).await.map(drop));
    limit(store.add(&[Add { counter: long.clone(), ..add("", 1) }]).await.map(drop));
    assert_eq!(store.get(&long).await.unwrap(), None);
    assert!(store.batch_get(std::slice::from_ref(&long)).await.unwrap().0.is_empty());
    assert!(store.query(&Query { partition: long.partition, ..whole("p") }).await.unwrap().items.is_empty());
    assert!(network.asked().is_empty());
    let longest = ItemKey::state("p".repeat(2046), "s".repeat(1022));
    store.put_if(Item { key: longest.clone(), ..item("", "") }, Expect::Absent).await.unwrap();
    let after = Some(Position { sort: longest.sort.clone(), key: longest.clone() });
    let rest = Query { partition: longest.partition, after, ..whole("") };
    assert!(store.query(&rest).await.unwrap().items.is_empty());
}
