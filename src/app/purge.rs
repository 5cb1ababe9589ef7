//! [`Booted::purge`]: `--purge`, on a connection of its own, before the worker is one (`celery/apps/worker.py`).

use std::{sync::Arc, time::Duration};

use crate::{
    app::{AppError, Booted, transports::write_transports},
    broker::{BrokerError, Connection, Failover, Transport},
};

impl Booted {
    /// Empties the queues that will be consumed, which are declared first; how many messages there were. Waits for a broker
    /// that is not there yet, if `broker_connection_retry_on_startup` says so.
    ///
    /// # Errors
    /// The broker cannot be reached or does not allow it.
    pub async fn purge(&self) -> Result<u64, AppError> {
        let transports = write_transports(&self.settings.broker)?;
        let connection = self.connect_to_purge(&transports).await?;
        let mut count = 0;
        for queue in self.queues.consume_from() {
            if !queue.no_declare {
                connection.declare(queue).await?;
            }
            count += connection.purge(&queue.name).await?;
        }
        connection.close().await?;
        Ok(count)
    }

    /// Goes over the failover list, waiting only after as many attempts as it has brokers.
    async fn connect_to_purge(&self, transports: &[Arc<dyn Transport>]) -> Result<Arc<dyn Connection>, BrokerError> {
        let broker = &self.settings.broker;
        let max_retries = if broker.connection_retry_on_startup { broker.connection_max_retries } else { Some(0) };
        let log = |failure: &BrokerError, wait: Duration| {
            tracing::error!(target: "celery.apps.worker",
                "purge: Connection error: {failure}. Trying again in {:.2} seconds...", wait.as_secs_f64());
        };
        Failover::new(transports, broker.failover_strategy, max_retries).connect(log).await
    }
}
