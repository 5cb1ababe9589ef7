//! The port: [`Transport`] makes connections, a [`Connection`] carries messages.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    broker::{BrokerError, Deliveries, Unacked},
    protocol::{Message, Queue, Route},
};

/// What a transport can do, where transports differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// kombu's `driver_type`: `amqp`, `redis`, `sqs`, `filesystem`, `memory`.
    pub driver: &'static str,
    /// Whether fanout exchanges work (remote control, gossip).
    pub fanout: bool,
    /// Whether the worker may decline to prefetch (`worker_disable_prefetch`), by pausing: Redis only.
    pub disable_prefetch: bool,
}

/// A way to a broker: parsed, checked, not yet connected.
pub trait Transport: Send + Sync {
    /// Connects once; retrying is the caller's, with [`Backoff`](super::Backoff). Every URL of a failover list is one transport.
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>>;
    /// Settles what lost connections held, and gives back the rest of it, where that can be done without a connection. The last
    /// step of a shutdown that has none.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What can be expected of its connections.
    fn capabilities(&self) -> Capabilities;
    /// The URL as Celery logs it, the password replaced by `**`.
    fn uri(&self) -> String;
}

/// A live connection. All methods may be called from any task at any time; after [`closed`](Connection::closed) has
/// resolved they fail with [`BrokerErrorKind::ConnectionLost`](super::BrokerErrorKind::ConnectionLost).
pub trait Connection: Send + Sync {
    /// Declares exchange, queue and bindings as Celery would. Idempotent.
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Declares what native delayed delivery needs, with queues of this type: `classic` or `quorum`. Idempotent; only
    /// RabbitMQ knows it.
    fn declare_delays<'a>(&'a self, _queue_type: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Has delayed messages to this exchange with this key reach a declared queue when their time has come. The exchange must
    /// not be direct.
    fn bind_to_delays<'a>(
        &'a self,
        _queue: &'a str,
        _exchange: &'a str,
        _key: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Takes the stream of deliveries of all queues consumed with an ack. May be called once per connection; queues are
    /// added by [`consume`](Connection::consume), before or after.
    fn deliveries(&self) -> Deliveries;

    /// Begins to consume a declared queue; its deliveries arrive in [`deliveries`](Connection::deliveries).
    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Stops consuming a queue. What was delivered stays held.
    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Consumes a queue of its own stream, without acks and outside the prefetch window: pidbox, events, replies.
    /// Declares it first; it is given up when the stream is dropped.
    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>>;

    /// How many deliveries may be held unsettled; 0 is unlimited. Takes effect soon, not at once.
    fn set_prefetch(&self, count: u32);

    /// Takes nothing for now, whatever the window, or goes on. Only where [`Capabilities::disable_prefetch`] says so, since
    /// elsewhere the broker decides when a message comes.
    fn set_paused(&self, _paused: bool) {}

    /// Publishes. Resolves when the broker has it for certain (a confirm on AMQP, the reply on Redis). `Message` is sent with
    /// the properties it has; a transport adds only what its wire needs.
    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// How many messages wait in a queue and removes them (`--purge`).
    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>>;

    /// Resolves when the connection is gone, with the reason.
    fn closed(&self) -> BoxFuture<'_, BrokerError>;

    /// Ends the connection as if it had been lost, and resolves when the next one may be made: what is held is not given back,
    /// and where [tags survive](Self::tags_survive) it goes to the next connection.
    fn abandon(&self) -> BoxFuture<'_, ()>;

    /// Stops delivering; settlements and publishes still work. The first step of every shutdown.
    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Whether what this connection holds can still be settled through the next connection of its transport: on Redis, where
    /// a delivery is noted under the worker's own tag. On AMQP the broker hands it out again at once.
    fn tags_survive(&self) -> bool {
        false
    }

    /// Where what is held can be read again; none where the broker keeps no note of it that we may read. The same one for all
    /// connections of a transport.
    fn unacked(&self) -> Option<Arc<dyn Unacked>> {
        None
    }

    /// Sends what settlements are queued, gives back what is still held (Redis: restores it to its queues), disconnects.
    /// Returns how many deliveries were given back. Takes as long as there is progress, and ends by itself where there is none.
    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>>;
}
