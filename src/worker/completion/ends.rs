//! Ends that no child has told: lost, over the hard limit, revoked, refused, unknown; and the tracer's log lines.

use std::time::Duration;

use crate::{
    ipc::Ended,
    protocol::{ExceptionInfo, Message, TaskHeaders, TaskState},
    serialization::{Map, Value},
    worker::completion::{
        Completion, RequestInfo,
        chord::Part,
        exception::{billiard, celery, exception_repr, raised},
        subject::Subject,
    },
};

/// Celery's `E_NO_BACKEND`.
const NO_BACKEND: &str = "No result backend is configured.\nPlease see the documentation for more information.";

/// Where Celery's tracer logs.
const TRACE: &str = "celery.app.trace";

impl Completion {
    /// The task was revoked, has expired or was terminated: `reason` is `revoked`, `expired` or `terminated` (B21). Its
    /// chord is told; errbacks do not run and its chain does not fail (B83).
    pub async fn revoked(&self, info: &RequestInfo<'_>, reason: &str) {
        let exception = celery("TaskRevokedError", reason);
        if info.stores_errors() {
            let stored =
                self.store(self.subject(info, Vec::new()), TaskState::Revoked, exception.to_value(), None).await;
            complain(info, stored);
        }
        // Without a group there is no chord, and the body need not be opened.
        if info.headers.group.is_some()
            && let Some(body) = self.embed(info).chord
        {
            self.part_returned(Part::of_request(info, *body), TaskState::Revoked, exception.to_value()).await;
        }
    }

    /// Stores at once that a task is revoked which nobody has begun, as far as the backend knows (`revoke`, since 5.6).
    ///
    /// # Errors
    /// When the backend cannot be asked or told; the text is for the log.
    pub async fn mark_as_revoked(&self, id: &str) -> Result<(), String> {
        let backend = &self.inner.backend;
        if backend.is_disabled() {
            return Err(NO_BACKEND.to_owned());
        }
        if let Some(document) = backend.fetch(id).await.map_err(|failure| failure.to_string())? {
            let state = backend.format().status_of(&document).map_err(|failure| failure.to_string())?;
            if !matches!(state.as_str(), "PENDING" | "RECEIVED" | "RETRY" | "REJECTED") {
                return Ok(());
            }
        }
        let exception = celery("TaskRevokedError", "revoked");
        let stored = self.store(Subject::of_id(id), TaskState::Revoked, exception.to_value(), None).await;
        stored.map_err(|failure| failure.to_string())
    }

    /// The child died under the task (X69). With `retry_on_worker_lost` it is sent again. `text` is the message of
    /// `WorkerLostError`.
    pub async fn worker_lost(&self, info: &RequestInfo<'_>, text: &str) -> Ended {
        let exception = billiard("WorkerLostError", vec![text.into()]);
        if info.options.retry_on_worker_lost {
            return self.retried(info, self.embed(info), Vec::new(), Some(exception), None, None).await;
        }
        self.fail(info, &exception).await;
        failure(&exception, false)
    }

    /// The hard time limit has passed (X70).
    pub async fn time_limit_exceeded(&self, info: &RequestInfo<'_>, limit: Duration) -> Ended {
        let exception = billiard("TimeLimitExceeded", vec![seconds(limit)]);
        self.fail(info, &exception).await;
        failure(&exception, true)
    }

    /// A Python task has raised `Reject` and its message is not requeued: a failure (5.7, X66). `exception` is the
    /// `repr` of it.
    pub async fn rejected(&self, info: &RequestInfo<'_>, exception: &str, traceback: &str) {
        let reason = exception.split_once(": ").map_or(exception, |(_, reason)| reason);
        let mut exception = reject(reason, false);
        exception.traceback = Some(traceback.to_owned()).filter(|text| !text.is_empty());
        self.fail(info, &exception).await;
    }

