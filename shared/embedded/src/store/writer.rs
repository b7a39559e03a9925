//! The one thread that writes. It takes all the work that waits, does each piece in one transaction, commits once, and
//! only then answers. A piece that is refused or fails undoes itself and nothing else.

use super::cache::Cache;
use super::queue::{Answers, Group, Queue};
use super::{rows, unavailable};
use aegis_core::ambient::Timestamp;
use aegis_core::store::{Add, Put, StoreError, Table};
use rusqlite::Connection;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
#[cfg(test)]
use tokio::sync::mpsc;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    /// What the counters became, or how many rows a sweep removed.
    pub(super) reply: oneshot::Sender<Outcome>,
}

pub(super) type Outcome = Result<Vec<i64>, StoreError>;
type Cause = Box<dyn Error + Send + Sync>;

#[derive(Debug)]
pub(super) enum Work {
    Add(Vec<Add>),
    Sweep(Timestamp),
    Transact(Vec<Put>),
    /// Says that it was taken up, then keeps the writer until told to go on.
    #[cfg(test)]
    Hold(mpsc::UnboundedSender<()>, std::sync::mpsc::Receiver<()>),
}

impl Work {
    fn puts(&self) -> &[Put] {
        match self {
            Self::Transact(puts) => puts,
            _ => &[],
        }
    }
}

/// The thread ends when the queue is closed and empty. Closing the last connection folds the log into the file.
pub(super) fn start(
    connection: Connection,
    queue: Arc<Queue>,
    commits: Arc<AtomicU64>,
    cache: Arc<Cache>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("aegis-store".into()).spawn(move || {
        let queue = Abandoned(queue);
        run(connection, &queue.0, &commits, &cache);
    })
}

/// Leaves nobody waiting, should the writer end before it is told to.
struct Abandoned(Arc<Queue>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn run(connection: Connection, queue: &Queue, commits: &AtomicU64, cache: &Cache) {
    while let Some(Group { jobs, leader }) = queue.take(GROUP) {
        let (work, replies): (Vec<Work>, Vec<_>) = jobs.into_iter().map(|job| (job.work, job.reply)).unzip();
        let touches = begin(cache, &work);
        let committed = commit(&connection, &work);
        if touches {
            cache.end(written(work, committed.as_deref().unwrap_or_default()));
        }
        let answers = match committed {
            Ok(results) => {
                commits.fetch_add(1, Ordering::Relaxed);
                Answers(replies.into_iter().zip(results).collect())
            }
            Err(error) => {
                tracing::error!(error = &*error, "store commit failed");
                let error = Arc::<dyn Error + Send + Sync>::from(error);
                Answers(replies.into_iter().map(|reply| (reply, Err(unavailable(Arc::clone(&error))))).collect())
            }
        };
        // Where there is no leader, or no more, they are given here.
        let _ = leader.map(|leader| leader.send(answers));
    }
}

/// Whether the group may change items that are kept in memory; if so, they have left it.
fn begin(cache: &Cache, group: &[Work]) -> bool {
    let keys = || group.iter().flat_map(Work::puts).map(|put| &put.item.key).filter(|key| key.table == Table::State);
    match () {
        () if group.iter().any(|work| matches!(work, Work::Sweep(_))) => cache.begin_unknown(),
        () if keys().next().is_some() => cache.begin(keys()),
        () => return false,
    }
    true
}

/// What of the group is in the file now: nothing, where the commit failed or nobody knows.
fn written(group: Vec<Work>, results: &[Outcome]) -> impl Iterator<Item = Put> {
    let sweeps = group.iter().any(|work| matches!(work, Work::Sweep(_)));
    let done = group.into_iter().zip(results).filter(move |(_, result)| result.is_ok() && !sweeps);
    done.flat_map(|(work, _)| match work {
        Work::Transact(puts) => puts,
        _ => Vec::new(),
    })
}

/// `Err` only if nothing of the group was written, or nobody knows.
fn commit(connection: &Connection, group: &[Work]) -> Result<Vec<Outcome>, Cause> {
    run_kept(connection, "BEGIN IMMEDIATE")?;
    let done = all_of(connection, group);
    // Some failures end the transaction by themselves.
    if done.is_err() && !connection.is_autocommit() {
        run_kept(connection, "ROLLBACK")?;
    }
    done
}

fn all_of(connection: &Connection, group: &[Work]) -> Result<Vec<Outcome>, Cause> {
    let results = group.iter().map(|work| attempt(connection, work)).collect::<Result<_, Cause>>()?;
    run_kept(connection, "COMMIT")?;
    Ok(results)
}

/// Prepared once: parsing these words would cost more than a write.
fn run_kept(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// `Err` where the whole transaction is gone, as after a failed write to a full disk.
fn attempt(connection: &Connection, work: &Work) -> Result<Outcome, Cause> {
    let outcome = match work {
        // One statement undoes itself, and a savepoint costs as much as it does.
        Work::Transact(puts) if puts.len() == 1 => perform(connection, work),
        _ => {
            run_kept(connection, "SAVEPOINT piece")?;
            let outcome = perform(connection, work);
            // Where the transaction is gone there is no savepoint any more.
            if outcome.is_err() && !connection.is_autocommit() {
                run_kept(connection, "ROLLBACK TO piece")?;
            }
            if !connection.is_autocommit() {
                run_kept(connection, "RELEASE piece")?;
            }
            outcome
        }
    };
    match (connection.is_autocommit(), outcome) {
        (true, Err(StoreError::Unavailable { source })) => Err(source),
        (true, _) => Err("the transaction ended by itself".into()),
        (false, outcome) => Ok(outcome),
    }
}

fn perform(connection: &Connection, work: &Work) -> Outcome {
    match work {
        Work::Add(additions) => additions.iter().map(|add| rows::add(connection, add)).collect(),
        Work::Sweep(now) => rows::sweep(connection, *now, SWEEP).map_err(unavailable).map(|removed| vec![removed]),
        Work::Transact(puts) => {
            for put in puts {
                if !rows::put(connection, put).map_err(unavailable)? {
                    return Err(StoreError::Conflict { key: put.item.key.clone() });
                }
            }
            Ok(Vec::new())
        }
        #[cfg(test)]
        Work::Hold(taken, go_on) => {
            taken.send(()).unwrap();
            go_on.recv().unwrap();
            Ok(Vec::new())
        }
    }
}

/// Most writes of one commit: bounds how long the first of them waits for the last.
const GROUP: usize = 256;
/// Rows a sweep removes at once from a table, so that writes get their turn.
const SWEEP: i64 = 500;
