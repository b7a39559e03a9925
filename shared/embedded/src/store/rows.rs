//! Items, counters and queries as SQL. A connection prepares each statement once.

use super::unavailable;
use aegis_core::ambient::Timestamp;
use aegis_core::store::{
    Add, Expect, Index, IndexEntry, Item, ItemKey, Items, Order, Page, Position, Put, Query, Revision, StoreError,
    Stored, Table,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql, params};
use std::sync::Arc;

/// What [`stored`] reads, in its order.
macro_rules! columns {
    () => {
        "partition, sort, revision, expires_at, first_partition, first_sort, second_partition, second_sort, \
         third_partition, third_sort, fourth_partition, fourth_sort, body"
    };
}

macro_rules! values {
    () => {
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    };
}

pub(super) fn get(connection: &Connection, key: &ItemKey) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare_cached(match key.table {
        Table::Journal => concat!("SELECT ", columns!(), " FROM journal WHERE partition = ?1 AND sort = ?2"),
        Table::State => concat!("SELECT ", columns!(), " FROM state WHERE partition = ?1 AND sort = ?2"),
    })?;
    statement.query_row((&key.partition, &key.sort), |row| stored(key.table, row)).optional()
}

/// All in one snapshot.
pub(super) fn batch_get(connection: &Connection, keys: &[ItemKey]) -> rusqlite::Result<Items> {
    let mut found = Vec::with_capacity(keys.len());
    connection.prepare_cached("BEGIN")?.execute([])?;
    for key in keys {
        if let Some(stored) = get(connection, key)? {
            found.push(Arc::new(stored));
        }
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(Items(found))
}

/// Whether the expectation held; if not, nothing was written.
pub(super) fn put(connection: &Connection, put: &Put) -> rusqlite::Result<bool> {
    let Put { item, expect } = put;
    let mut statement = connection.prepare_cached(match (item.key.table, expect) {
        (Table::Journal, Expect::Absent) => {
            concat!("INSERT INTO journal (", columns!(), ") ", values!(), " ON CONFLICT (partition, sort) DO NOTHING")
        }
        (Table::State, Expect::Absent) => {
            concat!("INSERT INTO state (", columns!(), ") ", values!(), " ON CONFLICT (partition, sort) DO NOTHING")
        }
        (Table::State, Expect::Current(_)) => {
            "UPDATE state SET revision = ?3, expires_at = ?4, first_partition = ?5, first_sort = ?6, \
             second_partition = ?7, second_sort = ?8, third_partition = ?9, third_sort = ?10, \
             fourth_partition = ?11, fourth_sort = ?12, body = ?13 \
             WHERE partition = ?1 AND sort = ?2 AND revision = ?3 - 1"
        }
        // The limits of the port come first; were they forgotten, no record is replaced all the same.
        (Table::Journal, Expect::Current(_)) => return Ok(false),
    })?;
    let entry = |index| item.indexes.iter().find(|entry| entry.index == index);
    let [first, second, third, fourth] = INDEXES.map(entry);
    let written = statement.execute(params![
        item.key.partition,
        item.key.sort,
        i64::try_from(expect.next().0).unwrap_or(i64::MAX),
        item.expires_at.map(|at| at.as_millisecond()),
        first.map(|entry| &entry.partition),
        first.map(|entry| &entry.sort),
        second.map(|entry| &entry.partition),
        second.map(|entry| &entry.sort),
        third.map(|entry| &entry.partition),
        third.map(|entry| &entry.sort),
        fourth.map(|entry| &entry.partition),
        fourth.map(|entry| &entry.sort),
        item.body,
    ])?;
    Ok(written == 1)
}

/// The new value.
pub(super) fn add(connection: &Connection, add: &Add) -> Result<i64, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO counter (partition, sort, value, expires_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (partition, sort) DO UPDATE SET value = value + excluded.value RETURNING value",
        )
        .map_err(unavailable)?;
    let Add { counter, by, expires_at } = add;
    let expires_at = expires_at.map(|at| at.as_millisecond());
    let value = statement.query_row(params![counter.partition, counter.sort, by, expires_at], |row| row.get(0));
    value.map_err(|error| match error.sqlite_error_code() {
        // Past 64 bits the sum is no integer, which the column refuses.
        Some(ErrorCode::ConstraintViolation) => StoreError::Limit { what: "a counter holds 64 bits" },
        _ => unavailable(error),
    })
}

/// Removes at most `limit` expired items and as many counters; returns how many it did.
pub(super) fn sweep(connection: &Connection, now: Timestamp, limit: i64) -> rusqlite::Result<i64> {
    let mut removed = 0_usize;
    for table in ["state", "counter"] {
        let sql = format!(
            "DELETE FROM {table} WHERE (partition, sort) IN \
             (SELECT partition, sort FROM {table} WHERE expires_at <= ?1 LIMIT ?2)"
        );
        removed = removed.saturating_add(connection.prepare_cached(&sql)?.execute((now.as_millisecond(), limit))?);
    }
    Ok(i64::try_from(removed).unwrap_or(i64::MAX))
}

