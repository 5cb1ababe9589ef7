//! Writing a document to the result backend.

use std::time::SystemTime;

use crate::{
    backend::{BackendError, StoreRequest},
    protocol::{ResultMeta, TaskState, time::isoformat},
    serialization::{EncodeError, Value},
    worker::completion::{Completion, RequestInfo, subject::Subject},
};

/// Why a document was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The result cannot be expressed in `result_serializer`: the task is a failure.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The backend did not take it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Completion {
    /// Writes a document. Resolves when it is safe.
    pub(super) async fn store(
        &self,
        subject: Subject<'_>,
        state: TaskState,
        result: Value,
        traceback: Option<String>,
    ) -> Result<(), StoreError> {
        let backend = &self.inner.backend;
        if backend.is_disabled() {
            return Ok(());
        }
        let is_ready = state.is_ready();
        let meta = ResultMeta {
            task_id: subject.id.to_owned(),
            state: state.clone(),
            result,
            traceback,
            children: subject.children,
            date_done: is_ready.then(|| isoformat(SystemTime::now(), &self.inner.settings.timezone)),
            group_id: subject.group.map(str::to_owned),
            parent_id: subject.parent_id.map(str::to_owned),
            extended: subject.extended,
        };
        let document = backend.format().encode(&meta)?;
        backend
            .store(StoreRequest {
                task_id: meta.task_id,
                state,
                document,
                reply_to: subject.reply_to.map(str::to_owned),
                correlation_id: subject.correlation_id.map(str::to_owned),
            })
            .await?;
        Ok(())
    }

    /// The request's subject, with what `result_extended` asks for.
    pub(super) fn subject<'a>(&self, info: &RequestInfo<'a>, children: Vec<Value>) -> Subject<'a> {
        let subject = Subject::of_request(info, children);
        if !self.inner.settings.extended {
            return subject;
        }
        // The handler has consumed its arguments; the message still has them.
        let body = self.body(info).unwrap_or_default();
        subject.extended(info, body.args, body.kwargs)
    }
}
