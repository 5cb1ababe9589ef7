//! Failing the tasks that would have come after a failed one, so that nobody waits for them.

use std::collections::VecDeque;

use futures::{FutureExt, future::BoxFuture};

use crate::{
    protocol::{ExceptionInfo, Signature, TaskState},
    serialization::Value,
    worker::completion::{Completion, chord::Part, subject::Subject},
};

impl Completion {
    /// Stores the same failure for every link that has an id; links that are parts of a chord return their part, and
    /// chords among them are followed into their bodies (`Backend._fail_chain`).
    pub(super) fn fail_chain<'a>(
        &'a self,
        chain: Vec<Signature>,
        exception: &'a ExceptionInfo,
        stores: bool,
    ) -> BoxFuture<'a, ()> {
        let mut links = VecDeque::from(chain);
        async move {
            while let Some(mut link) = links.pop_front() {
                self.fail_link(&link, exception, stores).await;
                if link.subtask_type.as_deref() == Some("chord")
                    && let Some(body) = link.kwargs.swap_remove("body")
                    && let Ok(body) = Signature::from_owned(body)
                {
                    links.push_back(body);
                }
            }
        }
        .boxed()
    }

    async fn fail_link(&self, link: &Signature, exception: &ExceptionInfo, stores: bool) {
        let chord = link.options.get("chord").filter(|chord| !chord.is_null());
        let subject = Subject::of_signature(link);
        let id = subject.as_ref().map(|subject| subject.id);
        // Only parts of chords are looked up: ordinary chains need no backend.
        let has_failed = match (chord, id) {
            (Some(_), Some(id)) => self.has_failed(id).await,
            _ => false,
        };
        if let Some(subject) = subject.filter(|_| stores) {
            let subject = if self.inner.settings.extended { subject.extended_by(link) } else { subject };
            let result = exception.to_value();
            if let Err(error) = self.store(subject, TaskState::Failure, result, exception.traceback.clone()).await {
                tracing::error!("failure of {} in a chain could not be stored: {error}", link.task);
            }
        }
        if let Some(body) = chord.filter(|_| !has_failed).and_then(|chord| Signature::from_value(chord).ok())
            && let Some(part) = Part::of_signature(link, body)
        {
            self.part_returned(part, TaskState::Failure, exception.to_value()).await;
        }
    }

    async fn has_failed(&self, id: &str) -> bool {
        let document = self.inner.backend.fetch(id).await.ok().flatten();
        let state = document.and_then(|document| self.inner.backend.format().status_of(&document).ok());
        matches!(state, Some(TaskState::Failure | TaskState::Revoked))
    }
}

/// The links in a `chain` option.
pub(super) fn links(options: &crate::serialization::Map) -> Vec<Signature> {
    let links = options.get("chain").and_then(Value::as_list).unwrap_or_default();
    links.iter().filter_map(|link| Signature::from_value(link).ok()).collect()
}
