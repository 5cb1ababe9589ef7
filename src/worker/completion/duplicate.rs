//! A message that comes again though its task has succeeded: `worker_deduplicate_successful_tasks`
//! (`celery/app/trace.py`), and children that are lost after the success was stored.

use crate::{
    ipc::Ended,
    protocol::{Embed, ResultMeta, TaskState, repr::saferepr},
    worker::completion::{
        Completion, RequestInfo,
        ends::reject,
        exception::{REPR_MAX, exception_repr},
    },
};

impl Completion {
    /// For a native task whose message the broker hands out once more: its end, if a run before has stored a success;
    /// none if it is to be run. What hangs on it is sent unless the stored children show that it was; if that fails, the
    /// message goes back.
    pub async fn duplicate(&self, info: &RequestInfo<'_>, embed: &Embed) -> Option<Ended> {
        let meta = self.success(&info.headers.id).await?;
        tracing::info!(target: "celery.app.trace", task_id = info.id(), task_name = info.name(),
            "Task {} Task already completed successfully.", info.label());
        let has_links = !embed.callbacks.is_empty() || !embed.chain.is_empty();
        let were_sent = meta.children.is_some_and(|children| !children.is_empty());
        if has_links
            && !were_sent
            && let Err(error) = self.send_links(info, embed, &meta.result, &mut Vec::new()).await
        {
            tracing::error!(target: "celery.app.trace", task_id = info.id(), task_name = info.name(),
            "Failed to dispatch chain/callbacks for deduplicated task {}: {error}", info.headers.id);
            let exception = exception_repr(&reject(&error.to_string(), true));
            let traceback = String::new();
            return Some(Ended::Rejected { requeue: true, exception, traceback, stores_failure: false });
        }
        Some(Ended::AlreadySucceeded { repr: None })
    }

    /// For a task whose child was lost: its end, if it had stored a success before. Neither is there one to look for where
    /// results are ignored, nor on `rpc://`, where they are the caller's. `exception` is shown in the log.
    pub async fn succeeded_before(&self, info: &RequestInfo<'_>, exception: &str) -> Option<Ended> {
        if !info.stores_result() {
            return None;
        }
        let meta = self.success(&info.headers.id).await?;
        tracing::warn!(target: "celery.worker.request", task_id = info.id(), task_name = info.name(),
            "Task {} succeeded before the worker was lost: {exception}", info.label());
        Some(Ended::AlreadySucceeded { repr: Some(saferepr(&meta.result, REPR_MAX)) })
    }

    async fn success(&self, id: &str) -> Option<ResultMeta> {
        let backend = &self.inner.backend;
        let document = backend.fetch(id).await.ok().flatten()?;
        let format = backend.format();
        if format.status_of(&document).ok()? != TaskState::Success {
            return None;
        }
        // What else is in a pickle may be Python's alone.
        Some(
            format
                .decode(&document)
                .unwrap_or_else(|_| ResultMeta::new(id, TaskState::Success, crate::serialization::Value::Null)),
        )
    }
}
