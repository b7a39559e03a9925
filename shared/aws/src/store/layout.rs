//! How items and counters lie in a table of DynamoDB.
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `pk` | S | `i:` and the partition of an item, `n:` and that of a counter: neither is ever taken for the other |
//! | `sk` | S | `:` and the sort key, since a key may be empty here and not there |
//! | `body` | S | the body |
//! | `rev` | N | the revision |
//! | `g1p` … `g4p` | S | the partition keys of the indexes `gsi1` … `gsi4`: `:` and the partition |
//! | `g1s` … `g4s` | S | their sort keys: sort, then partition and sort of the main key, so that their order is the port's |
//! | `exp` | N | the expiry, in milliseconds |
//! | `ttl` | N | the expiry in whole seconds, never before it: what DynamoDB removes items by |
//! | `mark` | B | what only the write that put the item knows |
//! | `n` | N | a counter's value |

use super::unavailable;
use aegis_core::ambient::Timestamp;
use aegis_core::store::{Index, IndexEntry, Item, ItemKey, Position, Revision, StoreError, Stored, Table};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// Tells the write that put an item from every other.
pub(super) type Mark = [u8; 16];

pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";
pub(super) const REVISION: &str = "rev";
pub(super) const VALUE: &str = "n";
pub(super) const TTL: &str = "ttl";
const BODY: &str = "body";
const EXPIRY: &str = "exp";
const MARK: &str = "mark";

/// Where an index lies, in the words of DynamoDB.
pub(super) struct IndexNames {
    pub(super) index: Index,
    pub(super) name: &'static str,
    pub(super) partition: &'static str,
    pub(super) sort: &'static str,
}

pub(super) static INDEXES: [IndexNames; 4] = [
    IndexNames { index: Index::First, name: "gsi1", partition: "g1p", sort: "g1s" },
    IndexNames { index: Index::Second, name: "gsi2", partition: "g2p", sort: "g2s" },
    IndexNames { index: Index::Third, name: "gsi3", partition: "g3p", sort: "g3s" },
    IndexNames { index: Index::Fourth, name: "gsi4", partition: "g4p", sort: "g4s" },
];

pub(super) fn names(index: Index) -> &'static IndexNames {
    let [first, second, third, fourth] = &INDEXES;
    match index {
        Index::First => first,
        Index::Second => second,
        Index::Third => third,
        Index::Fourth => fourth,
    }
}

pub(super) fn item_partition(partition: &str) -> String {
    format!("i:{partition}")
}

pub(super) fn item_sort(sort: &str) -> String {
    format!(":{sort}")
}

pub(super) fn index_partition(partition: &str) -> String {
    format!(":{partition}")
}

/// Where the items of this sort key begin in an index.
pub(super) fn index_start(sort: &str) -> String {
    sort.replace('\0', ESCAPED_NUL)
}

/// Keeps the order of (sort, partition, main sort): each part ends below everything that could go on.
pub(super) fn index_sort(sort: &str, key: &ItemKey) -> String {
    format!("{}{END}{}{END}{}", index_start(sort), index_start(&key.partition), key.sort)
}

/// Above [`END`], below whatever else follows.
const ESCAPED_NUL: &str = "\0\u{1}";
const END: &str = "\0\0";

pub(super) fn item_key(key: &ItemKey) -> Attributes {
    keyed(item_partition(&key.partition), item_sort(&key.sort))
}

pub(super) fn counter_key(key: &ItemKey) -> Attributes {
    keyed(format!("n:{}", key.partition), item_sort(&key.sort))
}

fn keyed(partition: String, sort: String) -> Attributes {
    [(PARTITION, partition), (SORT, sort)].map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).into()
}

/// Whether the table can hold an item or a counter of this key. If not, it holds none.
pub(super) fn fits(key: &ItemKey) -> bool {
    partition_fits(&key.partition) && item_sort(&key.sort).len() <= MAX_SORT
}

pub(super) fn partition_fits(partition: &str) -> bool {
    item_partition(partition).len() <= MAX_PARTITION
}

/// DynamoDB's limit.
const MAX_PARTITION: usize = 2048;
/// One less than DynamoDB's limit, so that what comes right after a key can be named, too.
pub(super) const MAX_SORT: usize = 1023;

/// Refuses an item whose keys DynamoDB would not take.
pub(super) fn check(item: &Item) -> Result<(), StoreError> {
    let indexed =
        |entry: &IndexEntry| partition_fits(&entry.partition) && index_sort(&entry.sort, &item.key).len() <= MAX_SORT;
    match fits(&item.key) && item.indexes.iter().all(indexed) {
        true => Ok(()),
        false => Err(TOO_LONG),
    }
}

