//! What stands between Aegis and KMS, so that neither harms the other: a pace for the share of the account's quota that Aegis
//! may use, and a breaker for when KMS is away.

use super::failure::Failure;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Calls that are spread over time.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    /// When the next call would go, if none went ahead of its time.
    next: Mutex<Instant>,
}

impl Pace {
    /// `per_second` is at least 1.
    pub(super) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn. After a quiet second as many go at once as go in a second.
    ///
    /// # Errors
    /// Where that would take too long.
    pub(super) async fn turn(&self) -> Result<(), Failure> {
        let at = {
            let (mut next, now) = (lock(&self.next), Instant::now());
            let at = (*next).max(now.checked_sub(BURST).unwrap_or(now));
            if at.saturating_duration_since(now) > LONGEST_WAIT {
                return Err(Failure::unasked("more is asked of KMS than the deployment's share of its quota"));
            }
            *next = at.checked_add(self.gap).unwrap_or(at);
            at
        };
        sleep_until(at).await;
        Ok(())
    }
}

/// Opens when call after call fails, so that nobody waits for what will not come, and KMS is left alone to recover.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failed: u32,
    /// Until when nothing is asked.
    open: Option<Instant>,
}

impl Breaker {
    /// Lets a call through. Once it has been open for a while, one is let through to see.
    ///
    /// # Errors
    /// While it is open.
    pub(super) fn pass(&self) -> Result<(), Failure> {
        let (mut state, now) = (lock(&self.0), Instant::now());
        match state.open {
            Some(until) if now < until => {
                Err(Failure::unasked("KMS did not answer lately and is left alone for a moment"))
            }
            Some(_) => {
                state.open = now.checked_add(PAUSE);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// How a call that was let through went.
    pub(super) fn tell(&self, answered: bool) {
        let mut state = lock(&self.0);
        match answered {
            true => *state = State::default(),
            false => {
                state.failed = state.failed.saturating_add(1);
                if state.failed >= TOLERATED {
                    state.open = Instant::now().checked_add(PAUSE);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chosen: what was not used of the last second may be used at once.
const BURST: Duration = Duration::from_secs(1);
/// Chosen, with what a call takes at most: less than a caller of Aegis waits.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Chosen: each of these was tried several times already.
const TOLERATED: u32 = 5;
/// Chosen: as long as one call takes at most would be longer than it takes KMS to come back.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn calls_are_spread_and_too_many_refused() {
        let pace = Pace::new(10);
        advance(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..11 {
            pace.turn().await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "what a second has, and the one that is due");
        pace.turn().await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(100));
        let crowd: Vec<_> = (0..20).map(|_| Box::pin(pace.turn())).collect();
        let mut refused = 0;
        for mut turn in crowd {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(turn.as_mut().poll(context))).await;
            refused += usize::from(matches!(polled, std::task::Poll::Ready(Err(_))));
        }
        assert_eq!(refused, 10, "nobody waits for more than a second");
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_failures_nothing_is_asked_for_a_while_then_one_may_see() {
        let breaker = Breaker::default();
        for _ in 0..4 {
            breaker.pass().unwrap();
            breaker.tell(false);
        }
        breaker.tell(true);
        for _ in 0..5 {
            breaker.pass().unwrap();
            breaker.tell(false);
        }
        breaker.pass().unwrap_err();
        advance(PAUSE).await;
        breaker.pass().unwrap();
        breaker.pass().unwrap_err();
        breaker.tell(false);
        breaker.pass().unwrap_err();
        advance(PAUSE).await;
        breaker.pass().unwrap();
        breaker.tell(true);
        breaker.pass().unwrap();
        breaker.pass().unwrap();
    }
}
