//! [`RpcBackend`]: results as messages to the client that waits for them. Nothing is kept, so nothing can be fetched.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};

use crate::{
    backend::{BackendError, BackendOptions, ResultBackend, StoreRequest, document::Format},
    broker::Publish,
    protocol::{Headers, Message, Properties, Route},
    serialization::Map,
};

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// `celery/backends/rpc.py:RPCBackend`. The client declares its queue; the worker must not.
pub struct RpcBackend {
    publisher: Arc<dyn Publish>,
    format: Format,
    delivery_mode: u8,
}

impl RpcBackend {
    /// Sends JSON, transient, as Celery does by default.
    pub fn new(publisher: Arc<dyn Publish>) -> Self {
        Self { publisher, format: Format::default(), delivery_mode: TRANSIENT }
    }

    /// With the app's `result_serializer` and `result_persistent`. Compression is ignored, as Celery does.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unsupported`] for a serializer that only Python has.
    pub fn with_options(publisher: Arc<dyn Publish>, options: &BackendOptions) -> Result<Self, BackendError> {
        let format = Format { compression: None, ..options.format.clone() };
        format.content().map_err(|e| BackendError::Unsupported(format!("result_serializer: {e}")))?;
        let delivery_mode = if options.is_persistent { PERSISTENT } else { TRANSIENT };
        Ok(Self { publisher, format, delivery_mode })
    }

    async fn send(&self, request: StoreRequest) -> Result<(), BackendError> {
        let Some(reply_to) = request.reply_to.filter(|queue| !queue.is_empty()) else { return Ok(()) };
        let correlation_id = request.correlation_id.filter(|id| !id.is_empty()).unwrap_or(request.task_id);
        let (content_type, content_encoding) =
            self.format.content().map_err(|e| BackendError::Unsupported(e.to_string()))?;
        let properties = Properties {
            content_type: Some(content_type.to_owned()),
            content_encoding: Some(content_encoding.to_owned()),
            correlation_id: Some(correlation_id),
            delivery_mode: Some(self.delivery_mode),
            priority: Some(0),
            ..Properties::default()
        };
        let message = Message { headers: Headers::new(Map::new()), properties, body: request.document };
        let sent = self.publisher.publish(Route::queue(reply_to), message).await;
        sent.map_err(|e| BackendError::Unreachable(format!("rpc:// result not sent: {e}")))
    }
}

impl ResultBackend for RpcBackend {
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        self.send(request).boxed()
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn uri(&self) -> String {
        "rpc://".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::future::ready;

    use super::*;
    use crate::{broker::BrokerError, protocol::TaskState};

    #[derive(Default)]
    struct Mailbox(Mutex<Vec<(Route, Message)>>);

    impl Publish for Mailbox {
        fn publish(&self, route: Route, message: Message) -> BoxFuture<'_, Result<(), BrokerError>> {
            self.0.lock().unwrap().push((route, message));
            ready(Ok(())).boxed()
        }
    }

    fn request(reply_to: Option<&str>, correlation_id: Option<&str>) -> StoreRequest {
        StoreRequest {
            task_id: "id".into(),
            state: TaskState::Success,
            document: Bytes::from_static(b"{}"),
            reply_to: reply_to.map(Into::into),
            correlation_id: correlation_id.map(Into::into),
        }
    }

    #[tokio::test]
    async fn sends_to_the_queue_of_whoever_waits() {
        let mailbox = Arc::new(Mailbox::default());
        let options = BackendOptions { is_persistent: true, ..BackendOptions::default() };
        let backend = RpcBackend::with_options(mailbox.clone(), &options.with_serializer("pickle")).unwrap();
        backend.store(request(Some("client"), None)).await.unwrap();
        let sent = mailbox.0.lock().unwrap();
        let (route, message) = &sent[0];
        assert_eq!(*route, Route::queue("client"));
        let properties = Properties {
            content_type: Some("application/x-python-serialize".into()),
            content_encoding: Some("binary".into()),
            correlation_id: Some("id".into()),
            delivery_mode: Some(2),
            priority: Some(0),
            ..Properties::default()
        };
        assert_eq!((&message.properties, message.body.as_ref()), (&properties, &b"{}"[..]));
        assert!(message.headers.map().is_empty() && !message.headers.is_absent());
    }

    #[tokio::test]
    async fn sends_nothing_when_nobody_waits() {
        let mailbox = Arc::new(Mailbox::default());
        let backend = RpcBackend::new(mailbox.clone());
        backend.store(request(None, Some("c"))).await.unwrap();
        backend.store(request(Some(""), Some("c"))).await.unwrap();
        assert!(mailbox.0.lock().unwrap().is_empty());
        backend.store(request(Some("q"), Some("c"))).await.unwrap();
        let sent = mailbox.0.lock().unwrap();
        assert_eq!(sent[0].1.properties.correlation_id.as_deref(), Some("c"));
        assert_eq!(sent[0].1.properties.delivery_mode, Some(1));
    }
}