pub(super) const TOO_LONG: StoreError = StoreError::Limit { what: "a key is too long" };

/// All that is written of an item.
pub(super) fn attributes(item: &Item, revision: Revision, mark: Option<&Mark>) -> Attributes {
    let mut attributes = item_key(&item.key);
    let mut set = |name: &str, value| attributes.insert(name.to_owned(), value);
    set(BODY, AttributeValue::S(item.body.clone()));
    set(REVISION, number(revision.0));
    for entry in &item.indexes {
        let names = names(entry.index);
        set(names.partition, AttributeValue::S(index_partition(&entry.partition)));
        set(names.sort, AttributeValue::S(index_sort(&entry.sort, &item.key)));
    }
    if let Some(at) = item.expires_at {
        set(EXPIRY, number(at.as_millisecond()));
        set(TTL, ttl(at));
    }
    if let Some(mark) = mark {
        set(MARK, AttributeValue::B(Blob::new(*mark)));
    }
    attributes
}

/// The first whole second at which `at` has passed.
pub(super) fn ttl(at: Timestamp) -> AttributeValue {
    let whole = at.as_millisecond().div_euclid(1000);
    let part = i64::from(at.as_millisecond().rem_euclid(1000) > 0);
    number(whole.saturating_add(part))
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// What DynamoDB counts of an item towards its limits: the names and the values.
pub(super) fn size(attributes: &Attributes) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 1,
    };
    attributes.iter().map(|(name, held)| name.len().saturating_add(value(held))).sum()
}

pub(super) fn has_mark(attributes: &Attributes, mark: &Mark) -> bool {
    matches!(attributes.get(MARK), Some(AttributeValue::B(held)) if held.as_ref() == mark)
}

/// The item that the attributes, all of them, make up.
pub(super) fn stored(table: Table, attributes: &Attributes) -> Result<Stored, StoreError> {
    let key = key(table, attributes)?;
    let body = text(attributes, BODY)?.to_owned();
    let revision = Revision(integer(attributes, REVISION)?);
    let mut indexes = Vec::new();
    for names in INDEXES.iter().filter(|names| attributes.contains_key(names.partition)) {
        let partition = stripped(attributes, names.partition, ":")?.to_owned();
        indexes.push(IndexEntry { index: names.index, partition, sort: sort_in(attributes, names.sort)? });
    }
    let expires_at = match attributes.contains_key(EXPIRY) {
        true => Some(Timestamp::from_millisecond(integer(attributes, EXPIRY)?).map_err(unavailable)?),
        false => None,
    };
    Ok(Stored::new(Item { key, body, indexes, expires_at }, revision))
}

/// The place of an item, or of where a page ended, in the order of a query.
pub(super) fn position(table: Table, index: Option<Index>, attributes: &Attributes) -> Result<Position, StoreError> {
    let key = key(table, attributes)?;
    let sort = match index {
        None => key.sort.clone(),
        Some(index) => sort_in(attributes, names(index).sort)?,
    };
    Ok(Position { sort, key })
}

pub(super) fn key(table: Table, attributes: &Attributes) -> Result<ItemKey, StoreError> {
    let partition = stripped(attributes, PARTITION, "i:")?.to_owned();
    Ok(ItemKey { table, partition, sort: stripped(attributes, SORT, ":")?.to_owned() })
}

fn sort_in(attributes: &Attributes, name: &'static str) -> Result<String, StoreError> {
    let (sort, _) = text(attributes, name)?.split_once(END).ok_or_else(|| not_ours(name))?;
    Ok(sort.replace(ESCAPED_NUL, "\0"))
}

fn stripped<'a>(attributes: &'a Attributes, name: &'static str, prefix: &str) -> Result<&'a str, StoreError> {
    text(attributes, name)?.strip_prefix(prefix).ok_or_else(|| not_ours(name))
}

fn text<'a>(attributes: &'a Attributes, name: &'static str) -> Result<&'a str, StoreError> {
    match attributes.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(not_ours(name)),
    }
}

pub(super) fn integer<N: std::str::FromStr>(attributes: &Attributes, name: &'static str) -> Result<N, StoreError> {
    match attributes.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| not_ours(name)),
        _ => Err(not_ours(name)),
    }
}

/// Somebody else wrote into the table.
fn not_ours(name: &'static str) -> StoreError {
    unavailable(format!("the attribute `{name}` of an item is not as this store writes it"))
}

#[cfg(test)]
mod tests;
