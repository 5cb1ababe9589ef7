//! [`ReadWrite`]: one connection made of two, to consume from one broker and to publish to another one.
//!
//! Which half a thing belongs to is Celery's choice: what `app.connection_for_read` and `app.connection_for_write` are used
//! for there. It knows no transport, and does not connect: that is the worker's session.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::task::JoinSet;

use crate::{
    broker::{BrokerError, Connection, Deliveries, Unacked, lifeline::Lifeline},
    protocol::{Message, Queue, Route},
};

/// Lives as long as both halves do: the loss of one ends the other. Once it has stopped to consume, no other connection will be
/// made, and it lives as long as the reader does: what was read is settled there.
pub struct ReadWrite {
    reader: Arc<dyn Connection>,
    writer: Arc<dyn Connection>,
    /// Why it is over.
    lifeline: Lifeline,
    /// Waits for the loss of a half; ends with this connection.
    watch: Mutex<JoinSet<()>>,
}

impl ReadWrite {
    /// Of two live connections. Needs a Tokio runtime.
    pub fn new(reader: Arc<dyn Connection>, writer: Arc<dyn Connection>) -> Self {
        let connection = Self { reader, writer, lifeline: Lifeline::new(), watch: Mutex::default() };
        connection.watch(true);
        connection
    }

    /// Watches the reader from now on, and the writer as well or no more.
    fn watch(&self, writer_as_well: bool) {
        let (reader, writer, lifeline) = (self.reader.clone(), self.writer.clone(), self.lifeline.clone());
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.abort_all();
        watch.spawn(async move {
            let failure = tokio::select! {
                failure = reader.closed() => failure,
                failure = writer.closed(), if writer_as_well => failure,
            };
            // Nobody else knows that the other one is over too.
            tokio::join!(reader.abandon(), writer.abandon());
            lifeline.end(failure);
        });
    }

    /// From here on the end of a half is our own doing.
    fn stop_watching(&self) {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl Connection for ReadWrite {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.reader.declare(queue)
    }

    /// At both: Celery does it for each of `broker_url` (`celery/worker/consumer/delayed_delivery.py`), which may be either.
    fn declare_delays<'a>(&'a self, queue_type: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.reader.declare_delays(queue_type).await?;
            self.writer.declare_delays(queue_type).await
        })
    }

    fn bind_to_delays<'a>(
        &'a self,
        queue: &'a str,
        exchange: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.reader.bind_to_delays(queue, exchange, key).await?;
            self.writer.bind_to_delays(queue, exchange, key).await
        })
    }

    fn deliveries(&self) -> Deliveries {
        self.reader.deliveries()
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.reader.consume(queue)
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.reader.cancel(queue)
    }

    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        self.reader.subscribe(queue)
    }

    fn set_prefetch(&self, count: u32) {
        self.reader.set_prefetch(count);
    }

    fn set_paused(&self, paused: bool) {
        self.reader.set_paused(paused);
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.writer.publish(route, message)
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        self.writer.purge(queue)
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(self.lifeline.ended())
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.stop_watching();
            tokio::join!(self.reader.abandon(), self.writer.abandon());
            self.lifeline.end(BrokerError::lost("the connection was abandoned"));
        })
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        if self.lifeline.reason().is_none() {
            self.watch(false);
        }
        self.reader.stop_consuming()
    }

    fn tags_survive(&self) -> bool {
        self.reader.tags_survive()
    }

    fn unacked(&self) -> Option<Arc<dyn Unacked>> {
        self.reader.unacked()
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async {
            self.stop_watching();
            let given_back = self.reader.close().await;
            // It holds nothing, and is used no more.
            let _ = self.writer.close().await;
            self.lifeline.end(BrokerError::lost("the connection was closed"));
            given_back
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{BrokerErrorKind, Capabilities, MemoryBroker, MemoryTransport, Transport, contract};

    /// Both halves to one broker: what it does must not differ then from what one connection does.
    struct Twice(MemoryTransport);

    impl Transport for Twice {
        fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
            Box::pin(async {
                let halves = (self.0.connect().await?, self.0.connect().await?);
                Ok(Arc::new(ReadWrite::new(halves.0, halves.1)) as Arc<dyn Connection>)
            })
        }

        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }

        fn uri(&self) -> String {
            self.0.uri()
        }
    }

    #[tokio::test]
    async fn contract() {
        contract::run(&Twice(MemoryTransport::new(MemoryBroker::new()))).await;
    }

    async fn connected(read: &MemoryBroker, write: &MemoryBroker) -> ReadWrite {
        let reader = MemoryTransport::new(read.clone()).connect().await.unwrap();
        let writer = MemoryTransport::new(write.clone()).connect().await.unwrap();
        ReadWrite::new(reader, writer)
    }

    #[tokio::test]
    async fn what_is_published_is_not_what_is_read() {
        let (read, write) = (MemoryBroker::new(), MemoryBroker::new());
        let connection = connected(&read, &write).await;
        let queue = Queue::direct("q");
        let route = Route { declare: Some(Box::new(queue.clone())), ..Route::queue("q") };
        connection.declare(&queue).await.unwrap();
        connection.publish(&route, Message::default()).await.unwrap();
        assert_eq!((read.depth("q"), write.depth("q")), (Some(0), Some(1)));
        connection.consume(&queue).await.unwrap();
        assert_eq!((read.consumers("q"), write.consumers("q")), (1, 0));
        assert_eq!(connection.purge("q").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_was_read_is_settled_although_nothing_can_be_published_any_more() {
        let (read, write) = (MemoryBroker::new(), MemoryBroker::new());
        let connection = connected(&read, &write).await;
        let (queue, mut deliveries) = (Queue::direct("q"), connection.deliveries());
        connection.declare(&queue).await.unwrap();
        let elsewhere = MemoryTransport::new(read.clone()).connect().await.unwrap();
        elsewhere.publish(&Route::queue("q"), Message::default()).await.unwrap();
        connection.consume(&queue).await.unwrap();
        let held = deliveries.recv().await.unwrap();
        connection.stop_consuming().await.unwrap();
        write.disconnect("server restarts");
        held.into_iter().for_each(|delivery| delivery.acker.ack());
        assert_eq!(connection.close().await.unwrap(), 0);
        assert_eq!(read.depth("q"), Some(0));
    }

    #[tokio::test]
    async fn the_loss_of_one_half_ends_the_other() {
        for writer in [false, true] {
            let (read, write) = (MemoryBroker::new(), MemoryBroker::new());
            let connection = connected(&read, &write).await;
            let mut deliveries = connection.deliveries();
            let lost = if writer { &write } else { &read };
            lost.disconnect("server restarts");
            assert_eq!(connection.closed().await.to_string(), "server restarts");
            assert!(deliveries.recv().await.is_none());
            let queue = Queue::direct("q");
            let failures = [
                connection.declare(&queue).await.unwrap_err(),
                connection.publish(&Route::queue("q"), Message::default()).await.unwrap_err(),
            ];
            assert!(failures.iter().all(|failure| failure.kind() == BrokerErrorKind::ConnectionLost), "{failures:?}");
        }
    }
}
