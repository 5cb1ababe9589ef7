//! [`Ending`]: whether a connection is over, and why; the first reason stays.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::broker::{BrokerError, Delivery};

/// The end of a connection, seen by its tasks and by whoever waits for it.
pub(super) struct Ending {
    reason: watch::Sender<Option<BrokerError>>,
    /// The worker holds the other end; consumers have clones. Gone when the connection has ended.
    outlet: Mutex<Option<mpsc::Sender<Vec<Delivery>>>>,
}

impl Ending {
    /// Not yet.
    pub(super) fn new(outlet: mpsc::Sender<Vec<Delivery>>) -> Self {
        Self { reason: watch::Sender::new(None), outlet: Mutex::new(Some(outlet)) }
    }

    /// It is over.
    pub(super) fn end(&self, reason: BrokerError) {
        self.reason.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(reason);
            }
            first
        });
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Fails when it is over: whatever the reason was, only another connection can help.
    pub(super) fn check(&self) -> Result<(), BrokerError> {
        match &*self.reason.borrow() {
            None => Ok(()),
            Some(reason) => Err(BrokerError::lost(reason.to_string())),
        }
    }

    /// Where deliveries go.
    pub(super) fn outlet(&self) -> Result<mpsc::Sender<Vec<Delivery>>, BrokerError> {
        let outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        outlet.ok_or_else(|| BrokerError::lost("the connection was closed"))
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> BrokerError {
        let mut reason = self.reason.subscribe();
        let ended = reason.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        ended.unwrap_or_else(|| BrokerError::lost("the connection was closed"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::Ending;
    use crate::broker::{BrokerError, BrokerErrorKind};

    #[tokio::test]
    async fn the_first_reason_stays() {
        let (outlet, mut deliveries) = mpsc::channel(1);
        let ending = Ending::new(outlet);
        assert!(ending.check().is_ok() && ending.outlet().is_ok());
        ending.end(BrokerError::refused("channel gone"));
        ending.end(BrokerError::lost("connection gone"));
        assert_eq!(ending.ended().await.to_string(), "channel gone");
        assert_eq!(ending.check().unwrap_err().kind(), BrokerErrorKind::ConnectionLost);
        assert!(ending.outlet().is_err());
        assert!(deliveries.recv().await.is_none());
    }
}
