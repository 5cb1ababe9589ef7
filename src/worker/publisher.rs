//! [`SessionPublisher`]: publishing over whatever connection is current.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection, Publish},
    protocol::{Message, Route},
};

/// Between two attempts over the same connection.
const RETRY: Duration = Duration::from_secs(1);

/// Waits for a connection where there is none: what a finished task sends on is not lost to a broker restart.
pub struct SessionPublisher {
    /// Written by [`session`](super::session), on each connect and loss.
    current: watch::Receiver<Option<Arc<dyn Connection>>>,
    /// Cancelled when the worker has given up the broker for good.
    stopped: CancellationToken,
}

impl SessionPublisher {
    /// A publisher over the connections that come through `current`, until `stopped`.
    pub fn new(current: watch::Receiver<Option<Arc<dyn Connection>>>, stopped: CancellationToken) -> Self {
        Self { current, stopped }
    }

    async fn connection(&self) -> Result<Arc<dyn Connection>, BrokerError> {
        let mut current = self.current.clone();
        let connected = current.wait_for(Option::is_some);
        // Publishing goes on while the worker stops, as long as there is a connection.
        let found = tokio::select! {
            biased;
            found = connected => found.ok().and_then(|slot| slot.clone()),
            () = self.stopped.cancelled() => None,
        };
        found.ok_or_else(|| BrokerError::lost("the worker is no longer connected to the broker"))
    }

    fn can_wait(&self, error: &BrokerError) -> bool {
        error.kind() == BrokerErrorKind::ConnectionLost && !self.stopped.is_cancelled()
    }

    /// Resolves when `connection` is no longer the current one, or when it is time to try it again: some transports publish
    /// through a connection of their own, whose loss the session does not see.
    async fn replaced(&self, connection: &Arc<dyn Connection>) {
        let mut current = self.current.clone();
        let other = |slot: &Option<Arc<dyn Connection>>| slot.as_ref().is_none_or(|now| !Arc::ptr_eq(now, connection));
        tokio::select! {
            _ = current.wait_for(other) => {}
            () = self.stopped.cancelled() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

impl Publish for SessionPublisher {
    fn publish(&self, route: Route, message: Message) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            loop {
                let connection = self.connection().await?;
                match connection.publish(&route, message.clone()).await {
                    Err(error) if self.can_wait(&error) => self.replaced(&connection).await,
                    settled => return settled,
                }
            }
        })
    }
}
