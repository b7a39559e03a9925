//! What waits to be written, and who calls the writer. It is not called for the first write that comes, but by a task
//! that begins then, the leader of the group: it lets the tasks that are ready run before, so that those about to write get
//! into the same flush. Where there are none it calls at once. It also hands out the answers: the writer wakes one task of
//! the runtime instead of all, each of which would take the processor from it in turn where there is one.

use super::writer::{Job, Outcome};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Job>,
    /// How many jobs there have been.
    accepted: u64,
    /// Of those that wait, unless the writer left some behind.
    leader: Option<oneshot::Sender<Answers>>,
    /// Whether somebody is about to call the writer, or has.
    is_led: bool,
    is_called: bool,
    is_closed: bool,
}

/// Why a job was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    Closed,
    Full,
}

/// What is written together, and to whom the answers go.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    pub(super) leader: Option<oneshot::Sender<Answers>>,
}

/// Given once dropped, wherever that is: nobody waits for an answer that got lost.
#[derive(Debug)]
pub(super) struct Answers(pub(super) Vec<(oneshot::Sender<Outcome>, Outcome)>);

impl Drop for Answers {
    fn drop(&mut self) {
        // Who stopped waiting needs none.
        self.0.drain(..).for_each(|(reply, outcome)| drop(reply.send(outcome)));
    }
}

/// The duty to call the writer, done at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Lead {
    call: Call,
    answers: oneshot::Receiver<Answers>,
}

#[derive(Debug)]
struct Call(Arc<Queue>);

impl Queue {
    /// Takes a job; the first that waits comes with the duty to call the writer.
    pub(super) fn push(self: &Arc<Self>, job: Job) -> Result<Option<Lead>, Refused> {
        let mut inner = self.lock();
        match () {
            () if inner.is_closed => return Err(Refused::Closed),
            () if inner.jobs.len() >= MOST => return Err(Refused::Full),
            () => inner.jobs.push_back(job),
        }
        inner.accepted = inner.accepted.wrapping_add(1);
        if std::mem::replace(&mut inner.is_led, true) {
            return Ok(None);
        }
        let (leader, answers) = oneshot::channel();
        inner.leader = Some(leader);
        Ok(Some(Lead { call: Call(Arc::clone(self)), answers }))
    }

    /// At most `most` jobs, as soon as the writer is called; `None` once the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Group> {
        let inner = self.lock();
        let waits = |inner: &mut Inner| !inner.is_closed && (!inner.is_called || inner.jobs.is_empty());
        let mut inner = self.called.wait_while(inner, waits).unwrap_or_else(PoisonError::into_inner);
        let some = inner.jobs.len().min(most);
        let group = Group { jobs: inner.jobs.drain(..some).collect(), leader: inner.leader.take() };
        // What is left was called for.
        inner.is_called = !inner.jobs.is_empty();
        inner.is_led = inner.is_called;
        (!group.jobs.is_empty()).then_some(group)
    }

    /// Takes no more jobs; those that wait are still to be done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.called.notify_all();
    }

    /// Forgets what waits, where nobody is left to do it.
    pub(super) fn abandon(&self) {
        self.close();
        let jobs = std::mem::take(&mut self.lock().jobs);
        drop(jobs);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Does its duty in a task of its own, so that nobody waits for a caller who is not polled any more.
    pub(super) fn follow(self) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.lead());
        }
    }

    /// Lets others write, too, as long as more and more do; then calls the writer, and hands out its answers.
    async fn lead(self) {
        let Self { call, answers } = self;
        let mut before = call.accepted();
        loop {
            // Once for those that are ready, once for those that are by then: their requests have come meanwhile.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            match call.accepted() {
                now if now == before => break,
                now => before = now,
            }
        }
        drop(call);
        drop(answers.await);
    }
}

impl Call {
    fn accepted(&self) -> u64 {
        self.0.lock().accepted
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.lock().is_called = true;
        self.0.called.notify_one();
    }
}

/// Writes that may wait; the next one is refused at once. Four full commits: a disk that flushes in 10 ms is done with
/// them in less time than a caller notices.
pub(super) const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::writer::Work;

    /// Else each request would pay for a flush of its own where one processor does everything.
    #[tokio::test]
    async fn the_writer_is_called_when_those_who_are_ready_have_written() {
        let queue = Arc::new(Queue::default());
        let request = |queue: Arc<Queue>| async move {
            // Read, checked and signed before.
            tokio::task::yield_now().await;
            let is_called = queue.lock().is_called;
            let job = Job { work: Work::Transact(Vec::new()), reply: oneshot::channel().0 };
            if let Some(lead) = queue.push(job).unwrap() {
                lead.follow();
            }
            is_called
        };
        let requests: Vec<_> = (0..64).map(|_| tokio::spawn(request(Arc::clone(&queue)))).collect();
        for request in requests {
            assert!(!request.await.unwrap());
        }
        let group = tokio::task::spawn_blocking(move || queue.take(100)).await.unwrap().unwrap();
        assert_eq!(group.jobs.len(), 64);
    }
}
