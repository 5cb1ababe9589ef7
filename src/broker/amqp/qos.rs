//! The prefetch window: what is wanted, and what the server was told last.

use lapin::{Channel, options::BasicQosOptions};
use tokio::sync::{Mutex, watch};

use crate::broker::{BrokerError, amqp::error};

/// Wanted and applied prefetch counts of one channel.
pub(super) struct Prefetch {
    wanted: watch::Sender<u32>,
    applied: Mutex<u32>,
    global: bool,
}

impl Prefetch {
    /// Unlimited, as a new channel is. `global`: the window is the channel's, in RabbitMQ's sense of the flag.
    pub(super) fn new(global: bool) -> Self {
        Self { wanted: watch::Sender::new(0), applied: Mutex::new(0), global }
    }

    /// Notes what is wanted. Several changes in a row become one.
    pub(super) fn want(&self, count: u32) {
        self.wanted.send_replace(count);
    }

    /// What is wanted; 0 is no limit.
    pub(super) fn wanted(&self) -> u32 {
        *self.wanted.borrow()
    }

    /// Tells the server, if it does not know.
    pub(super) async fn apply(&self, channel: &Channel) -> Result<(), BrokerError> {
        let mut applied = self.applied.lock().await;
        let wanted = self.wanted();
        // Beyond what the wire can say there is no difference.
        let is_known = wanted == *applied || wanted.min(*applied) > u16::MAX.into();
        if is_known {
            return Ok(());
        }
        let options = BasicQosOptions { global: self.global };
        let qos = channel.basic_qos(on_the_wire(wanted), options).await;
        qos.map_err(|error| error::during("cannot set the prefetch count", &error))?;
        *applied = wanted;
        Ok(())
    }

    /// Applies every change until the channel fails.
    pub(super) async fn follow(&self, channel: &Channel) {
        let mut changes = self.wanted.subscribe();
        while changes.changed().await.is_ok() {
            if let Err(error) = self.apply(channel).await {
                tracing::debug!(%error, "the prefetch count stays as it is");
                return;
            }
        }
    }
}

/// AMQP has 16 bits for it; kombu asks for no limit when they do not suffice.
fn on_the_wire(count: u32) -> u16 {
    u16::try_from(count).unwrap_or_else(|_| {
        tracing::warn!("QoS: Disabled: prefetch_count exceeds {}", u16::MAX);
        0
    })
}

#[cfg(test)]
mod tests {
    use super::on_the_wire;

    #[test]
    fn what_does_not_fit_is_no_limit() {
        assert_eq!((on_the_wire(0), on_the_wire(65_535), on_the_wire(65_536)), (0, 65_535, 0));
    }
}
