//! A task has failed: stored, told to the chord, the rest of its chain failed, errbacks fired; in this order (B80).

use crate::{
    ipc::Ended,
    protocol::{Body, Embed, ExceptionInfo, TaskState},
    serialization::Value,
    worker::completion::{
        Completion, RequestInfo, chord::Part, document::StoreError, errback::Failed, exception::exception_repr,
    },
};

impl Completion {
    /// The end of a native task that raised.
    pub(super) async fn failed(
        &self,
        info: &RequestInfo<'_>,
        embed: Embed,
        exception: ExceptionInfo,
        children: Vec<Value>,
    ) -> Ended {
        if let Err(error) = self.mark_as_failure(info, embed, &exception, children).await {
            return self.not_stored(&error.to_string());
        }
        Ended::Failure {
            exception: exception_repr(&exception),
            traceback: exception.traceback.unwrap_or_default(),
            is_timeout: false,
        }
    }

    pub(super) async fn mark_as_failure(
        &self,
        info: &RequestInfo<'_>,
        embed: Embed,
        exception: &ExceptionInfo,
        children: Vec<Value>,
    ) -> Result<(), StoreError> {
        if info.stores_errors() {
            let subject = self.subject(info, children);
            self.store(subject, TaskState::Failure, exception.to_value(), exception.traceback.clone()).await?;
        }
        if let Some(body) = embed.chord {
            self.part_returned(Part::of_request(info, *body), TaskState::Failure, exception.to_value()).await;
        }
        self.fail_chain(embed.chain, exception, info.stores_errors()).await;
        let failed = Failed {
            task_id: info.headers.id.to_string(),
            root_id: info.headers.root_id.clone(),
            headers: info.message.headers.map().clone(),
            exception: exception.clone(),
        };
        self.call_errbacks(failed, embed.errbacks).await;
        Ok(())
    }

    /// Fails a request whose end no one else has told. Where only Python can read the body, what hangs on it is lost;
    /// the log says so.
    pub(super) async fn fail(&self, info: &RequestInfo<'_>, exception: &ExceptionInfo) {
        let embed = self.embed(info);
        if let Err(error) = self.mark_as_failure(info, embed, exception, Vec::new()).await {
            tracing::error!(target: "celery.worker.request", task_id = info.id(), task_name = info.name(),
            "Task {} failure could not be stored: {error}", info.label());
        }
    }

    /// What hangs on a request.
    pub(super) fn embed(&self, info: &RequestInfo<'_>) -> Embed {
        let body = self.body(info).unwrap_or_else(|error| {
            tracing::error!(
                target: "celery.worker.request",
                "Task {} has a body that cannot be read here ({error}): its errbacks, chain and chord are not told of its end",
                info.label()
            );
            Body::default()
        });
        body.embed
    }
}
