//! [`Link`]: the broker's side of one connection, and [`Consumer`]: one of its interests in a queue.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::broker::{Acker, BrokerError, Deliveries, Delivery, Settle, Tag, memory::queue::Stored};

/// Who wants a queue's messages, and how.
#[derive(Clone)]
pub(super) struct Consumer {
    pub(super) id: u64,
    pub(super) link: u64,
    /// The stream of a `no_ack` consumer; the receiver is with whoever subscribed. Without it deliveries go into the
    /// link's own stream and are held.
    pub(super) stream: Option<mpsc::Sender<Vec<Delivery>>>,
}

/// A message handed out and not settled.
pub(super) struct Held {
    pub(super) queue: Arc<str>,
    pub(super) stored: Stored,
}

/// A connection as the broker sees it.
pub(super) struct Link {
    pub(super) prefetch: u32,
    pub(super) held: BTreeMap<u64, Held>,
    next_tag: u64,
    outbox: Vec<Delivery>,
    /// The receiver is with the worker, as the connection's `deliveries`.
    stream: mpsc::Sender<Vec<Delivery>>,
    closed: watch::Sender<Option<BrokerError>>,
    sink: Arc<dyn Settle>,
}

/// The connection's ends of a link's channels.
pub(super) struct LinkEnds {
    pub(super) deliveries: Deliveries,
    pub(super) closed: watch::Receiver<Option<BrokerError>>,
}

impl Link {
    /// A link whose settlements go to `sink`.
    pub(super) fn new(sink: Arc<dyn Settle>) -> (Self, LinkEnds) {
        let (stream, deliveries) = stream();
        let (closed, closed_end) = watch::channel(None);
        let link = Self { prefetch: 0, held: BTreeMap::new(), next_tag: 1, outbox: Vec::new(), stream, closed, sink };
        (link, LinkEnds { deliveries, closed: closed_end })
    }

    /// Whether the prefetch window has a place.
    pub(super) fn has_room(&self) -> bool {
        self.prefetch == 0 || self.held.len() < self.prefetch as usize
    }

    /// Hands out a message; it leaves with the next [`flush`](Self::flush).
    pub(super) fn hand_out(&mut self, queue: &Arc<str>, stored: Stored) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.outbox.push(Delivery {
            message: Ok(stored.message.clone()),
            queue: queue.clone(),
            redelivered: stored.redelivered,
            acker: Acker::new(Tag::Number(tag), self.sink.clone()),
        });
        self.held.insert(tag, Held { queue: queue.clone(), stored });
    }

    /// Sends what was handed out, as one batch.
    pub(super) fn flush(&mut self) {
        if !self.outbox.is_empty() {
            // A receiver that is gone no longer wants them; they stay held until the connection ends.
            let _ = self.stream.try_send(std::mem::take(&mut self.outbox));
        }
    }

    /// Tells the connection's side that it is over.
    pub(super) fn end(self, reason: BrokerError) -> BTreeMap<u64, Held> {
        self.closed.send_replace(Some(reason));
        self.held
    }
}

/// A stream that never makes the broker wait: what it may hold is bounded by the prefetch window, or by the caller.
pub(super) fn stream() -> (mpsc::Sender<Vec<Delivery>>, Deliveries) {
    mpsc::channel(Semaphore::MAX_PERMITS)
}
