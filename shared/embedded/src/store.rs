//! The storage port on SQLite: `store.sqlite` in the data folder, for one process at a time.
//!
//! All writes go through one thread, which commits those that wait together: one flush serves them all. Reads run on
//! the caller's thread, each in a snapshot begun by the read, and so see every commit that was answered before.
//! It does not expire items by itself: somebody calls [`SqliteStore::sweep_expired`].

mod cache;
mod feed;
mod queue;
mod rows;
mod schema;
pub(crate) mod snapshot;
mod writer;

pub use schema::OpenError;

use crate::folder;
use aegis_core::ambient::Timestamp;
use aegis_core::store::{
    Add, ItemKey, Items, Page, Put, Query, Store, StoreError, check_additions, check_keys, check_limits, check_query,
};
use async_trait::async_trait;
use cache::Cache;
use feed::Tail;
use queue::{Lead, Queue, Refused};
use rusqlite::Connection;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use writer::{Job, Outcome, Work};

/// The store. Dropped, it finishes what was accepted, folds the log into the file and lets the folder go.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Idle connections; a read takes one or opens another.
    readers: Mutex<Vec<Connection>>,
    queue: Arc<Queue>,
    /// `None` only while it is being dropped.
    writer: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    cache: Arc<Cache>,
    tail: Mutex<Tail>,
    _lock: File,
}

/// What the store did since it was opened.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stats {
    /// Commits, each of which flushed once.
    pub commits: u64,
}

impl SqliteStore {
    /// Opens the store of a data folder, creating both where they are missing.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let folder_error = |source| OpenError::Folder { path: dir.to_owned(), source };
        folder::prepare(dir).map_err(folder_error)?;
        let Some(lock) = folder::try_lock(&dir.join(LOCK)).map_err(folder_error)? else {
            return Err(OpenError::InUse { path: dir.to_owned() });
        };
        Self::refuse_unfinished(dir)?;
        let path = dir.join(FILE);
        let connection = schema::open(&path)?;
        folder::sync(dir).map_err(folder_error)?;
        let commits = Arc::new(AtomicU64::new(0));
        let cache = Arc::new(Cache::new());
        let queue = Arc::new(Queue::default());
        let writer = writer::start(connection, Arc::clone(&queue), Arc::clone(&commits), Arc::clone(&cache));
        let writer = Some(writer.map_err(folder_error)?);
        let (readers, tail) = (Mutex::default(), Mutex::default());
        Ok(Self { path, readers, queue, writer, commits, cache, tail, _lock: lock })
    }

    /// Whether a restore into the folder has not finished. Writes nothing.
    pub fn refuse_unfinished(dir: &Path) -> Result<(), OpenError> {
        match dir.join(RESTORING).try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(OpenError::Unfinished { path: dir.to_owned() }),
            Err(source) => Err(OpenError::Folder { path: dir.to_owned(), source }),
        }
    }

    /// Removes the items and counters that expired, but nothing from the journal; returns how many there were. Other
    /// writes go on in between.
    pub async fn sweep_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0_u64;
        loop {
            let batch = self.write(Work::Sweep(now)).await?.iter().sum::<i64>().unsigned_abs();
            removed = removed.saturating_add(batch);
            if batch == 0 {
                return Ok(removed);
            }
        }
    }

    /// Does what dropping does, where a reader of the code should see it.
    pub fn close(self) {
        drop(self);
    }

    #[doc(hidden)]
    pub fn stats(&self) -> Stats {
        Stats { commits: self.commits.load(Ordering::Relaxed) }
    }

    async fn write(&self, work: Work) -> Outcome {
        let (answer, lead) = self.submit(work)?;
        if let Some(lead) = lead {
            lead.follow();
        }
        // A reply that never comes means that the writer ended in between.
        answer.await.unwrap_or_else(|_| Err(unavailable("the writer has stopped")))
    }

    fn submit(&self, work: Work) -> Result<(oneshot::Receiver<Outcome>, Option<Lead>), StoreError> {
        let (reply, answer) = oneshot::channel();
        let lead = self.queue.push(Job { work, reply }).map_err(|refused| match refused {
            Refused::Closed => unavailable("the writer has stopped"),
            Refused::Full => unavailable("too many writes are waiting"),
        })?;
        Ok((answer, lead))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| schema::open_reader(&self.path), Ok).map_err(unavailable)?;
        // After an error the connection is dropped, with whatever transaction it was in.
        let result = read(&connection).map_err(unavailable)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        check_keys(keys)?;
        let ticket = match self.cache.find(keys) {
            Ok(found) => return Ok(found),
            Err(ticket) => ticket,
        };
        let found = self.read(|connection| rows::batch_get(connection, keys))?;
        self.cache.keep(ticket, keys, &found);
        Ok(found)
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        check_additions(additions)?;
        match additions.is_empty() {
            true => Ok(Vec::new()),
            false => self.write(Work::Add(additions.to_vec())).await,
        }
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        check_limits(&puts)?;
        self.write(Work::Transact(puts)).await.map(drop)
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        check_query(query)?;
        self.read(|connection| rows::query(connection, query))
    }

    /// One file takes what it takes, wherever in it: more partitions would only mean more pages to write.
    fn spread(&self) -> u8 {
        1
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // First, so that the writer is the last to close: that is what removes the log.
        self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.queue.close();
        if self.writer.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("store writer panicked");
        }
    }
}

/// Whether the folder has a store that anything was ever written to.
pub(crate) fn is_stored(dir: &Path) -> std::io::Result<bool> {
    match std::fs::metadata(dir.join(FILE)) {
        Ok(file) => Ok(file.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable { source: source.into() }
}

pub(crate) const FILE: &str = "store.sqlite";
/// Held by whoever uses the store.
pub(crate) const LOCK: &str = "lock";
/// The store of a restore that has not finished.
pub(crate) const RESTORING: &str = "store.sqlite.restoring";

#[cfg(test)]
mod tests;
