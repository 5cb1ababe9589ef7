//! [`Receipt`]: a message that was received, and [`Ended`]: one of which it is known what is to become of it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use crate::broker::{Settlement, sqs::queue::SqsQueue};

/// The right to a message that was received.
#[derive(Clone)]
pub(super) struct Receipt {
    pub queue: Arc<SqsQueue>,
    pub handle: String,
    /// SQS's name of the message.
    pub id: Option<Uuid>,
    /// The task's name.
    pub task: String,
    /// How often the message has been received by now.
    pub received: u32,
    /// How long it stays hidden each time.
    pub visibility: Duration,
    /// When it was received.
    pub since: Instant,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Settled(Settlement),
    /// Back to its queue at once, for others: nobody here wants it.
    Released,
}

/// A message of which that is known.
pub(super) struct Ended {
    pub number: u64,
    /// Of the connection that has received it.
    pub connection: u64,
    pub receipt: Receipt,
    pub end: End,
    /// How often it could not be settled, and when that is tried again.
    pub attempts: u32,
    pub again_at: Option<Instant>,
}

impl Ended {
    /// Whether nothing else is being done to it, nor to its queue. To delete it while it is extended is right.
    pub fn is_free(&self, extending: &HashSet<u64>, busy: &HashSet<Arc<str>>) -> bool {
        let deleted = self.end == End::Settled(Settlement::Ack);
        !busy.contains(&self.receipt.queue.name) && (deleted || !extending.contains(&self.number))
    }
}

/// What came of extending a message's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// It is hidden for so long.
    For(Duration),
    /// It is due still.
    Later,
    /// It is not ours to hide any more.
    Lapsed,
}
