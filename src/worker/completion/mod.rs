//! What follows an end that no child has stored: callbacks, the next link of a chain, the document, the chord's part,
//! errbacks, retries; in Celery's order (`celery/app/trace.py`, `celery/backends/base.py`).
//!
//! Native tasks end here, and those whose child could not say how: lost, over the hard limit, revoked, unknown. When a
//! message is acknowledged, what the log says of its reception and which events are sent is decided by the callers.

mod by_steward;
mod chain;
mod chord;
mod document;
mod duplicate;
mod ends;
mod errback;
mod exception;
mod failure;
mod retry;
mod settings;
mod started;
mod subject;
mod success;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use crate::{
    backend::ResultBackend,
    ipc::Ended,
    producer::Producer,
    protocol::{Body, Embed, Message, ProtocolError, TaskHeaders},
    serialization::Value,
    task::{Outcome, TaskOptions},
};

pub use by_steward::{BySteward, Told};
pub use chord::{BackendChords, PythonJoin};
pub use errback::{Errbacks, Failed};
pub use settings::CompletionSettings;

/// A task's request, as far as its end needs it.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo<'a> {
    /// The message's headers, read.
    pub headers: &'a TaskHeaders,
    /// The message, protocol 1 already lifted to 2.
    pub message: &'a Message,
    /// The task's options.
    pub options: &'a TaskOptions,
    /// The worker's node name.
    pub hostname: &'a str,
}

/// Does what follows a task's end. Cheap to clone.
#[derive(Clone)]
pub struct Completion {
    pub(super) inner: Arc<Inner>,
}

/// The collaborators.
pub(super) struct Inner {
    pub backend: Arc<dyn ResultBackend>,
    pub producer: Producer,
    pub settings: CompletionSettings,
    pub errbacks: Option<Arc<dyn Errbacks>>,
    pub joins: Option<Arc<dyn PythonJoin>>,
}

impl Completion {
    /// A completion over the app's backend and a producer. Without `errbacks`, errbacks that want the request and the
    /// exception are sent as tasks; without `joins`, chords that only Python can join fail, and say so.
    pub fn new(
        backend: Arc<dyn ResultBackend>,
        producer: Producer,
        settings: CompletionSettings,
        errbacks: Option<Arc<dyn Errbacks>>,
        joins: Option<Arc<dyn PythonJoin>>,
    ) -> Self {
        Self { inner: Arc::new(Inner { backend, producer, settings, errbacks, joins }) }
    }

    /// The message's body, as the handler and [`finish`](Self::finish) need it.
    ///
    /// # Errors
    /// When it cannot be read here or is not accepted.
    pub fn body(&self, info: &RequestInfo<'_>) -> Result<Body, ProtocolError> {
        Body::decode(info.message, &self.inner.settings.accept)
    }

    /// Whether something hangs on the failure of a Python task that only Python can do: the backend, errbacks of the new
    /// style, or all that is in a body which cannot be read here.
    pub fn failure_is_pythons(&self, info: &RequestInfo<'_>) -> bool {
        let Some(errbacks) = &self.inner.errbacks else { return false };
        self.inner.settings.python_backend
            || self
                .body(info)
                .map_or(true, |body| body.embed.errbacks.iter().any(|errback| errbacks.is_new_style(errback)))
    }

    /// The same for its revocation, of which only its chord hears.
    pub fn revocation_is_pythons(&self, info: &RequestInfo<'_>) -> bool {
        self.inner.settings.python_backend || (info.headers.group.is_some() && self.body(info).is_err())
    }

    /// Does all that follows the end of a native task, and writes the tracer's line to the log. `children` are the result
    /// tuples of the tasks it has sent; `started` is when it began. What is to be stored is stored when this resolves; the
    /// answer is for events and for the message.
    pub async fn finish(
        &self,
        info: &RequestInfo<'_>,
        embed: Embed,
        outcome: Outcome,
        children: Vec<Value>,
        started: Instant,
    ) -> Ended {
        // The rare ends are boxed: together they are kilobytes, which every execution would have to make room for.
        let end = match outcome {
            Outcome::Success(value) => self.succeeded(info, embed, value, children).await,
            Outcome::Failure(exception) => Box::pin(self.failed(info, embed, exception, children)).await,
            Outcome::Retry { cause, eta, max_retries } => {
                Box::pin(self.retried(info, embed, children, cause, eta, max_retries)).await
            }
            Outcome::Ignore => Ended::Ignored,
            Outcome::Reject { requeue, reason } => Box::pin(self.refused(info, requeue, &reason)).await,
            Outcome::TimeLimitExceeded(limit) => Box::pin(self.time_limit_exceeded(info, limit)).await,
            Outcome::WorkerLost { exit } => {
                let text = format!("Worker exited prematurely: {exit}.");
                Box::pin(self.worker_lost(info, &text)).await
            }
            Outcome::Terminated { .. } => {
                Box::pin(self.revoked(info, "terminated")).await;
                Ended::Ignored
            }
        };
        ends::log(info, &end, started.elapsed());
        end
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl RequestInfo<'_> {
    /// The task's id, as lines of the log have it.
    pub(super) fn id(&self) -> &str {
        &self.headers.id
    }

    /// The task's name for people.
    pub(super) fn name(&self) -> &str {
        self.headers.display_name()
    }

    /// Whether the result is kept: the message's word, else the task's.
    pub(super) fn stores_result(&self) -> bool {
        !self.headers.ignore_result.unwrap_or(self.options.ignore_result)
    }

    /// Whether failures are kept.
    pub(super) fn stores_errors(&self) -> bool {
        self.stores_result() || self.options.store_errors_even_if_ignored
    }

    /// `name[id]`, as the log has it.
    pub(super) fn label(&self) -> String {
        format!("{}[{}]", self.headers.display_name(), self.headers.id)
    }
}