pub(super) fn query(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    // One more than was asked for tells whether more follow.
    let most = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    let (sql, mut values) = range(query);
    values.push(&most);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(&*values, |row| stored(query.table, row))?;
    let mut items = rows.collect::<rusqlite::Result<Vec<Stored>>>()?;
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let next = if more { items.last().and_then(|last| position(query, &last.item)) } else { None };
    Ok(Page { items, next })
}

/// The query and its values, all but the last: the number of rows.
fn range(query: &Query) -> (String, Vec<&dyn ToSql>) {
    let table = match query.table {
        Table::Journal => "journal",
        Table::State => "state",
    };
    let (partition, sort) = match query.index {
        None => ("partition", "sort"),
        Some(Index::First) => ("first_partition", "first_sort"),
        Some(Index::Second) => ("second_partition", "second_sort"),
        Some(Index::Third) => ("third_partition", "third_sort"),
        Some(Index::Fourth) => ("fourth_partition", "fourth_sort"),
    };
    let (direction, beyond) = match query.order {
        Order::Ascending => ("ASC", ">"),
        Order::Descending => ("DESC", "<"),
    };
    let mut sql = format!(concat!("SELECT ", columns!(), " FROM {} WHERE {} = ?"), table, partition);
    let mut values: Vec<&dyn ToSql> = vec![&query.partition];
    if let Some(from) = &query.from {
        sql.push_str(&format!(" AND {sort} >= ?"));
        values.push(from);
    }
    if let Some(below) = &query.below {
        sql.push_str(&format!(" AND {sort} < ?"));
        values.push(below);
    }
    match (&query.after, query.index) {
        (None, _) => (),
        (Some(after), None) => {
            sql.push_str(&format!(" AND sort {beyond} ?"));
            values.push(&after.sort);
        }
        (Some(after), Some(_)) => {
            sql.push_str(&format!(" AND ({sort}, partition, sort) {beyond} (?, ?, ?)"));
            values.extend([&after.sort, &after.key.partition, &after.key.sort].map(|text| -> &dyn ToSql { text }));
        }
    }
    match query.index {
        None => sql.push_str(&format!(" ORDER BY sort {direction} LIMIT ?")),
        Some(_) => {
            sql.push_str(&format!(" ORDER BY {sort} {direction}, partition {direction}, sort {direction} LIMIT ?"))
        }
    }
    (sql, values)
}

fn position(query: &Query, item: &Item) -> Option<Position> {
    let sort = match query.index {
        None => &item.key.sort,
        Some(index) => &item.indexes.iter().find(|entry| entry.index == index)?.sort,
    };
    Some(Position { sort: sort.clone(), key: item.key.clone() })
}

fn stored(table: Table, row: &Row<'_>) -> rusqlite::Result<Stored> {
    let mut indexes = Vec::new();
    for (index, column) in INDEXES.into_iter().zip([4, 6, 8, 10]) {
        if let Some(partition) = row.get(column)? {
            indexes.push(IndexEntry { index, partition, sort: row.get(column.saturating_add(1))? });
        }
    }
    let expires_at: Option<i64> = row.get(3)?;
    let item = Item {
        key: ItemKey { table, partition: row.get(0)?, sort: row.get(1)? },
        body: row.get(12)?,
        indexes,
        expires_at: expires_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
    };
    let revision: i64 = row.get(2)?;
    Ok(Stored::new(item, Revision(revision.unsigned_abs())))
}

const INDEXES: [Index; 4] = [Index::First, Index::Second, Index::Third, Index::Fourth];

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither reads a whole table nor sorts: else a page would cost as much as the table is long.
    #[test]
    fn every_query_walks_one_index() {
        let dir = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&dir.path().join("store.sqlite")).unwrap();
        let after = Position { sort: "s".into(), key: ItemKey::state("p", "s") };
        for n in 0..160_usize {
            let bit = |at: usize| n / 5 / at % 2 == 1;
            let query = Query {
                table: if bit(1) { Table::Journal } else { Table::State },
                index: [None].into_iter().chain(INDEXES.map(Some)).nth(n % 5).unwrap(),
                partition: "p".into(),
                from: bit(2).then(|| "a".into()),
                below: bit(4).then(|| "z".into()),
                order: if bit(8) { Order::Ascending } else { Order::Descending },
                limit: 10,
                after: bit(16).then(|| after.clone()),
            };
            let (sql, mut values) = range(&query);
            values.push(&10);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = statement.query_map(&*values, |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<String> = plan.map(Result::unwrap).collect();
            let seeks_sort = query.from.is_none() && query.below.is_none() && query.after.is_none()
                || plan.iter().any(|line| line.contains(">") || line.contains("<"));
            assert!(plan.len() == 1 && plan[0].starts_with("SEARCH") && seeks_sort, "{sql}: {plan:?}");
        }
    }
}
