//! [`Executions`]: what the dispatcher has under way, as futures of one tokio task.
//!
//! An execution mostly waits (for a child, for the result backend), and is short in between. In a tokio task of its own
//! each of these steps would be scheduled by itself, and often wake another thread for it; here a batch of them costs one
//! wake-up. What may compute for long has no place here: handlers that do run in tasks of their own.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::error;

/// New executions taken at a time.
const BATCH: usize = 256;

/// Runs futures to their end. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Executions {
    /// The other end is held by [`drive`].
    queue: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    tracker: TaskTracker,
}

impl Executions {
    /// None yet. Must be called within a tokio runtime.
    pub fn new() -> Self {
        let (queue, fresh) = mpsc::unbounded_channel();
        tokio::spawn(drive(fresh));
        Self { queue, tracker: TaskTracker::new() }
    }

    /// Runs a future; its panic, or one while it is dropped, is logged and ends nothing else.
    pub fn spawn(&self, execution: impl Future<Output = ()> + Send + 'static) {
        let shielded = Shielded(Some(self.tracker.track_future(execution).boxed()));
        // tokio would end a future's turn after some steps, which in here would only make it come again at once.
        // The driver lives as long as the runtime.
        let _ = self.queue.send(tokio::task::unconstrained(shielded).boxed());
    }

    /// Nothing more is to come: what [`wait`](Self::wait) waits for.
    pub fn close(&self) {
        self.tracker.close();
    }

    /// Waits until closed and all have ended.
    pub async fn wait(&self) {
        self.tracker.wait().await;
    }
}

impl Default for Executions {
    fn default() -> Self {
        Self::new()
    }
}

/// A future that never panics, not even when it is dropped.
struct Shielded(Option<BoxFuture<'static, ()>>);

impl Shielded {
    fn end(&mut self) {
        let execution = self.0.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(execution)));
        if dropped.is_err() {
            error!(target: "celery.worker.request", "an execution has panicked at its end");
        }
    }
}

impl Future for Shielded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(execution) = &mut self.0 else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| execution.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(_) => error!(target: "celery.worker.request", "an execution has panicked"),
        }
        self.end();
        Poll::Ready(())
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        self.end();
    }
}

async fn drive(mut queue: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>) {
    let mut running = FuturesUnordered::new();
    let mut fresh = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = queue.recv_many(&mut fresh, BATCH) => {
                if taken == 0 {
                    break;
                }
                running.extend(fresh.drain(..));
            }
            Some(()) = running.next() => {}
        }
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    struct BadEnd;

    impl Future for BadEnd {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Drop for BadEnd {
        fn drop(&mut self) {
            panic!("bad luck at the end");
        }
    }

    #[tokio::test]
    async fn all_are_waited_for_and_a_panic_ends_one_only() {
        let executions = Executions::new();
        let (release, held) = oneshot::channel::<()>();
        let (done, waits) = oneshot::channel();
        executions.spawn(async { panic!("no luck") });
        executions.spawn(BadEnd);
        executions.spawn(async move {
            let _ = held.await;
            done.send(()).unwrap();
        });
        executions.close();
        let mut waiting = Box::pin(executions.wait());
        assert!(futures::poll!(&mut waiting).is_pending());
        release.send(()).unwrap();
        waiting.await;
        waits.await.unwrap();
    }
}
