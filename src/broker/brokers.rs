//! [`Brokers`]: where a worker consumes and where it publishes, as failover lists.

use std::sync::Arc;

use crate::broker::{Capabilities, Transport};

/// The brokers of a worker (`broker_read_url`, `broker_write_url`).
pub struct Brokers {
    /// Where it consumes: the first is tried first.
    pub read: Vec<Arc<dyn Transport>>,
    /// Where it publishes; none where it publishes through the connection that it consumes from.
    pub write: Option<Vec<Arc<dyn Transport>>>,
}

impl Brokers {
    /// What can be expected of the broker that it consumes from; none of an empty list.
    pub fn reads_from(&self) -> Option<Capabilities> {
        self.read.first().map(|transport| transport.capabilities())
    }

    /// The same, of the one that it publishes to.
    pub fn writes_to(&self) -> Option<Capabilities> {
        self.write.as_ref().unwrap_or(&self.read).first().map(|transport| transport.capabilities())
    }
}
