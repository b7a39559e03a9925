//! A future that is finished, whether or not somebody waits for it until then.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Runs where it is awaited, and on the runtime from the moment it is dropped unfinished. A task of its own from the
/// beginning would do the same, for 2 us more of each request.
pub(super) struct Finish<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {said}")]
pub(super) struct Panicked {
    said: String,
}

impl<F> Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(super) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F> Future for Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        // What panicked is not polled again.
        let polled = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(Panicked { said: said(panic.as_ref()) }),
        };
        self.0 = None;
        Poll::Ready(polled)
    }
}

impl<F> Drop for Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_finished() {
        let (go_on, wait) = oneshot::channel();
        let (finished, told) = oneshot::channel();
        let mut begun = Box::pin(Finish::new(async move {
            wait.await.unwrap();
            finished.send("to the end").unwrap();
        }));
        let waker = &mut Context::from_waker(std::task::Waker::noop());
        assert!(begun.as_mut().poll(waker).is_pending());
        drop(begun);
        go_on.send(()).unwrap();
        assert_eq!(told.await.unwrap(), "to the end");
    }

    #[tokio::test]
    async fn what_panics_says_so_and_its_caller_goes_on() {
        assert_eq!(Finish::new(async { 7 }).await.unwrap(), 7);
        let error = Finish::new(async { panic!("at {}", "once") }).await.unwrap_err();
        assert_eq!(error.to_string(), "it panicked: at once");
    }
}
