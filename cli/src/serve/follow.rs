//! Work that follows the journal, a moment behind it, until the server stops. No request waits for this.

use aegis_core::error::{Chain, Error};
use std::time::Duration;
use tokio::sync::watch;

/// Does `next` each `pause`, and again at once as long as it says that there was something. What fails is tried again.
pub(super) async fn follow<F: Future<Output = Result<usize, Error>>>(
    what: &'static str,
    pause: Duration,
    mut stopped: watch::Receiver<bool>,
    next: impl Fn() -> F,
) {
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => return,
        }
        loop {
            match next().await {
                Ok(0) => break,
                Ok(_) if *stopped.borrow() => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(what, error = %Chain(&error), "a task failed, to be tried again");
                    break;
                }
            }
        }
    }
}
