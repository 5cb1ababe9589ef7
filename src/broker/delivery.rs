//! [`Delivery`]: one message taken from a queue, and the stream of them.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{broker::Acker, protocol::Message};

/// A message that this connection holds until its [`Acker`] is used.
#[derive(Debug)]
pub struct Delivery {
    /// What was taken. Input that is no message at all (bad JSON, bad base64) is an error for the worker to log; its
    /// acker is as good as any other.
    pub message: Result<Message, MalformedMessage>,
    /// The queue it was taken from.
    pub queue: Arc<str>,
    /// Whether the broker says that someone had it before.
    pub redelivered: bool,
    /// The right to settle it.
    pub acker: Acker,
}

/// Bytes in a queue that are not even an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MalformedMessage {
    /// What is wrong with it.
    pub reason: String,
    /// The beginning of what was there, for the log.
    pub excerpt: String,
}

/// Deliveries of all queues that a connection consumes, in batches as they came off the wire.
///
/// The sender's half is held by the connection; the stream ends when the connection is lost or closed.
pub type Deliveries = mpsc::Receiver<Vec<Delivery>>;
