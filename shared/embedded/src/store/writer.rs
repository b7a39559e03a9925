//! The one thread that writes. It takes all the work that waits, does each piece in a savepoint of one transaction,
//! commits once, and only then answers. A piece that is refused or fails undoes itself and nothing else.

use super::{rows, unavailable};
use aegis_core::ambient::Timestamp;
use aegis_core::store::{Add, Put, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

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
    Hold(oneshot::Sender<()>, std::sync::mpsc::Receiver<()>),
}

/// The thread ends when every sender is gone and the queue is empty. Closing the last connection folds the log into the
/// file.
pub(super) fn start(
    connection: Connection,
    commits: Arc<AtomicU64>,
) -> io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (sender, queue) = mpsc::channel(QUEUE);
    let thread =
        std::thread::Builder::new().name("aegis-store".into()).spawn(move || run(connection, queue, &commits))?;
    Ok((sender, thread))
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Job>, commits: &AtomicU64) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        let (work, replies): (Vec<Work>, Vec<_>) = group.into_iter().map(|job| (job.work, job.reply)).unzip();
        match commit(&mut connection, work) {
            Ok(results) => {
                commits.fetch_add(1, Ordering::Relaxed);
                // Who stopped waiting needs no answer.
                replies.into_iter().zip(results).for_each(|(reply, result)| drop(reply.send(result)));
            }
            Err(error) => {
                tracing::error!(error = &*error, "store commit failed");
                let error = Arc::<dyn Error + Send + Sync>::from(error);
                replies.into_iter().for_each(|reply| drop(reply.send(Err(unavailable(Arc::clone(&error))))));
            }
        }
    }
}

/// `Err` only if nothing of the group was written, or nobody knows.
fn commit(connection: &mut Connection, work: Vec<Work>) -> Result<Vec<Outcome>, Cause> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(work.len());
    for work in work {
        results.push(attempt(&transaction, work)?);
    }
    transaction.commit()?;
    Ok(results)
}

/// `Err` where the whole transaction is gone, as after a failed write to a full disk.
fn attempt(transaction: &Transaction<'_>, work: Work) -> Result<Outcome, Cause> {
    let run = |sql| transaction.prepare_cached(sql)?.execute([]).map(drop);
    run("SAVEPOINT piece")?;
    let outcome = perform(transaction, work);
    if outcome.is_err()
        && let Err(gone) = run("ROLLBACK TO piece")
    {
        // There is no savepoint any more; why not, the piece knows.
        return Err(match outcome {
            Err(StoreError::Unavailable { source }) => source,
            _ => gone.into(),
        });
    }
    run("RELEASE piece")?;
    Ok(outcome)
}

fn perform(connection: &Connection, work: Work) -> Outcome {
    match work {
        Work::Add(additions) => additions.iter().map(|add| rows::add(connection, add)).collect(),
        Work::Sweep(now) => rows::sweep(connection, now, SWEEP).map_err(unavailable).map(|removed| vec![removed]),
        Work::Transact(puts) => {
            for put in puts {
                if !rows::put(connection, &put).map_err(unavailable)? {
                    return Err(StoreError::Conflict { key: put.item.key });
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

/// Writes that may wait; the next one is refused at once. Four full commits: a disk that flushes in 10 ms is done with
/// them in less time than a caller notices.
pub(super) const QUEUE: usize = 1024;
/// Most writes of one commit: bounds how long the first of them waits for the last.
const GROUP: usize = 256;
/// Rows a sweep removes at once from a table, so that writes get their turn.
const SWEEP: i64 = 500;
