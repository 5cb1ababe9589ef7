//! A native task has returned: what hangs on it is sent, then its result is stored, then its chord is told (X20–X22).

use crate::{
    ipc::Ended,
    producer::{Apply, ProducerError, group},
    protocol::{Embed, ExceptionInfo, Signature, TaskState, repr},
    serialization::Value,
    worker::completion::{
        Completion, RequestInfo,
        chord::Part,
        document::StoreError,
        exception::{REPR_MAX, raised},
    },
};

impl Completion {
    pub(super) async fn succeeded(
        &self,
        info: &RequestInfo<'_>,
        embed: Embed,
        value: Value,
        mut children: Vec<Value>,
    ) -> Ended {
        let shown = repr::saferepr(&value, REPR_MAX);
        // What follows is sent before the result is stored, so that the result lists it among the children.
        let has_links = !embed.callbacks.is_empty() || !embed.chain.is_empty();
        if has_links && let Err(error) = Box::pin(self.send_links(info, &embed, &value, &mut children)).await {
            return Box::pin(self.failed(info, embed, publish_failure(&error), children)).await;
        }
        let for_chord = embed.chord.as_ref().map(|_| value.clone());
        if info.stores_result() {
            let subject = self.subject(info, children.clone());
            match self.store(subject, TaskState::Success, value, None).await {
                Ok(()) => {}
                Err(StoreError::Encode(error)) => {
                    let exception = ExceptionInfo::new("kombu.exceptions", "EncodeError", error.to_string());
                    return Box::pin(self.failed(info, embed, raised(exception), children)).await;
                }
                Err(StoreError::Backend(error)) => return self.not_stored(&error.to_string()),
            }
        }
        if let (Some(body), Some(value)) = (embed.chord, for_chord) {
            Box::pin(self.part_returned(Part::of_request(info, *body), TaskState::Success, value)).await;
        }
        Ended::Success { repr: shown }
    }

    /// Callbacks, then the next link of the chain.
    pub(super) async fn send_links(
        &self,
        info: &RequestInfo<'_>,
        embed: &Embed,
        value: &Value,
        children: &mut Vec<Value>,
    ) -> Result<(), ProducerError> {
        for callback in together(&embed.callbacks) {
            children.push(self.send_link(info, callback, value, None).await?);
        }
        if let Some((next, rest)) = embed.chain.split_last() {
            let rest = Value::List(rest.iter().map(Signature::to_value).collect());
            children.push(self.send_link(info, next.clone(), value, Some(rest)).await?);
        }
        Ok(())
    }

    async fn send_link(
        &self,
        info: &RequestInfo<'_>,
        link: Signature,
        value: &Value,
        chain: Option<Value>,
    ) -> Result<Value, ProducerError> {
        let root_id = info.headers.root_id.as_deref().unwrap_or(&info.headers.id);
        let priority = info.message.properties.priority;
        let apply = Apply::default()
            .with_args(vec![value.clone()])
            .with_option("chain", chain)
            .with_option("parent_id", &*info.headers.id)
            .with_option("root_id", root_id)
            .with_option("priority", priority.filter(|_| self.inner.producer.settings().inherit_parent_priority))
            .with_parent(&info.headers.id, root_id)
            .with_parent_priority(priority);
        Ok(self.inner.producer.send(link, apply).await?.result)
    }

    /// The backend did not take the result: an internal error, as in Celery.
    pub(super) fn not_stored(&self, error: &str) -> Ended {
        let exception = ExceptionInfo::new("celery.backends.base", "BackendStoreError", error);
        let exception = raised(exception);
        Ended::Internal {
            exception: super::exception::exception_repr(&exception),
            traceback: exception.traceback.unwrap_or_default(),
        }
    }
}

/// One callback goes alone; of several, groups go first, each alone, and the rest as one group.
fn together(callbacks: &[Signature]) -> Vec<Signature> {
    if callbacks.len() < 2 {
        return callbacks.to_vec();
    }
    let is_group = |callback: &Signature| callback.subtask_type.as_deref() == Some("group");
    let (mut groups, rest): (Vec<_>, Vec<_>) = callbacks.iter().cloned().partition(is_group);
    if !rest.is_empty() {
        groups.push(group(rest));
    }
    groups
}

/// What a failed publish is for the task that published.
pub(super) fn publish_failure(error: &ProducerError) -> ExceptionInfo {
    let exc_type = match error {
        ProducerError::Encode(_) => "EncodeError",
        _ => "OperationalError",
    };
    raised(ExceptionInfo::new("kombu.exceptions", exc_type, error.to_string()))
}
