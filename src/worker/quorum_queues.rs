//! [`QuorumQueues`]: what a worker does beyond the usual where RabbitMQ has quorum queues: native delayed delivery
//! (`celery/worker/consumer/delayed_delivery.py`), and a word on the prefetch count. Their own prefetch windows are the
//! transport's business.

use std::sync::Arc;

use futures::future::BoxFuture;
use tracing::{debug, error, info, warn};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection},
    protocol::{ExchangeType, Queue},
    worker::SessionHook,
};

const LOGGER: &str = "celery.worker.consumer.delayed_delivery";

/// Joins each connection to a broker with quorum queues.
pub struct QuorumQueues {
    /// Every queue of the app, consumed or not.
    pub queues: Vec<Queue>,
    /// `broker_native_delayed_delivery_queue_type`: `classic` or `quorum`.
    pub queue_type: String,
    /// Whether each consumer has a window of its own (`worker_detect_quorum_queues`).
    pub static_prefetch: bool,
    /// The broker as it may be logged.
    pub uri: String,
}

impl QuorumQueues {
    /// Nobody is sure of delayed messages when this fails, but the worker goes on: so does Celery's.
    async fn set_up(&self, connection: &dyn Connection) -> Result<(), BrokerError> {
        debug!(target: LOGGER, "Setting up delayed delivery for broker '{}' with queue type '{}'", self.uri, self.queue_type);
        connection.declare_delays(&self.queue_type).await.inspect_err(|failure| {
            warn!(target: LOGGER, "Failed to declare exchanges and queues for '{}': {failure}", self.uri);
        })?;
        self.bind(connection).await.inspect_err(|failure| {
            warn!(target: LOGGER, "Failed to bind queues for '{}': {failure}", self.uri);
        })
    }

    /// One that cannot be bound does not keep the others from it.
    async fn bind(&self, connection: &dyn Connection) -> Result<(), BrokerError> {
        let mut failed = 0;
        // A Broadcast's messages are nobody's in particular.
        for queue in self.queues.iter().filter(|queue| queue.alias.is_none()) {
            debug!(target: LOGGER, "Binding queue '{}' to delayed delivery exchange", queue.name);
            if let Err(failure) = bind(connection, queue).await {
                error!(target: LOGGER, "Failed to bind queue '{}': {failure}", queue.name);
                if failure.kind() == BrokerErrorKind::ConnectionLost {
                    return Err(failure);
                }
                failed += 1;
            }
        }
        if failed == 0 {
            return Ok(());
        }
        let exceptions = if failed == 1 { "sub-exception" } else { "sub-exceptions" };
        Err(BrokerError::refused(format!(
            "One or more failures occurred while binding queues to delayed delivery exchanges ({failed} {exceptions})"
        )))
    }
}

/// To all that a queue is bound to, if that can be.
async fn bind(connection: &dyn Connection, queue: &Queue) -> Result<(), BrokerError> {
    for (exchange, key, _) in queue.bound_by() {
        if exchange.kind == ExchangeType::Direct {
            warn!(target: "kombu.transport.native_delayed_delivery",
                "Exchange {} is a direct exchange and native delayed delivery do not support direct exchanges.\n\
                 ETA tasks published to this exchange will block the worker until the ETA arrives.", exchange.name);
            continue;
        }
        connection.bind_to_delays(&queue.name, &exchange.name, key).await?;
    }
    Ok(())
}

impl SessionHook for QuorumQueues {
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.static_prefetch {
                info!(target: "celery.worker.consumer.tasks", "Global QoS is disabled. Prefetch count is now static.");
            }
            if let Err(failure) = self.set_up(connection.as_ref()).await {
                warn!(target: LOGGER, "Failed to setup delayed delivery for '{}': {failure}", self.uri);
                // The next connection sets it up.
                if failure.kind() == BrokerErrorKind::ConnectionLost {
                    return Err(failure);
                }
                error!(target: LOGGER, critical = true,
                    "Failed to setup delayed delivery for all broker URLs. Native delayed delivery will not be available.");
            }
            Ok(())
        })
    }
}
