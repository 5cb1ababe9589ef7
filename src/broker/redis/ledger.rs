//! [`Ledger`]: what one connection has delivered, and what has become of it.
//!
//! A tag on Redis outlives the connection it was delivered on. When a connection is lost its ledger goes to the next one,
//! which sends the settlements that could not be sent; otherwise a finished task would run again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::broker::{
    Settle, Settlement, Tag,
    redis::holdings::{Held, Holdings, Kept, Which},
};

/// A settlement to be sent.
pub(super) type Entry = (u64, Settlement);

/// Deliveries of one connection and of the lost ones before it.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Wakes the courier: something is to be settled.
    pub woken: Notify,
}

#[derive(Default)]
struct Books {
    waiting: Vec<Entry>,
    held: Holdings,
    /// How many of `held` count against this connection's prefetch window: its own, until they are settled.
    own: usize,
    /// The length of `waiting` at which the courier wants to be woken again.
    wake_at: usize,
    /// Some of `held` is both inherited and left.
    forsaken: bool,
    heir: Option<Arc<Ledger>>,
    closed: bool,
}

/// Settlements on their way, with what is needed to take them back.
#[derive(Default)]
pub(super) struct Batch {
    pub entries: Vec<Entry>,
    held: Vec<Held>,
}

impl Batch {
    /// The copy of the delivery at `index`, if one was kept.
    pub fn copy(&self, index: usize) -> Option<&Kept> {
        self.held[index].copy.as_ref()
    }

    /// The batch without the entries at these indices.
    pub fn without(self, indices: &[usize]) -> Self {
        let (entries, held) = self
            .entries
            .into_iter()
            .zip(self.held)
            .enumerate()
            .filter(|(index, _)| !indices.contains(index))
            .map(|(_, pair)| pair)
            .unzip();
        Self { entries, held }
    }
}

impl Ledger {
    /// Notes deliveries before they are handed out. `copies` is empty where the server has them.
    pub fn hold(&self, first: u64, count: usize, copies: Vec<Kept>) {
        let mut books = self.books();
        let mut copies = copies.into_iter();
        for tag in first..first + count as u64 {
            books.held.insert(tag, Held { copy: copies.next(), ..Held::default() });
        }
        books.own += count;
    }

    /// Notes tags that may have been taken by a command whose reply never came.
    pub fn suspect(&self, first: u64, count: usize) {
        let mut books = self.books();
        for tag in first..first + count as u64 {
            books.held.insert(tag, Held { left: true, inherited: true, ..Held::default() });
        }
    }

    /// Takes up to `limit` waiting settlements.
    pub fn drain(&self, limit: usize) -> Batch {
        let mut books = self.books();
        let count = books.waiting.len().min(limit);
        let entries: Vec<Entry> = books.waiting.drain(..count).collect();
        let held = entries.iter().map(|(tag, _)| books.held.remove(*tag).unwrap_or_default()).collect();
        Batch { entries, held }
    }

    /// Takes a batch back that could not be sent.
    pub fn put_back(&self, batch: Batch) {
        let mut books = self.books();
        for ((tag, _), held) in batch.entries.iter().zip(batch.held) {
            books.held.insert(*tag, held);
        }
        books.waiting.splice(0..0, batch.entries);
    }

    /// How many settlements wait, and how many deliveries of this connection are held besides.
    pub fn counts(&self) -> (usize, usize) {
        let books = self.books();
        (books.waiting.len(), books.own)
    }

    /// Asks to be woken when this many settlements wait.
    pub fn wake_at(&self, count: usize) {
        self.books().wake_at = count;
    }

    /// Tags from this one on that are still to be settled by somebody, in order, at most so many.
    pub fn tags_in_use(&self, from: u64, limit: usize) -> Vec<u64> {
        self.books().held.in_use_from(from, limit)
    }

    /// How many deliveries are held and not about to be settled.
    pub fn held(&self) -> usize {
        self.books().held.count(Which::Open)
    }

    /// Takes out about so many of what is held and not about to be settled, newest first.
    pub fn take_held(&self, limit: usize) -> Vec<(u64, Held)> {
        self.take(Which::Open, limit)
    }

    /// Takes out what was left by connections that are gone, newest first.
    pub fn take_inherited_left(&self) -> Vec<(u64, Held)> {
        if !std::mem::take(&mut self.books().forsaken) {
            return Vec::new();
        }
        self.take(Which::Forsaken, usize::MAX)
    }

