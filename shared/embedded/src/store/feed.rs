//! The feed of committed records. The journal is only ever added to, by one writer: the order of its rows is the order of
//! its commits, and a copy of the store keeps that order.

use super::SqliteStore;
use aegis_core::error::{Cause, Error};
use aegis_core::feed::Feed;
use aegis_core::id::RecordId;
use aegis_core::journal::RECORDS;
use aegis_core::record::AuditRecord;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

#[async_trait]
impl Feed for SqliteStore {
    async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<Arc<AuditRecord>>, Error> {
        let known = last.and_then(|last| self.tail().find(last, limit));
        let from = match known {
            Some(Found::Records(records)) => return Ok(records),
            Some(Found::Row(row)) => Some(row),
            None => self.read(|connection| row_of(connection, last))?,
        };
        let damaged = |source: Cause| Error::Damaged { what: "audit record", source };
        let from = from.ok_or_else(|| damaged("a consumer's last record is not in the journal".into()))?;
        let mut reached = from;
        loop {
            let rows = self.read(|connection| rows_after(connection, reached, limit))?;
            let Some((last, _)) = rows.last() else { return Ok(Vec::new()) };
            reached = *last;
            let read: Vec<_> = rows.iter().filter_map(|(row, body)| self.record(*row, body)).collect();
            if !read.is_empty() {
                self.tail().extend(from, &read);
                return Ok(read.into_iter().map(|(_, record)| record).collect());
            }
        }
    }
}

