//! Room for the few passphrases that are checked at once: each check takes 19 MiB and a core. No caller has more than a
//! share of it, and whoever waits gets a place in the order of arrival.

use super::caller::Caller;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks at once.
const CHECKS: usize = 4;
/// Of one caller, under way and waiting: one caller alone leaves room for others.
const OF_ONE: usize = 2;
/// Longest wait: a place is free again after some 50 ms.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Places {
    room: Arc<Semaphore>,
    callers: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    _share: Share,
}

struct Share {
    caller: Caller,
    callers: Arc<Mutex<HashMap<Caller, usize>>>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(CHECKS)), callers: Arc::default() }
    }

    /// `None` for a caller who has her share already, and where there is no place for too long.
    pub(super) async fn take(&self, caller: Caller) -> Option<Place> {
        let share = self.share(caller)?;
        let room = tokio::time::timeout(PATIENCE, Arc::clone(&self.room).acquire_owned()).await;
        Some(Place { _room: room.ok()?.ok()?, _share: share })
    }

    fn share(&self, caller: Caller) -> Option<Share> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = callers.entry(caller).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Share { caller, callers: Arc::clone(&self.callers) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = callers.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    #[tokio::test]
    async fn one_caller_leaves_room_for_others_who_come_in_their_turn() {
        let places = Places::new();
        let take = |user: u32| places.take(Caller::User(user));
        let mut first = vec![take(1).await.unwrap(), take(1).await.unwrap()];
        assert!(take(1).await.is_none());
        let second = [take(2).await.unwrap(), take(2).await.unwrap()];
        // All are taken: the next two wait, and the one who came first goes first.
        let (mut third, mut fourth) = (Box::pin(take(3)), Box::pin(take(4)));
        let mut now = Context::from_waker(Waker::noop());
        assert!(third.as_mut().poll(&mut now).is_pending() && fourth.as_mut().poll(&mut now).is_pending());
        first.pop();
        assert!(fourth.as_mut().poll(&mut now).is_pending());
        assert!(matches!(third.as_mut().poll(&mut now), Poll::Ready(Some(_))));
        drop(second);
        assert!(matches!(fourth.as_mut().poll(&mut now), Poll::Ready(Some(_))));
        assert!(take(1).await.is_some(), "a share that was given back is there again");
    }
}