    /// Takes back what [`take_inherited_left`](Self::take_inherited_left) gave.
    pub fn put_left_back(&self, left: Vec<(u64, Held)>) {
        let mut books = self.books();
        for (tag, held) in left {
            books.held.insert(tag, held);
        }
        books.forsaken = true;
    }

    /// Nothing can be settled any more.
    pub fn close(&self) {
        self.books().closed = true;
    }

    /// Takes over the ledger of a lost connection; what is settled there from now on is settled here.
    pub fn adopt(self: &Arc<Self>, lost: &Ledger) {
        let mut theirs = lost.books();
        let mut ours = self.books();
        ours.waiting.append(&mut theirs.waiting);
        ours.held.inherit(&mut theirs.held);
        ours.forsaken = true;
        theirs.own = 0;
        theirs.heir = Some(self.clone());
        drop((ours, theirs));
        self.woken.notify_one();
    }

    fn take(&self, which: Which, limit: usize) -> Vec<(u64, Held)> {
        let mut books = self.books();
        let taken = books.held.take_newest(which, limit);
        books.own -= taken.iter().filter(|(_, held)| !held.inherited).count();
        taken
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, tag: u64, settlement: Settlement) {
        let mut guard = self.books();
        let books = &mut *guard;
        if let Some(heir) = books.heir.clone() {
            drop(guard);
            return heir.note(tag, settlement);
        }
        let noted = if books.closed { None } else { books.held.settle(tag) };
        let Some(inherited) = noted else {
            return tracing::warn!("delivery {tag} is settled ({settlement:?}) after it was given back");
        };
        books.own -= usize::from(!inherited);
        books.waiting.push((tag, settlement));
        let length = books.waiting.len();
        if length == 1 || length == books.wake_at {
            drop(guard);
            self.woken.notify_one();
        }
    }

    fn forsake(&self, tag: u64) {
        let mut books = self.books();
        if let Some(heir) = books.heir.clone() {
            drop(books);
            return heir.forsake(tag);
        }
        if books.held.leave(tag) == Some(true) {
            books.forsaken = true;
            drop(books);
            self.woken.notify_one();
        }
    }
}

impl Settle for Ledger {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        match tag {
            Tag::Number(number) => self.note(number, settlement),
            Tag::Text(name) => tracing::warn!("delivery {name} is not one of the redis transport"),
        }
    }

    fn leave(&self, tag: Tag) {
        if let Tag::Number(number) = tag {
            self.forsake(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(ledger: &Ledger, tag: u64) {
        ledger.settle(Tag::Number(tag), Settlement::Ack);
    }

    fn tags(taken: Vec<(u64, Held)>) -> Vec<u64> {
        taken.into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn a_settled_delivery_frees_the_window_once_it_is_drained() {
        let ledger = Ledger::default();
        ledger.hold(1, 3, Vec::new());
        settle(&ledger, 2);
        assert_eq!(ledger.counts(), (1, 2));
        let batch = ledger.drain(10);
        assert_eq!(batch.entries, [(2, Settlement::Ack)]);
        assert_eq!(ledger.counts(), (0, 2));
        ledger.put_back(batch);
        assert_eq!(ledger.counts(), (1, 2));
    }

    #[test]
    fn nothing_is_settled_twice_or_after_it_was_given_back() {
        let ledger = Ledger::default();
        ledger.hold(1, 2, Vec::new());
        settle(&ledger, 1);
        assert_eq!(ledger.drain(10).entries.len(), 1);
        settle(&ledger, 1);
        settle(&ledger, 99);
        assert_eq!(tags(ledger.take_held(10)), [2]);
        settle(&ledger, 2);
        assert_eq!(ledger.drain(10).entries, []);
    }

    #[test]
    fn a_lost_connections_settlements_go_to_the_next() {
        let (lost, next) = (Ledger::default(), Arc::new(Ledger::default()));
        lost.hold(1, 3, Vec::new());
        settle(&lost, 1);
        lost.leave(Tag::Number(2));
        lost.suspect(10, 2);
        next.adopt(&lost);
        assert_eq!(tags(next.take_inherited_left()), [11, 10, 2]);
        settle(&lost, 3);
        let entries: Vec<u64> = next.drain(10).entries.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(entries, [1, 3]);
        assert_eq!(next.counts(), (0, 0));
    }
}
