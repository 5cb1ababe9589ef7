//! An in-process broker with real prefetch, requeue and `redelivered`: for tests, and for programs that are their own
//! producer.
//!
//! It behaves as RabbitMQ does where both have a say (exchanges, priorities, exclusive and auto-delete queues,
//! precondition failures). Nothing survives the process, and what a broker does with time (`x-expires`,
//! `x-message-ttl`, `expiration`) or with dead letters is not done here.

mod connection;
mod outlet;
mod queue;
mod routing;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use crate::{
    broker::{BrokerError, Capabilities, Connection, Transport},
    protocol::{Message, Route},
};

use connection::MemoryConnection;
use state::State;

/// The broker: every [`MemoryTransport`] made from a clone of it meets the same queues.
#[derive(Clone, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

impl MemoryBroker {
    /// An empty broker.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages wait in a queue, those held by consumers not counted; `None` if there is no such queue.
    pub fn depth(&self, queue: &str) -> Option<usize> {
        self.lock().depth(queue)
    }

    /// How many messages are held unsettled by all connections.
    pub fn held(&self) -> usize {
        self.lock().held()
    }

    /// How many consumers a queue has; 0 if there is no such queue.
    pub fn consumers(&self, queue: &str) -> usize {
        self.lock().consumers(queue)
    }

    /// Copies of the messages that wait in a queue, the next one first.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        self.lock().messages(queue)
    }

    /// Publishes without a connection.
    pub fn publish(&self, route: &Route, message: Message) -> Result<(), BrokerError> {
        self.lock().publish(route, message)
    }

    /// Breaks every connection, as a broker's restart does; what they held goes back to its queues. Queues and waiting
    /// messages stay.
    pub fn disconnect(&self, reason: &str) {
        self.lock().disconnect_all(&BrokerError::lost(reason));
    }

    /// The next `times` attempts to connect fail with a lost connection.
    pub fn refuse_connections(&self, times: usize) {
        self.lock().refuse_connections(times);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections to a [`MemoryBroker`].
#[derive(Clone)]
pub struct MemoryTransport {
    broker: MemoryBroker,
}

impl MemoryTransport {
    /// A transport to `broker`.
    pub fn new(broker: MemoryBroker) -> Self {
        Self { broker }
    }
}

impl Transport for MemoryTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async { Ok(Arc::new(MemoryConnection::open(&self.broker)?) as Arc<dyn Connection>) })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "memory", fanout: true, disable_prefetch: false }
    }

    fn uri(&self) -> String {
        "memory://localhost//".to_owned()
    }
}
