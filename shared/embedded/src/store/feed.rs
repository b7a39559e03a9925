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

#[async_trait]
impl Feed for SqliteStore {
    async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        let bodies = self.read(|connection| bodies_after(connection, last, limit))?;
        let damaged = |source: Cause| Error::Damaged { what: "audit record", source };
        let bodies = bodies.ok_or_else(|| damaged("a consumer's last record is not in the journal".into()))?;
        bodies.iter().map(|body| serde_json::from_str(body).map_err(|error| damaged(error.into()))).collect()
    }
}

/// `None` if there is no record `last`.
fn bodies_after(
    connection: &Connection,
    last: Option<&RecordId>,
    limit: usize,
) -> rusqlite::Result<Option<Vec<String>>> {
    let row = match last {
        None => Some(0),
        Some(last) => {
            let mut row = connection.prepare_cached("SELECT rowid FROM journal WHERE partition = ?1")?;
            row.query_row([format!("{RECORDS}{last}")], |row| row.get::<_, i64>(0)).optional()?
        }
    };
    let Some(row) = row else { return Ok(None) };
    let mut bodies = connection.prepare_cached("SELECT body FROM journal WHERE rowid > ?1 ORDER BY rowid LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    bodies.query_map(params![row, limit], |row| row.get(0))?.collect::<rusqlite::Result<_>>().map(Some)
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

    async fn append(store: &SqliteStore, second: i64) -> RecordId {
        let at = Timestamp::from_second(1_790_000_000 + second).unwrap();
        let (id, request) = (RecordId::new(at, &Entropy::system()), RequestId::new(at, &Entropy::system()));
        let record = AuditRecord::new(id.clone(), at, Operation::KeySign, Plane::Rest, request);
        store.transact(vec![journal::put(store, &record).unwrap()]).await.unwrap();
        id
    }

    async fn ids(store: &SqliteStore, last: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        store.after(last, limit).await.unwrap().into_iter().map(|record| record.id).collect()
    }
}
