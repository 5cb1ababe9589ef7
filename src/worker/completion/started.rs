//! States on the way: `STARTED`, and those that a task gives itself.

use futures::{FutureExt, future::BoxFuture};

use crate::{
    backend::BackendError,
    protocol::TaskState,
    serialization::{Map, Value},
    task::{Execution, StateSink},
    worker::completion::{Completion, RequestInfo, document::StoreError, subject::Subject},
};

impl Completion {
    /// Stores `STARTED`, if the task is tracked and its result is kept (B19).
    pub async fn started(&self, info: &RequestInfo<'_>, pid: u32) {
        if !info.options.track_started || !info.stores_result() {
            return;
        }
        let meta = Map::from_iter([
            ("pid".to_owned(), Value::Int(pid.into())),
            ("hostname".to_owned(), Value::from(info.hostname)),
        ]);
        if let Err(error) = self.store(self.subject(info, Vec::new()), TaskState::Started, Value::Map(meta), None).await
        {
            tracing::error!("Task {} state could not be stored: {error}", info.label());
        }
    }
}

impl StateSink for Completion {
    fn update_state<'a>(
        &'a self,
        execution: &'a Execution,
        state: TaskState,
        meta: Value,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let options = crate::task::TaskOptions::default();
        async move {
            let info = RequestInfo {
                headers: &execution.headers,
                message: &execution.message,
                options: &options,
                hostname: &execution.hostname,
            };
            let subject = Subject {
                extended: self.subject(&info, Vec::new()).extended,
                ..Subject::of_request(&info, Vec::new())
            };
            self.store(subject, state, meta, None).await.map_err(|error| match error {
                StoreError::Encode(error) => BackendError::Refused(error.to_string()),
                StoreError::Backend(error) => error,
            })
        }
        .boxed()
    }
}
