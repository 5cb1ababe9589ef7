//! [`Booted::purge`]: `--purge`, on a connection of its own, before the worker is one (`celery/apps/worker.py`).

use std::sync::Arc;

use crate::{
    app::{AppError, Booted, transports::transports},
    broker::{Backoff, BrokerError, BrokerErrorKind, Connection, Transport},
};

impl Booted {
    /// Empties the queues that will be consumed, which are declared first; how many messages there were. Waits for a broker
    /// that is not there yet, if `broker_connection_retry_on_startup` says so.
    ///
    /// # Errors
    /// The broker cannot be reached or does not allow it.
    pub async fn purge(&self) -> Result<u64, AppError> {
        let transports = transports(&self.settings.broker, &self.queues)?;
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

    /// Goes round the failover list, waiting after each full round.
    async fn connect_to_purge(&self, transports: &[Arc<dyn Transport>]) -> Result<Arc<dyn Connection>, BrokerError> {
        let mut backoff = Backoff::new(self.settings.broker.connection_max_retries);
        loop {
            let mut last = BrokerError::unusable("there is no broker URL");
            for transport in transports {
                match transport.connect().await {
                    Ok(connection) => return Ok(connection),
                    Err(failure) => last = failure,
                }
            }
            let may_retry = self.settings.broker.connection_retry_on_startup;
            if last.kind() == BrokerErrorKind::Unusable || !may_retry {
                return Err(last);
            }
            let Some(wait) = backoff.next() else { return Err(last) };
            tracing::error!(target: "celery.apps.worker",
                "purge: Connection error: {last}. Trying again in {:.2} seconds...", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
    }
}
