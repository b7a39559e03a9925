//! A copy of the store as of one moment, made while a server writes to it, and what a copy holds. Neither takes the
//! folder's lock.

use super::schema::{FORMAT, OpenError, explain, format_of, open_reader};
use super::{FILE, rows};
use aegis_core::agent::AgentState;
use aegis_core::ambient::Timestamp;
use aegis_core::deployment::Deployment;
use aegis_core::id::RecordId;
use aegis_core::journal::RECORDS;
use aegis_core::repository::{ALL_AGENTS, ALL_KEYS, decode, deployment_item};
use rusqlite::Connection;
use std::error::Error;
use std::path::Path;

/// What a copy holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) format: i64,
    pub(crate) deployment: Deployment,
    pub(crate) keys: u64,
    pub(crate) agents: u64,
    pub(crate) active_agents: u64,
    pub(crate) records: u64,
    pub(crate) newest_record: Option<Timestamp>,
}

/// Writes the folder's store, as of one moment, to `to`: an empty file with a path from the root. Others go on writing
/// meanwhile; their log grows until this has ended.
pub(crate) fn take(dir: &Path, to: &Path) -> Result<(), OpenError> {
    let path = dir.join(FILE);
    let io = |source: Box<dyn Error + Send + Sync>| OpenError::Io { path: to.to_owned(), source };
    // SQLite takes text here, no bytes.
    let name = to.to_str().ok_or_else(|| io("its path is not UTF-8".into()))?;
    let connection = open_reader(&path).map_err(|error| explain(&path, error))?;
    known_format(&connection, &path)?;
    // One read transaction, which writers do not wait for. What it writes is not flushed: a copy that a power cut
    // leaves is made anew.
    connection.execute("VACUUM INTO ?1", [name]).map(drop).map_err(|error| explain(&path, error))
}

/// Checks every page and index of a copy that nobody writes to, and counts what it holds.
///
/// # Errors
/// A format that is too new, or what is wrong.
pub(crate) fn inspect(path: &Path) -> Result<Contents, Box<dyn Error + Send + Sync>> {
    let connection = open_reader(path)?;
    let format = known_format(&connection, path)?;
    let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(finding.into());
    }
    let stored = rows::get(&connection, &deployment_item())?.ok_or("the deployment's own item is missing")?;
    let count = |sql: &str, values: &[&str]| -> rusqlite::Result<u64> {
        let values = rusqlite::params_from_iter(values);
        connection.query_row(sql, values, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    let all = "SELECT count(*) FROM state WHERE first_partition = ?1";
    let in_state = "SELECT count(*) FROM state WHERE first_partition = ?1 AND body ->> '$.state' = ?2";
    let records = "SELECT count(*), max(partition) FROM journal WHERE partition > ?1 AND partition < ?2";
    // The sign that follows the slash ends the range.
    let range = [RECORDS.to_owned(), RECORDS.replace('/', "0")];
    let (records, newest) = connection.query_row(records, range, |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Option<String>>(1)?))
    })?;
    let newest = newest.as_deref().and_then(|partition| partition.strip_prefix(RECORDS));
    Ok(Contents {
        format,
        deployment: decode(&stored)?.value,
        keys: count(all, &[ALL_KEYS])?,
        agents: count(all, &[ALL_AGENTS])?,
        active_agents: count(in_state, &[ALL_AGENTS, AgentState::Active.as_str()])?,
        records,
        newest_record: newest.and_then(|id| RecordId::try_from(id.to_owned()).ok()).map(|id| id.at()),
    })
}

fn known_format(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    match format_of(connection, path)? {
        Some(found) if found > FORMAT => Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
        Some(found) if found >= 1 => Ok(found),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use aegis_core::store::Expect;

    /// A copy with a deployment in it, and what `sql` does to it.
    fn inspected(sql: &str) -> Result<Contents, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        let connection = schema::open(&path).unwrap();
        let deployment = Deployment {
            id: "dep_1".into(),
            epoch: 1,
            created_at: Timestamp::UNIX_EPOCH,
            policy_version: 1,
            rules_version: 0,
            humans_from: None,
        };
        let put = aegis_core::repository::Document::put(&deployment, Expect::Absent).unwrap();
        assert!(rows::put(&connection, &put).unwrap());
        connection.execute_batch(sql).unwrap();
        drop(connection);
        inspect(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn it_counts_what_a_copy_holds() {
        let record = RecordId::floor(Timestamp::from_second(1_790_000_000).unwrap());
        let insert = |table: &str, partition: &str, all: &str, body: &str| {
            format!(
                "INSERT INTO {table} (partition, sort, revision, first_partition, first_sort, body) \
                 VALUES ('{partition}', 's', 1, '{all}', 's', '{body}');"
            )
        };
        let sql = [
            insert("state", "key/1", ALL_KEYS, "{}"),
            insert("state", "agent/1", ALL_AGENTS, r#"{"state":"active"}"#),
            insert("state", "agent/2", ALL_AGENTS, r#"{"state":"frozen"}"#),
            insert("state", "agent/3", ALL_AGENTS, r#"{"state":"revoked"}"#),
            insert("journal", &format!("{RECORDS}{}", RecordId::floor(Timestamp::UNIX_EPOCH)), "all/0/0", "{}"),
            insert("journal", &format!("{RECORDS}{record}"), "all/1/0", "{}"),
            insert("journal", "zzz", "other", "{}"),
        ];
        let Contents { format, keys, agents, active_agents, records, newest_record, .. } =
            inspected(&sql.concat()).unwrap();
        assert_eq!((format, keys, agents, active_agents, records), (FORMAT, 1, 3, 1, 2));
        assert_eq!(newest_record, Some(record.at()));
    }

    #[test]
    fn what_is_wrong_with_a_copy_is_told() {
        // A row that the altered schema does not allow: only a look at every row finds it.
        let not_null = "PRAGMA writable_schema = ON; UPDATE sqlite_schema \
                        SET sql = replace(sql, 'expires_at INTEGER', 'expires_at INTEGER NOT NULL')";
        for (sql, said) in [
            ("DELETE FROM state", "the deployment's own item is missing"),
            ("PRAGMA user_version = 99", "has format 99"),
            ("PRAGMA user_version = 0", "was not made by aegis"),
            (not_null, "NULL value in"),
        ] {
            let error = inspected(sql).unwrap_err();
            assert!(error.contains(said), "{sql}: {error}");
        }
    }
}