impl SqliteStore {
    /// One that cannot be read is passed over: else it would keep all that comes after it from everybody. That is told once.
    fn record(&self, row: i64, body: &str) -> Option<(i64, Arc<AuditRecord>)> {
        match serde_json::from_str(body) {
            Ok(record) => Some((row, Arc::new(record))),
            Err(error) => {
                if self.tail().unreadable.insert(row) {
                    tracing::error!(row, error = %error, "an audit record cannot be read, and is passed over");
                }
                None
            }
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest records that were read, without a gap: where several consumers follow the journal, the first one's reading
/// serves them all.
#[derive(Debug, Default)]
pub(super) struct Tail {
    read: VecDeque<(i64, Arc<AuditRecord>)>,
    /// Rows that were told of.
    unreadable: BTreeSet<i64>,
}

/// Records kept, some 6 MiB: what a busy second commits.
const KEPT: usize = 4_096;

enum Found {
    /// What follows.
    Records(Vec<Arc<AuditRecord>>),
    /// Nothing that follows was read yet; this is the record's row.
    Row(i64),
}

impl Tail {
    fn find(&self, last: &RecordId, limit: usize) -> Option<Found> {
        let place = self.read.iter().rposition(|(_, record)| record.id == *last)?;
        let next = self.read.range(place.saturating_add(1)..).take(limit);
        let records: Vec<_> = next.map(|(_, record)| Arc::clone(record)).collect();
        match records.is_empty() {
            false => Some(Found::Records(records)),
            true => self.read.get(place).map(|(row, _)| Found::Row(*row)),
        }
    }

    /// Takes in what was read after the row `from`. Who reads what lies further back changes nothing.
    fn extend(&mut self, from: i64, read: &[(i64, Arc<AuditRecord>)]) {
        let newest = self.read.back().map(|(row, _)| *row);
        if newest.is_some_and(|newest| newest < from) {
            self.read.clear();
        }
        if newest.is_none_or(|newest| newest <= from) {
            self.read.extend(read.iter().cloned());
            self.read.drain(..self.read.len().saturating_sub(KEPT));
        }
    }
}

/// `None` if there is no record `last`.
fn row_of(connection: &Connection, last: Option<&RecordId>) -> rusqlite::Result<Option<i64>> {
    let Some(last) = last else { return Ok(Some(0)) };
    let mut row = connection.prepare_cached("SELECT rowid FROM journal WHERE partition = ?1")?;
    row.query_row([format!("{RECORDS}{last}")], |row| row.get(0)).optional()
}

fn rows_after(connection: &Connection, row: i64, limit: usize) -> rusqlite::Result<Vec<(i64, String)>> {
    let sql = "SELECT rowid, body FROM journal WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = connection.prepare_cached(sql)?;
    rows.query_map(params![row, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::ambient::{Entropy, Timestamp};
    use aegis_core::id::RequestId;
    use aegis_core::journal;
    use aegis_core::operation::Operation;
    use aegis_core::record::Plane;
    use aegis_core::store::Store;

    #[tokio::test]
    async fn records_come_in_the_order_of_their_commits_whatever_their_times() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let mut written = Vec::new();
        for second in [50, 10, 30, 20, 40] {
            written.push(append(&store, second).await);
        }
        assert_eq!(ids(&store, None, 9).await, written);
        assert_eq!(ids(&store, None, 2).await, written[..2]);
        assert_eq!(ids(&store, Some(&written[1]), 2).await, written[2..4]);
        assert!(ids(&store, written.last(), 9).await.is_empty());
        let unknown = RecordId::new(Timestamp::UNIX_EPOCH, &Entropy::system());
        assert!(matches!(store.after(Some(&unknown), 9).await, Err(Error::Damaged { .. })));
    }

    #[tokio::test]
    async fn whoever_reads_first_and_however_far_everybody_is_handed_every_record_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let mut written = Vec::new();
        let mut consumers: [Vec<RecordId>; 3] = Default::default();
        for turn in 0..60 {
            written.push(append(&store, turn).await);
            // One keeps up, one reads every third turn, one a little now and then.
            for (consumer, (every, limit)) in consumers.iter_mut().zip([(1, 9), (3, 2), (7, 11)]) {
                if turn % every == 0 {
                    let read = ids(&store, consumer.last(), limit).await;
                    consumer.extend(read);
                }
            }
        }
        for consumer in &mut consumers {
            while let Some(read) = Some(ids(&store, consumer.last(), 5).await).filter(|read| !read.is_empty()) {
                consumer.extend(read);
            }
            assert_eq!(*consumer, written);
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_keeps_nothing_from_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let mut written = Vec::new();
        for second in 0..6 {
            written.push(append(&store, second).await);
        }
        // The second, the third and the last.
        let damage = [1, 2, 5].map(|place: usize| format!("{RECORDS}{}", written[place]));
        let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
        // The store itself lets nobody do this.
        connection.execute_batch("DROP TRIGGER journal_no_update").unwrap();
        for partition in damage {
            connection.execute("UPDATE journal SET body = 'x' WHERE partition = ?1", [partition]).unwrap();
        }
        let readable = [0, 3, 4].map(|place: usize| written[place].clone());
        for limit in [1, 2, 9] {
            let mut seen: Vec<RecordId> = Vec::new();
            while let Some(read) = Some(ids(&store, seen.last(), limit).await).filter(|read| !read.is_empty()) {
                seen.extend(read);
            }
            assert_eq!(seen, readable, "{limit} at once");
        }
        let next = append(&store, 6).await;
        assert_eq!(ids(&store, Some(&readable[2]), 9).await, [next]);
        assert_eq!(store.tail().unreadable.len(), 3);
    }

    #[test]
    fn the_tail_has_no_gap_and_an_end() {
        let row = |row: i64| {
            let (at, entropy) = (Timestamp::from_second(row).unwrap(), Entropy::system());
            let (id, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
            (row, Arc::new(AuditRecord::new(id, at, Operation::KeySign, Plane::Rest, request)))
        };
        let rows = |tail: &Tail| tail.read.iter().map(|(row, _)| *row).collect::<Vec<_>>();
        let mut tail = Tail::default();
        tail.extend(0, &[row(1), row(2)]);
        tail.extend(0, &[row(1), row(2), row(3)]);
        assert_eq!(rows(&tail), [1, 2], "what lies further back is left");
        tail.extend(2, &[row(3)]);
        assert_eq!(rows(&tail), [1, 2, 3]);
        tail.extend(5, &[row(6)]);
        assert_eq!(rows(&tail), [6], "no gap");
        tail.extend(6, &(7..20_000).map(row).collect::<Vec<_>>());
        assert_eq!((tail.read.len(), tail.read.back().map(|(row, _)| *row)), (KEPT, Some(19_999)));
    }

    async fn append(store: &SqliteStore, second: i64) -> RecordId {
        let at = Timestamp::from_second(1_790_000_000 + second).unwrap();
        let (id, request) = (RecordId::new(at, &Entropy::system()), RequestId::new(at, &Entropy::system()));
        let record = AuditRecord::new(id.clone(), at, Operation::KeySign, Plane::Rest, request);
        store.transact(vec![journal::put(store, &record).unwrap()]).await.unwrap();
        id
    }

    async fn ids(store: &SqliteStore, last: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        store.after(last, limit).await.unwrap().iter().map(|record| record.id.clone()).collect()
    }
}
