//! The file: its format, how it is opened, and how an older one is brought forward.

use crate::folder;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::io;
use std::path::{Path, PathBuf};

/// Why a store was not opened. Each is one sentence for whoever started the program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` is damaged; restore it from a backup", path.display())]
    Corrupted { path: PathBuf, source: rusqlite::Error },
    #[error("`{}` cannot be used as the data folder", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("`{}` was not made by aegis; choose another data folder", path.display())]
    Foreign { path: PathBuf },
    #[error("the data folder `{}` is in use by another aegis", path.display())]
    InUse { path: PathBuf },
    #[error("`{}` cannot be read or written", path.display())]
    Io { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{}` has format {found}, but this aegis knows none above {known}; use a newer aegis", path.display())]
    NewerFormat { path: PathBuf, found: i64, known: i64 },
    #[error("a restore into `{}` did not finish; run it again", path.display())]
    Unfinished { path: PathBuf },
}

/// The connection that writes.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    // Created here, for its mode; SQLite gives the same to the files beside it.
    folder::private().open(path).map_err(|error| OpenError::Io { path: path.to_owned(), source: error.into() })?;
    let sql = |error| explain(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    let found = format_of(&connection, path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sql)?;
    if mode != "wal" {
        let source = format!("the file system allows journal mode {mode} only").into();
        return Err(OpenError::Io { path: path.to_owned(), source });
    }
    connection.execute_batch(DURABLE).map_err(sql)?;
    match found {
        None => create(&mut connection).map_err(sql)?,
        Some(found) => bring_forward(&mut connection, path, found, STEPS)?,
    }
    // A page that is missing or mangled at a root shows here, not at the first request.
    connection.execute_batch(PROBE).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The format of a store, or `None` where nothing was stored yet.
pub(super) fn format_of(connection: &Connection, path: &Path) -> Result<Option<i64>, OpenError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|error| explain(path, error))?;
    let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    match (application, objects.map_err(|error| explain(path, error))?) {
        (APPLICATION, _) => number("user_version").map(Some).map_err(|error| explain(path, error)),
        // Also what is left if the power fails before the first commit.
        (0, 0) => Ok(None),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for table in ["state", "journal"] {
        transaction.execute_batch(&ITEMS.replace("{table}", table))?;
    }
    transaction.execute_batch(REST)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Applies the steps that are missing, all or none, having set aside a copy of the file.
fn bring_forward(connection: &mut Connection, path: &Path, found: i64, steps: &[&str]) -> Result<(), OpenError> {
    let sql = |error| explain(path, error);
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX).saturating_add(1);
    let done = found.checked_sub(1).and_then(|done| usize::try_from(done).ok());
    let Some(missing) = done.and_then(|done| steps.get(done..)) else {
        let path = path.to_owned();
        return Err(if found > known {
            OpenError::NewerFormat { path, found, known }
        } else {
            OpenError::Foreign { path }
        });
    };
    if missing.is_empty() {
        return Ok(());
    }
    set_aside(connection, path, found)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(sql)?;
    for step in missing {
        transaction.execute_batch(step).map_err(sql)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(sql)?;
    transaction.commit().map_err(sql)?;
    tracing::info!(from = found, to = known, "store format brought forward");
    Ok(())
}

/// Copies the file to `store.sqlite.v{format}.bak`, durably, or leaves none of that name half written.
fn set_aside(connection: &Connection, path: &Path, format: i64) -> Result<(), OpenError> {
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(|error| explain(path, error))?;
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".v{format}.{end}"));
        PathBuf::from(name)
    };
    let copy = || -> io::Result<()> {
        let mut backup = folder::private().truncate(true).open(named("new"))?;
        io::copy(&mut std::fs::File::open(path)?, &mut backup)?;
        backup.sync_all()?;
        std::fs::rename(named("new"), named("bak"))?;
        path.parent().map_or(Ok(()), folder::sync)
    };
    copy().map_err(|error| OpenError::Io { path: named("bak"), source: error.into() })
}

pub(super) fn explain(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupted { path, source: error },
        _ => OpenError::Io { path, source: error.into() },
    }
}

/// "AEGS".
const APPLICATION: i64 = 0x4145_4753;
pub(super) const FORMAT: i64 = 1;

/// Step `n` turns format `n + 1` into the next; a new step also raises [`FORMAT`] and changes [`ITEMS`] or [`REST`].
const STEPS: &[&str] = &[];

/// `FULL` flushes the log at every commit; `fullfsync` makes macOS flush past the drive's cache. `recursive_triggers`
/// lets the journal's triggers see rows removed by a `REPLACE`. Checkpoints are left to SQLite: every
/// 4,000 pages (16 MiB), because the pages that many records share are then written back once.
const DURABLE: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA recursive_triggers = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA cell_size_check = ON;";

/// An index holds its entry and then the main key: the order of the port. Text compares as bytes of UTF-8 (BINARY, the
/// default). `body` is last, so that no other column is behind it. Not WITHOUT ROWID: there a row of 1 KiB takes a page
/// of its own (measured with records of 1,000 bytes: reads 3 times, writes 2 times slower, the file 3 times larger).
const ITEMS: &str = "
    CREATE TABLE {table} (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        revision INTEGER NOT NULL,
        expires_at INTEGER,
        first_partition TEXT, first_sort TEXT,
        second_partition TEXT, second_sort TEXT,
        third_partition TEXT, third_sort TEXT,
        fourth_partition TEXT, fourth_sort TEXT,
        body TEXT NOT NULL,
        PRIMARY KEY (partition, sort)
    ) STRICT;
    CREATE INDEX {table}_first ON {table} (first_partition, first_sort, partition, sort)
        WHERE first_partition IS NOT NULL;
    CREATE INDEX {table}_second ON {table} (second_partition, second_sort, partition, sort)
        WHERE second_partition IS NOT NULL;
    CREATE INDEX {table}_third ON {table} (third_partition, third_sort, partition, sort)
        WHERE third_partition IS NOT NULL;
    CREATE INDEX {table}_fourth ON {table} (fourth_partition, fourth_sort, partition, sort)
        WHERE fourth_partition IS NOT NULL;";

const REST: &str = "
    CREATE TABLE counter (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        value INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (partition, sort)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX state_expiry ON state (expires_at) WHERE expires_at IS NOT NULL;
    CREATE INDEX counter_expiry ON counter (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;";

const PROBE: &str = "
    SELECT 1 FROM state LIMIT 1;
    SELECT 1 FROM journal LIMIT 1;
    SELECT 1 FROM counter LIMIT 1;";

/// A third off a read of 10,000 items, compared with SQLite's 2 MiB (measured).
const READER_CACHE_KIB: i64 = 16 * 1024;
/// Prepared statements kept by each connection: 8 shapes of query, on 2 tables and 5 keys, in 2 orders, are 160.
const STATEMENTS: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_steps(path: &Path, steps: &[&str]) -> Result<Connection, OpenError> {
        let mut connection = Connection::open(path).unwrap();
        let found = format_of(&connection, path)?.unwrap();
        bring_forward(&mut connection, path, found, steps)?;
        Ok(connection)
    }

    #[test]
    fn missing_steps_run_in_order_after_a_copy_was_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        drop(open(&path).unwrap());
        let steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (1)", "UPDATE a SET x = x * 10 + 2"];
        let connection = with_steps(&path, &steps).unwrap();
        assert_eq!(connection.query_row("SELECT x FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 12);
        assert_eq!(format_of(&connection, &path).unwrap(), Some(3));
        drop(connection);
        let backup = dir.path().join("store.sqlite.v1.bak");
        assert_eq!(format_of(&Connection::open(&backup).unwrap(), &backup).unwrap(), Some(1));
        with_steps(&path, &steps).unwrap();
        assert!(!dir.path().join("store.sqlite.v3.bak").exists(), "nothing was missing");
        assert!(matches!(open(&path), Err(OpenError::NewerFormat { found: 3, known: 1, .. })));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        drop(open(&path).unwrap());
        assert!(matches!(with_steps(&path, &["CREATE TABLE a (x)", "nonsense"]), Err(OpenError::Io { .. })));
        let connection = open(&path).unwrap();
        assert_eq!(format_of(&connection, &path).unwrap(), Some(1));
        assert!(connection.query_row("SELECT 1 FROM a", [], |_| Ok(())).is_err());
    }

    #[test]
    fn the_writer_flushes_every_commit() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("store.sqlite")).unwrap();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), pragma("synchronous"), pragma("recursive_triggers")), ("wal", 2, 1));
    }

    #[test]
    fn the_journal_refuses_updates_and_deletions_in_sql() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("store.sqlite")).unwrap();
        let insert = "INTO journal (partition, sort, revision, body) VALUES ('p', 's', 1, 'x')";
        connection.execute_batch(&format!("INSERT {insert}")).unwrap();
        for sql in ["UPDATE journal SET body = 'y'", "DELETE FROM journal", &format!("REPLACE {insert}")] {
            let error = connection.execute_batch(sql).unwrap_err();
            assert!(error.to_string().contains("append-only"), "{sql}: {error}");
        }
    }
}
