//! [`ChannelSlot`]: a channel for operations that a broker may refuse, which ends the channel; the next one opens
//! another.

use lapin::{Channel, Connection};
use tokio::sync::Mutex;

use crate::broker::{BrokerError, amqp::error};

/// A place for a channel.
#[derive(Default)]
pub(super) struct ChannelSlot(Mutex<Option<Channel>>);

impl ChannelSlot {
    /// The channel, opened anew if the last one is gone.
    pub(super) async fn open(&self, connection: &Connection) -> Result<Channel, BrokerError> {
        let mut slot = self.0.lock().await;
        if let Some(channel) = slot.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        Ok(slot.insert(open(connection).await?).clone())
    }
}

/// A new channel.
pub(super) async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(|error| error::during("cannot open a channel", &error))
}