    /// Cancelled by this worker though the message is acknowledged already: told to be in retry (X77).
    pub async fn cancelled(&self, info: &RequestInfo<'_>) {
        let mut exception = celery("Retry", "Retry(Retry(...), None, None)");
        exception.exc_message.extend([Value::Null, Value::Null]);
        let stored = self.store(self.subject(info, Vec::new()), TaskState::Retry, exception.to_value(), None).await;
        complain(info, stored);
    }

    /// No task of this name is registered here (M53). Neither chord nor errbacks hear of it.
    pub async fn unregistered(&self, headers: &TaskHeaders, message: &Message) {
        let exception = celery("NotRegistered", &*headers.task);
        let subject = Subject {
            children: Some(Vec::new()),
            reply_to: message.properties.reply_to.as_deref(),
            correlation_id: message.properties.correlation_id.as_deref(),
            extended: if self.inner.settings.extended { Subject::unknown() } else { Map::new() },
            ..Subject::of_id(&headers.id)
        };
        if let Err(error) = self.store(subject, TaskState::Failure, exception.to_value(), None).await {
            tracing::error!("failure of task {}[{}] could not be stored: {error}", headers.task, headers.id);
        }
    }

    /// A native task refuses its message.
    pub(super) async fn refused(&self, info: &RequestInfo<'_>, requeue: bool, reason: &str) -> Ended {
        let exception = reject(reason, requeue);
        if !requeue {
            self.fail(info, &exception).await;
        }
        Ended::Rejected {
            requeue,
            exception: exception_repr(&exception),
            traceback: String::new(),
            stores_failure: !requeue,
        }
    }
}

/// The line that Celery's tracer writes at the end of a task.
pub(super) fn log(info: &RequestInfo<'_>, ended: &Ended, runtime: Duration) {
    let task = || info.label();
    match ended {
        Ended::Success { repr } => {
            tracing::info!(target: TRACE, task_id = info.id(), task_name = info.name(),
                "Task {} succeeded in {}s: {repr}", task(), runtime.as_secs_f64());
        }
        Ended::Failure { exception, traceback, .. } => {
            tracing::error!(target: TRACE, task_id = info.id(), task_name = info.name(),
                "Task {} raised unexpected: {exception}\n{traceback}", task());
        }
        // Logged where the time of the retry is known, where the duplicate is found, where the message is refused.
        Ended::Retry { .. }
        | Ended::AlreadySucceeded { .. }
        | Ended::Undecodable { .. }
        | Ended::Exits { .. }
        | Ended::OutOfMemory { .. } => {}
        Ended::Ignored => {
            tracing::info!(target: TRACE, task_id = info.id(), task_name = info.name(),
                "Task {} ignored", task())
        }
        Ended::Rejected { exception, .. } => {
            tracing::warn!(target: TRACE, task_id = info.id(), task_name = info.name(),
                "Task {} {exception}", task())
        }
        Ended::Internal { exception, traceback } => {
            tracing::error!(target: TRACE, task_id = info.id(), task_name = info.name(),
                "Task {} INTERNAL ERROR: {exception}\n{traceback}", task());
        }
    }
}

pub(super) fn failure(exception: &ExceptionInfo, is_timeout: bool) -> Ended {
    Ended::Failure {
        exception: exception_repr(exception),
        traceback: raised(exception.clone()).traceback.unwrap_or_default(),
        is_timeout,
    }
}

pub(super) fn reject(reason: &str, requeue: bool) -> ExceptionInfo {
    let mut exception = celery("Reject", reason);
    exception.exc_message.push(Value::Bool(requeue));
    exception
}

fn complain(info: &RequestInfo<'_>, stored: Result<(), super::document::StoreError>) {
    if let Err(error) = stored {
        tracing::error!("Task {} state could not be stored: {error}", info.label());
    }
}

/// Whole seconds stay integers, as they were written.
fn seconds(limit: Duration) -> Value {
    match limit.subsec_nanos() {
        0 => Value::Int(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)),
        _ => Value::Float(limit.as_secs_f64()),
    }
}
