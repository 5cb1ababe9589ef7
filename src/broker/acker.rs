//! [`Acker`]: a delivery's right to be settled, as a value that is consumed once.

use std::sync::Arc;

/// What becomes of a delivery at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done with.
    Ack,
    /// Refused for good: dropped, or dead-lettered where the queue says so.
    Drop,
    /// Refused for now: back to the queue, marked as redelivered.
    Requeue,
}

/// How a transport names a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tag {
    /// AMQP's delivery tag, scoped to a channel; on Redis the running number of the delivery, which is the end of its
    /// field in kombu's `unacked` hash.
    Number(u64),
    /// A name that is no number.
    Text(Box<str>),
}

/// A connection's side of an [`Acker`]. Implementations queue the settlement and return at once; they batch what is
/// queued, keep the order, and drop (with a log line) what belongs to a connection that is gone.
pub trait Settle: Send + Sync {
    /// Takes note of one settlement.
    fn settle(&self, tag: Tag, settlement: Settlement);

    /// Takes note that nobody will ever settle this one. Only brokers that do not notice the end of a connection by
    /// themselves need to know.
    fn leave(&self, _tag: Tag) {}
}

/// The right to settle one delivery. Dropping it leaves the delivery to the broker, which hands it out again when the
/// connection ends.
#[must_use = "a delivery that is never settled comes back when the connection ends"]
pub struct Acker {
    tag: Tag,
    sink: Option<Arc<dyn Settle>>,
}

impl Acker {
    /// An acker whose settlements go to `sink`.
    pub fn new(tag: Tag, sink: Arc<dyn Settle>) -> Self {
        Self { tag, sink: Some(sink) }
    }

    /// An acker for a delivery that counts as acknowledged already (`no_ack` consumers).
    pub fn settled() -> Self {
        Self { tag: Tag::Number(0), sink: None }
    }

    /// Acknowledges.
    pub fn ack(self) {
        self.settle(Settlement::Ack);
    }

    /// Rejects; `requeue` says whether it goes back to its queue.
    pub fn reject(self, requeue: bool) {
        self.settle(if requeue { Settlement::Requeue } else { Settlement::Drop });
    }

    /// Leaves the delivery unsettled, so that the broker hands it out again when the connection ends.
    pub fn leave(self) {}

    /// The number of a delivery that is held under one.
    pub fn number(&self) -> Option<u64> {
        match (&self.tag, &self.sink) {
            (Tag::Number(number), Some(_)) => Some(*number),
            _ => None,
        }
    }

    /// Gives the right up for the delivery's tag, by which [`Unacked`](super::Unacked) gives it back. The delivery stays held.
    pub fn into_tag(mut self) -> Tag {
        self.sink = None;
        self.take_tag()
    }

    /// How the transport names the delivery, for log lines.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Settles in the given way.
    pub fn settle(mut self, settlement: Settlement) {
        let tag = self.take_tag();
        if let Some(sink) = self.sink.take() {
            sink.settle(tag, settlement);
        }
    }

    fn take_tag(&mut self) -> Tag {
        std::mem::replace(&mut self.tag, Tag::Number(0))
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.leave(self.take_tag());
        }
    }
}

impl std::fmt::Debug for Acker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acker").field("tag", &self.tag).finish_non_exhaustive()
    }
}
