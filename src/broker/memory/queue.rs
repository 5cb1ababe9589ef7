//! [`MemoryQueue`]: messages that wait, in the order in which they are to be handed out, and who wants them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use crate::{
    broker::memory::outlet::Consumer,
    protocol::{Message, Queue},
};

/// A message's place: higher priority first, then age. A requeued message goes back to it.
pub(super) type Place = (Reverse<u8>, u64);

/// A message that waits or is held.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) message: Message,
    pub(super) redelivered: bool,
}

/// A queue and its consumers, next in turn first.
pub(super) struct MemoryQueue {
    declared: Queue,
    owner: Option<u64>,
    max_priority: u8,
    ready: BTreeMap<Place, Stored>,
    pub(super) consumers: VecDeque<Consumer>,
}

impl MemoryQueue {
    /// An empty queue; `link` owns it if it is exclusive.
    pub(super) fn new(declared: &Queue, link: u64) -> Self {
        let max_priority = declared.arguments.get("x-max-priority").and_then(|v| v.as_i64()).unwrap_or(0);
        Self {
            declared: declared.clone(),
            owner: declared.exclusive.then_some(link),
            max_priority: max_priority.clamp(0, 255) as u8,
            ready: BTreeMap::new(),
            consumers: VecDeque::new(),
        }
    }

    /// What a second declaration has to agree with; the name of the first argument that does not.
    pub(super) fn conflict(&self, other: &Queue) -> Option<&'static str> {
        let this = &self.declared;
        [
            (this.durable == other.durable, "durable"),
            (this.auto_delete == other.auto_delete, "auto_delete"),
            (this.exclusive == other.exclusive, "exclusive"),
            (this.arguments == other.arguments, "arguments"),
        ]
        .into_iter()
        .find_map(|(same, name)| (!same).then_some(name))
    }

    /// Whether only another connection may use it.
    pub(super) fn locked_for(&self, link: u64) -> bool {
        self.owner.is_some_and(|owner| owner != link)
    }

    /// Whether it goes away with this connection.
    pub(super) fn owned_by(&self, link: u64) -> bool {
        self.owner == Some(link)
    }

    /// Whether it goes away with its last consumer.
    pub(super) fn auto_delete(&self) -> bool {
        self.declared.auto_delete
    }

    /// Adds a message that was just published; `sequence` grows with every message of the broker.
    pub(super) fn push(&mut self, message: Message, sequence: u64) {
        let priority = message.properties.priority.unwrap_or(0).clamp(0, self.max_priority.into()) as u8;
        self.put(Stored { place: (Reverse(priority), sequence), message, redelivered: false });
    }

    /// Puts a message where it belongs.
    pub(super) fn put(&mut self, stored: Stored) {
        self.ready.insert(stored.place, stored);
    }

    /// Takes the next message.
    pub(super) fn pop(&mut self) -> Option<Stored> {
        self.ready.pop_first().map(|(_, stored)| stored)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Removes what waits and says how much it was.
    pub(super) fn purge(&mut self) -> u64 {
        std::mem::take(&mut self.ready).len() as u64
    }

    /// Copies of what waits.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.ready.values().map(|stored| stored.message.clone()).collect()
    }
}
