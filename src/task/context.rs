//! [`Context`]: what a running task may know and do, as Celery's `self.request` and `self`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::BackendError,
    producer::{Apply, Producer, ProducerError, Sent},
    protocol::{Message, Signature, TaskHeaders, TaskState},
    serialization::{Value, to_value},
    task::{States, TaskError},
};

/// One execution of a native task, as the worker sets it up.
#[derive(Clone)]
pub struct Execution {
    /// The message's headers, read.
    pub headers: Arc<TaskHeaders>,
    /// The message: custom headers, properties, delivery info.
    pub message: Arc<Message>,
    /// The worker's node name.
    pub hostname: Arc<str>,
    /// Whether the broker says that someone had the message before.
    pub redelivered: bool,
    /// When the soft time limit passes.
    pub soft_deadline: Option<Instant>,
    /// When the hard one does.
    pub hard_deadline: Option<Instant>,
    /// Cancelled when the soft time limit passes, or when the task is to stop. The worker holds the other end.
    pub cancelled: CancellationToken,
    /// For sending tasks; none where there is no broker.
    pub producer: Option<Producer>,
    /// Where states of the task's own go; none stores nothing.
    pub states_sink: Option<Arc<dyn StateSink>>,
    /// What the app's handlers share.
    pub states: Arc<States>,
}

/// Where [`Context::update_state`] goes: the worker implements it over its result backend.
pub trait StateSink: Send + Sync {
    /// Stores a state that is not the last one.
    fn update_state<'a>(
        &'a self,
        execution: &'a Execution,
        state: TaskState,
        meta: Value,
    ) -> BoxFuture<'a, Result<(), BackendError>>;
}

/// The running task's view of itself. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    execution: Execution,
    /// Result tuples of the tasks it sent: written by the handler, taken by the worker when it has ended.
    children: Mutex<Vec<Value>>,
}

impl Context {
    /// The context of an execution.
    pub fn new(execution: Execution) -> Self {
        Self(Arc::new(Inner { execution, children: Mutex::default() }))
    }

    /// The task id.
    pub fn task_id(&self) -> &str {
        &self.headers().id
    }

    /// The registered name.
    pub fn task_name(&self) -> &str {
        &self.headers().task
    }

    /// How often it was tried before: 0 at the first attempt.
    pub fn retries(&self) -> i64 {
        self.headers().retries
    }

    /// The first task of the workflow: this one, if the message names no other.
    pub fn root_id(&self) -> &str {
        self.headers().root_id.as_deref().unwrap_or(self.task_id())
    }

    /// The task that sent this one.
    pub fn parent_id(&self) -> Option<&str> {
        self.headers().parent_id.as_deref()
    }

    /// Every header that Celery has a name for.
    pub fn headers(&self) -> &TaskHeaders {
        &self.0.execution.headers
    }

    /// The message it came in: further headers, properties, delivery info.
    pub fn message(&self) -> &Message {
        &self.0.execution.message
    }

    /// Whether the broker says that someone had the message before.
    pub fn redelivered(&self) -> bool {
        self.0.execution.redelivered
    }

    /// The worker's node name.
    pub fn hostname(&self) -> &str {
        &self.0.execution.hostname
    }

    /// What is left until the soft time limit; none without one.
    pub fn soft_time_left(&self) -> Option<Duration> {
        left(self.0.execution.soft_deadline)
    }

    /// What is left until the hard time limit; none without one.
    pub fn time_left(&self) -> Option<Duration> {
        left(self.0.execution.hard_deadline)
    }

    /// Resolves when the soft time limit has passed or the task is to stop: time to clean up and return.
    pub async fn cancelled(&self) {
        self.0.execution.cancelled.cancelled().await;
    }

    /// Whether [`cancelled`](Self::cancelled) has resolved; for handlers that do not await.
    pub fn is_cancelled(&self) -> bool {
        self.0.execution.cancelled.is_cancelled()
    }

    /// Sends a task, group, chain or chord as this task's child: it inherits the root, has this one for its parent, and
    /// is listed among its `children`.
    pub async fn send(&self, signature: Signature) -> Result<Sent, ProducerError> {
        let sent = self.producer()?.send(signature, self.as_parent()).await?;
        self.add_trail(sent.result.clone());
        Ok(sent)
    }

    /// The producer itself: what is sent with it has no parent.
    pub fn producer(&self) -> Result<&Producer, ProducerError> {
        self.0.execution.producer.as_ref().ok_or(ProducerError::NoBroker)
    }

    /// Stores a state of the task's own, like `PROGRESS`, with anything that can be serialized beside it.
    pub async fn update_state(&self, state: &str, meta: impl Serialize) -> Result<(), TaskError> {
        let meta = to_value(&meta)?;
        if let Some(sink) = &self.0.execution.states_sink {
            sink.update_state(&self.0.execution, TaskState::from(state), meta).await?;
        }
        Ok(())
    }

    /// The result tuples of the tasks sent so far; the list is empty afterwards.
    pub fn take_children(&self) -> Vec<Value> {
        std::mem::take(&mut *self.0.children.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the app's handlers share.
    pub(super) fn states(&self) -> &States {
        &self.0.execution.states
    }

    fn add_trail(&self, result: Value) {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }

    fn as_parent(&self) -> Apply {
        let priority = self.message().properties.priority;
        Apply::default().with_parent(self.task_id(), self.root_id()).with_parent_priority(priority)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("headers", self.headers()).finish_non_exhaustive()
    }
}

fn left(deadline: Option<Instant>) -> Option<Duration> {
    Some(deadline?.saturating_duration_since(Instant::now()))
}
