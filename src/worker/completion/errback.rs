//! Errbacks: what is called or sent when a task has failed (B81, B82).

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    producer::{Apply, group},
    protocol::{ExceptionInfo, Signature},
    serialization::Map,
    worker::completion::Completion,
};

/// A task that has failed, as an errback sees it.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Its id.
    pub task_id: String,
    /// The first task of its workflow.
    pub root_id: Option<String>,
    /// Its message's headers; of a chord's body that was never sent, the signature's fields.
    pub headers: Map,
    /// What it raised.
    pub exception: ExceptionInfo,
}

/// Errbacks of the new style: Python functions that take `(request, exc, traceback)` and are called where the task
/// failed, not sent. Whoever can reach a Python process implements this.
pub trait Errbacks: Send + Sync {
    /// Whether this errback is a task of the app that takes more than the id.
    fn is_new_style(&self, errback: &Signature) -> bool;

    /// Calls it. What it raises is logged, nothing else.
    fn call(&self, failed: Arc<Failed>, errback: Signature) -> BoxFuture<'_, ()>;
}

impl Completion {
    /// Calls those of the new style, sends the others as one group with the failed task's id for their argument.
    pub(super) async fn call_errbacks(&self, failed: Failed, errbacks: Vec<Signature>) {
        if errbacks.is_empty() {
            return;
        }
        let failed = Arc::new(failed);
        let mut old_style = Vec::with_capacity(errbacks.len());
        for errback in errbacks {
            match self.inner.errbacks.as_deref().filter(|errbacks| errbacks.is_new_style(&errback)) {
                Some(errbacks) => errbacks.call(failed.clone(), errback).await,
                None => old_style.push(errback),
            }
        }
        if !old_style.is_empty() {
            self.send_errbacks(&failed, old_style).await;
        }
    }

    async fn send_errbacks(&self, failed: &Failed, errbacks: Vec<Signature>) {
        let (id, root_id) = (failed.task_id.as_str(), failed.root_id.as_deref().unwrap_or(&failed.task_id));
        let apply = Apply::default()
            .with_args(vec![id.into()])
            .with_option("parent_id", id)
            .with_option("root_id", root_id)
            .with_parent(id, root_id);
        if let Err(error) = self.inner.producer.send(group(errbacks), apply).await {
            tracing::error!(target: "celery.backends.base", "errbacks of task {id} could not be sent: {error}");
        }
    }
}
