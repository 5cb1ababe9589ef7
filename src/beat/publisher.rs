//! [`BeatPublisher`]: a connection of beat's own, for a beat without a worker around it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::LOGGER;
use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection, Failover, Publish, Transport},
    config::FailoverStrategy,
    protocol::{Message, Route},
};

/// Connects when there is something to send, and again when the connection is lost; what is due waits for it.
pub struct BeatPublisher {
    /// The failover list.
    transports: Vec<Arc<dyn Transport>>,
    /// `broker_failover_strategy`.
    strategy: FailoverStrategy,
    /// `broker_connection_max_retries`; none is for ever.
    max_retries: Option<u32>,
    connection: Mutex<Option<Arc<dyn Connection>>>,
}

impl BeatPublisher {
    /// Not connected yet.
    pub fn new(transports: Vec<Arc<dyn Transport>>, strategy: FailoverStrategy, max_retries: Option<u32>) -> Self {
        Self { transports, strategy, max_retries, connection: Mutex::new(None) }
    }

    /// Disconnects.
    pub async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            let _ = connection.close().await;
        }
    }

    /// Goes over the failover list, waiting only after as many attempts as it has brokers.
    async fn connect(&self) -> Result<Arc<dyn Connection>, BrokerError> {
        let failover = Failover::new(&self.transports, self.strategy, self.max_retries);
        let log = |failure: &BrokerError, wait: Duration| {
            let seconds = wait.as_secs_f64();
            tracing::error!(target: LOGGER, "beat: Connection error: {failure}. Trying again in {seconds:.1} seconds...");
        };
        failover.connect(log).await
    }
}

impl Publish for BeatPublisher {
    fn publish(&self, route: Route, message: Message) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut current = self.connection.lock().await;
            loop {
                let connection = match current.take() {
                    Some(connection) => connection,
                    None => self.connect().await?,
                };
                match connection.publish(&route, message.clone()).await {
                    Err(error) if error.kind() == BrokerErrorKind::ConnectionLost => {
                        tracing::error!(target: LOGGER, "beat: Connection error: {error}. Trying again in 1.0 seconds...");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    settled => {
                        *current = Some(connection);
                        return settled;
                    }
                }
            }
        })
    }
}
