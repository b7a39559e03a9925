//! Carries out what takes milliseconds on tokio's blocking pool, few at a time, so that a burst of RSA keeps neither the
//! threads that answer requests nor all processors. Knows nothing of keys.

use aegis_core::keystore::KeyStoreError;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Offload {
    all: Lane,
    generation: Lane,
}

impl Offload {
    pub(crate) fn new() -> Self {
        Self { all: Lane::new(AT_ONCE, QUEUE), generation: Lane::new(1, GENERATION_QUEUE) }
    }

    /// Refuses at once when too many wait. Work that has begun ends, and keeps its turn, even if the caller goes away.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<T, KeyStoreError> {
        let turn = self.all.enter().await?;
        let runtime = Handle::try_current().map_err(|error| KeyStoreError::Unavailable { source: error.into() })?;
        let done = runtime.spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|error| KeyStoreError::Unavailable { source: error.into() })?
    }

    /// As [`Offload::run`], for the search for primes: one at a time, which leaves the other turns to signatures.
    pub(crate) async fn generate<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<T, KeyStoreError> {
        let turn = self.generation.enter().await?;
        self.run(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
    }
}

/// So many at once, and so many more waiting.
struct Lane {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Lane {
    fn new(at_once: usize, queue: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.saturating_add(queue)));
        Self { places, turns: Arc::new(Semaphore::new(at_once)) }
    }

    async fn enter(&self) -> Result<Turn, KeyStoreError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| KeyStoreError::Unavailable {
            source: "too many slow operations are waiting for their turn".into(),
        })?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|error| KeyStoreError::Unavailable { source: error.into() })?;
        Ok(Turn { _turn: turn, _place: place })
    }
}

/// Held while something runs.
struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// As many as the smallest machine we run on has processors.
pub(super) const AT_ONCE: usize = 2;
/// The last in the queue waits 32 / 2 operations of 2 ms: about 30 ms.
pub(super) const QUEUE: usize = 32;
/// RSA-4096 primes take one to three seconds (measured on two busy cores), so the last in the queue waits some ten.
pub(super) const GENERATION_QUEUE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    #[test]
    fn work_whose_caller_went_away_keeps_its_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let offload = Offload::new();
            let (end, ended) = mpsc::channel::<()>();
            let work = async { offload.run(move || Ok(ended.recv())).await };
            assert!(pin!(work).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(offload.all.turns.available_permits(), AT_ONCE - 1);
            drop(end);
            while offload.all.turns.available_permits() < AT_ONCE {
                tokio::task::yield_now().await;
            }
        });
    }
}
