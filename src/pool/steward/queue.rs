//! [`Queue`]: the errands that have no end yet, in order, and how far they are written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Answer, Load, StewardError, weight};
use crate::ipc::codec::encode;
use crate::ipc::{Errand, ToSteward};

/// So many stewards may die over one call.
const MOST_DEATHS: u8 = 3;

/// One errand.
#[derive(Debug)]
struct Entry {
    number: u64,
    name: String,
    /// The encoded frame.
    bytes: Vec<u8>,
    weight: usize,
    /// Who waits for its end; nobody for a notice.
    answer: Option<oneshot::Sender<Answer>>,
    deaths: u8,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Entries that are wholly written.
    written: usize,
    /// Bytes of the next one that are.
    offset: usize,
    last_number: u64,
    /// When the first entry became the first that is written and has no end.
    since: Option<Instant>,
    load: Arc<Load>,
}

impl Queue {
    pub(super) fn new(load: Arc<Load>) -> Self {
        Self { entries: VecDeque::new(), written: 0, offset: 0, last_number: 0, since: None, load }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds one. One that cannot be encoded (larger than a frame may be) is answered at once.
    pub(super) fn push(&mut self, errand: Errand, answer: Option<oneshot::Sender<Answer>>) {
        if let Some(entry) = self.entry(errand, answer) {
            self.entries.push_back(entry);
        }
    }

    /// Adds notices before all that waits, where nothing has been written yet.
    pub(super) fn push_first(&mut self, errands: &[Errand]) {
        for errand in errands.iter().rev() {
            self.load.notices.fetch_add(1, Ordering::Relaxed);
            self.load.bytes.fetch_add(weight(errand), Ordering::Relaxed);
            if let Some(entry) = self.entry(errand.clone(), None) {
                self.entries.push_front(entry);
            }
        }
    }

    fn entry(&mut self, errand: Errand, answer: Option<oneshot::Sender<Answer>>) -> Option<Entry> {
        self.last_number += 1;
        let (number, name, weight) = (self.last_number, errand.name.clone(), weight(&errand));
        let mut bytes = Vec::new();
        let encoded = encode(&ToSteward::Run { number, errand }, &mut bytes);
        let entry = Entry { number, name, bytes, weight, answer, deaths: 0 };
        match encoded {
            Ok(()) => Some(entry),
            Err(error) => {
                self.end(entry, Err(StewardError::Raised(error.to_string())));
                None
            }
        }
    }

    /// What is to be written next.
    pub(super) fn unwritten(&self) -> Option<&[u8]> {
        self.entries.get(self.written).map(|entry| &entry.bytes[self.offset..])
    }

    /// So many bytes of it are written.
    pub(super) fn wrote(&mut self, bytes: usize, now: Instant) {
        self.offset += bytes;
        if self.entries.get(self.written).is_some_and(|entry| self.offset >= entry.bytes.len()) {
            self.written += 1;
            self.offset = 0;
            self.since.get_or_insert(now);
        }
    }

    /// An errand has ended. An answer to what was never asked says nothing.
    pub(super) fn done(&mut self, number: u64, answer: Answer, now: Instant) {
        let Some(position) = self.entries.iter().take(self.written).position(|entry| entry.number == number) else {
            return;
        };
        if let Some(entry) = self.entries.remove(position) {
            self.written -= 1;
            if let (None, Err(error)) = (&entry.answer, &answer) {
                tracing::error!(target: "celery.worker", "steward: {} could not be done: {error}", entry.name);
            }
            self.end(entry, answer);
        }
        if position == 0 {
            self.since = (self.written > 0).then_some(now);
        }
    }

    /// What the steward has been at since when.
    pub(super) fn current(&self) -> Option<(&str, Instant)> {
        Some((self.entries.front()?.name.as_str(), self.since?))
    }

    /// The steward has died: the errand it was at is not tried for ever, the others are for the next one.
    pub(super) fn rewind(&mut self) {
        let was_at_one = self.written > 0 || self.offset > 0;
        (self.written, self.offset, self.since) = (0, 0, None);
        let Some(first) = self.entries.front_mut().filter(|_| was_at_one) else { return };
        first.deaths += 1;
        let is_over = first.answer.is_none() || first.deaths >= MOST_DEATHS;
        if is_over && let Some(first) = self.entries.pop_front() {
            tracing::error!(target: "celery.worker", "the steward died over {}", first.name);
            self.end(first, Err(StewardError::Died));
        }
    }

    /// Nothing more will be done.
    pub(super) fn clear(&mut self) {
        (self.written, self.offset, self.since) = (0, 0, None);
        while let Some(entry) = self.entries.pop_front() {
            self.end(entry, Err(StewardError::Stopped));
        }
    }

    fn end(&self, entry: Entry, answer: Answer) {
        self.load.bytes.fetch_sub(entry.weight, Ordering::Relaxed);
        match entry.answer {
            // Whoever asked may have stopped waiting.
            Some(asker) => drop(asker.send(answer)),
            None => drop(self.load.notices.fetch_sub(1, Ordering::Relaxed)),
        }
    }
}
