//! [`Work`]: one run of a native handler, and how it is ended early.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Waking, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{task::JoinError, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::task::{Arguments, Context, ErasedHandler, Outcome, panicked};

/// How long a handler that is ended may take to its next await. One that has none cannot be ended.
const ENDING: Duration = Duration::from_secs(1);

/// A run of a handler. Dropping it ends the handler at its next await.
pub(super) enum Work {
    /// Among the other executions: it computes for microseconds at a time.
    Here(BoxFuture<'static, Outcome>),
    /// In a task of its own, by the name of the handler's task.
    Apart(AbortOnDropHandle<Outcome>, Arc<str>),
}

impl Work {
    /// Begins a run where it holds up nobody.
    pub(super) fn begin(name: &str, handler: Arc<dyn ErasedHandler>, arguments: Arguments, cx: Context) -> Self {
        let is_short = handler.pace().is_short();
        let run = async move {
            let run = handler.call(arguments, cx);
            handler.pace().measure(run).await
        };
        if is_short {
            Self::Here(run.boxed())
        } else {
            Self::Apart(AbortOnDropHandle::new(tokio::spawn(run)), name.into())
        }
    }

    /// Ends it, so that it has no more effects: its outcome, if it was faster.
    pub(super) async fn end(self) -> Option<Outcome> {
        match self {
            Self::Here(_) => None,
            Self::Apart(run, _) => {
                run.abort();
                timeout(ENDING, run).await.ok()?.ok()
            }
        }
    }
}

impl Future for Work {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waking<'_>) -> Poll<Outcome> {
        match &mut *self {
            Self::Here(run) => run.as_mut().poll(cx),
            Self::Apart(run, name) => {
                let ended = ready!(Pin::new(run).poll(cx));
                Poll::Ready(ended.unwrap_or_else(|error| broken_off(error, name)))
            }
        }
    }
}

/// A handler's own panic is an outcome. What is left is one while it is dropped, and a runtime that ends.
fn broken_off(error: JoinError, name: &str) -> Outcome {
    match error.try_into_panic() {
        Ok(payload) => panicked(payload.as_ref(), name),
        Err(_) => Outcome::Reject { requeue: true, reason: "the worker is stopping".to_owned() },
    }
}
