use super::*;

const TEXTS: [&str; 12] = ["", "\0", "\0\0", "\0\u{1}", "\u{1}", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "\u{10ffff}"];

#[test]
fn the_order_in_an_index_is_that_of_sort_then_main_key() {
    let mut places = Vec::new();
    for sort in TEXTS {
        for partition in TEXTS {
            for main in TEXTS {
                let key = ItemKey::state(partition, main);
                places.push((Position { sort: sort.to_owned(), key: key.clone() }, index_sort(sort, &key)));
            }
        }
    }
    places.sort();
    assert!(places.is_sorted_by(|(_, a), (_, b)| a.as_bytes() < b.as_bytes()));
    for (position, written) in &places {
        let attributes = HashMap::from([("g1s".to_owned(), AttributeValue::S(written.clone()))]);
        assert_eq!(sort_in(&attributes, "g1s").unwrap(), position.sort);
        for bound in TEXTS {
            assert_eq!(
                written.as_str() < index_start(bound).as_str(),
                position.sort.as_str() < bound,
                "{position:?} {bound:?}"
            );
        }
    }
}

#[test]
fn an_item_is_read_back_as_it_was_written() {
    let entry = |index, sort: &str| IndexEntry { index, partition: "i:\0".into(), sort: sort.into() };
    let item = Item {
        key: ItemKey::journal("", "s\0"),
        body: String::new(),
        indexes: vec![entry(Index::Second, ""), entry(Index::Fourth, "\0\0")],
        expires_at: Some(Timestamp::from_millisecond(-1_234).unwrap()),
    };
    let written = attributes(&item, Revision(u64::MAX), Some(&[7; 16]));
    assert_eq!(stored(Table::Journal, &written).unwrap(), Stored::new(item, Revision(u64::MAX)));
    assert!(has_mark(&written, &[7; 16]) && !has_mark(&written, &[8; 16]));
}

#[test]
fn dynamodb_removes_nothing_before_it_expires() {
    for (ms, seconds) in [(0, "0"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (-1, "0"), (-1000, "-1")] {
        assert_eq!(ttl(Timestamp::from_millisecond(ms).unwrap()), AttributeValue::N(seconds.to_owned()), "{ms}");
    }
}

#[test]
fn what_somebody_else_wrote_is_no_item() {
    let item = Item { key: ItemKey::state("p", "s"), body: "{}".into(), indexes: vec![], expires_at: None };
    let ours = attributes(&item, Revision(1), None);
    stored(Table::State, &ours).unwrap();
    let wrong = [
        ("pk", AttributeValue::S("n:p".into())),
        ("sk", AttributeValue::S("s".into())),
        ("body", AttributeValue::Null(true)),
        ("rev", AttributeValue::N("1.5".into())),
        ("g1p", AttributeValue::S(":i".into())),
        ("exp", AttributeValue::S("1".into())),
    ];
    for (name, value) in wrong {
        let mut attributes = ours.clone();
        attributes.insert(name.to_owned(), value);
        assert!(matches!(stored(Table::State, &attributes), Err(StoreError::Unavailable { .. })), "{name}");
    }
}

#[test]
fn keys_too_long_for_dynamodb_are_refused() {
    let item = |partition: usize, sort: usize, indexed: usize| Item {
        key: ItemKey::state("p".repeat(partition), "s".repeat(sort)),
        body: String::new(),
        indexes: vec![IndexEntry { index: Index::First, partition: "i".into(), sort: "s".repeat(indexed) }],
        expires_at: None,
    };
    let table = [
        (2046, 1, 0, false),
        (100, 400, 400, true),
        (100, 400, 519, true),
        (100, 400, 520, false),
        (1, 1022, 0, false),
        (1, 1023, 0, false),
    ];
    for (partition, sort, indexed, good) in table {
        assert_eq!(check(&item(partition, sort, indexed)).is_ok(), good, "{partition} {sort} {indexed}");
    }
    let bare = |partition, sort| Item { indexes: vec![], ..item(partition, sort, 0) };
    for (partition, sort, good) in [(2046, 1022, true), (2047, 0, false), (0, 1023, false)] {
        assert_eq!(check(&bare(partition, sort)).is_ok(), good, "{partition} {sort}");
    }
}
