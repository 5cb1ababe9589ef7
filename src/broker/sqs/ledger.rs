//! [`Ledger`]: what a worker holds of SQS, and what is to become of it.
//!
//! A receipt is good whichever connection it is used by. So all connections of a transport share one ledger, and the tasks that
//! serve it live as long as it does: what a lost connection held stays hidden, and is settled, without another one.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::broker::{
    Settle, Settlement, Tag,
    sqs::{
        queue::SqsQueue,
        receipt::{End, Ended, Extension, Receipt},
    },
};

/// How long to wait where SQS could not settle something; twice as long each time, so many times.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE_AFTER: u32 = 5;

/// Messages that are held, by number.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Wakes the settler: there is something to settle.
    pub woken: Notify,
    /// Wakes pollers: there is room in the window.
    pub freed: watch::Sender<()>,
    /// Wakes who waits for the end: something was settled.
    settled: watch::Sender<()>,
}

#[derive(Default)]
struct Books {
    held: BTreeMap<u64, Held>,
    waiting: VecDeque<Ended>,
    /// Numbers of messages by SQS's names, as long as they are held or wait.
    names: HashMap<Uuid, u64>,
    /// Those whose time is being extended just now. Nothing else is to be done to them meanwhile but to delete them.
    extending: HashSet<u64>,
    /// How many are on their way to be settled.
    on_their_way: usize,
    /// Receipts of those that came again meanwhile, by number.
    newer: HashMap<u64, String>,
    /// Connections that live, by number.
    connections: HashMap<u64, Share>,
    last: u64,
    last_connection: u64,
}

/// What concerns one connection.
#[derive(Default)]
struct Share {
    /// How many of the messages that are held it has received.
    own: usize,
    /// How many of those were released.
    released: usize,
    /// Nobody begins anything any more: what is left is released.
    stopping: bool,
}

struct Held {
    receipt: Receipt,
    /// The one that has received it.
    connection: u64,
    /// When its time is to be extended.
    due: Instant,
    /// Nobody will settle it.
    left: bool,
    /// SQS does not extend its time any more.
    lapsed: bool,
}

impl Ledger {
    /// A new connection; its number.
    pub fn begin(&self) -> u64 {
        let mut books = self.books();
        books.last_connection += 1;
        let number = books.last_connection;
        books.connections.insert(number, Share::default());
        number
    }

    /// A connection has ended. What it held is settled all the same; what nobody will settle is released.
    pub fn end(&self, connection: u64) {
        let mut books = self.books();
        if books.connections.remove(&connection).is_some() {
            books.release(|held| held.left && held.connection == connection);
            drop(books);
            self.woken.notify_one();
        }
    }

    /// Notes a message that a connection has just received; its number. None: it is held already, or about to be settled, and
    /// this receipt takes the place of an older one, which is worth nothing any more.
    pub fn hold(&self, connection: u64, receipt: Receipt) -> Option<u64> {
        let mut guard = self.books();
        let books = &mut *guard;
        let due = Instant::now() + receipt.visibility / 2;
        if let Some(number) = receipt.id.and_then(|id| books.names.get(&id)).copied() {
            if let Some(held) = books.held.get_mut(&number) {
                (held.due, held.lapsed) = (due, false);
                held.receipt = Receipt { since: receipt.since, handle: receipt.handle, ..held.receipt.clone() };
            } else if let Some(ended) = books.waiting.iter_mut().find(|ended| ended.number == number) {
                ended.receipt.handle = receipt.handle;
            } else {
                books.newer.insert(number, receipt.handle);
            }
            return None;
        }
        books.last += 1;
        let number = books.last;
        if let Some(share) = books.connections.get_mut(&connection) {
            share.own += 1;
        }
        books.names.extend(receipt.id.map(|id| (id, number)));
        books.held.insert(number, Held { receipt, connection, due, left: false, lapsed: false });
        Some(number)
    }

    /// How many messages a connection has received that nobody has settled.
    pub fn own(&self, connection: u64) -> usize {
        self.books().connections.get(&connection).map_or(0, |share| share.own)
    }

    /// From now on what a connection has received and is left is released at once.
    pub fn stop(&self, connection: u64) {
        let mut books = self.books();
        if let Some(share) = books.connections.get_mut(&connection) {
            share.stopping = true;
        }
        books.release(|held| held.left && held.connection == connection);
        drop(books);
        self.woken.notify_one();
    }

    /// Releases one.
    pub fn release(&self, number: u64) {
        self.books().move_on(number, End::Released);
        self.woken.notify_one();
    }

    /// Releases all that a connection holds, and those that have ended. How many messages that is.
    pub fn release_all(&self, connection: u64) -> usize {
        let mut guard = self.books();
        let books = &mut *guard;
        let others: Vec<u64> = books.connections.keys().copied().filter(|number| *number != connection).collect();
        let count = books.release(|held| !others.contains(&held.connection));
        drop(guard);
        self.woken.notify_one();
        count
    }

    /// How many messages that a connection has received have been released.
    pub fn released(&self, connection: u64) -> usize {
        self.books().connections.get(&connection).map_or(0, |share| share.released)
    }

    /// Takes up to `limit` of what is to be settled now, in order, but of queues that are `busy`.
    pub fn drain(&self, limit: usize, busy: &HashSet<Arc<str>>) -> Vec<Ended> {
        let now = Instant::now();
        let mut guard = self.books();
        let books = &mut *guard;
        let (mut drained, mut later) = (Vec::new(), Vec::new());
        while drained.len() < limit
            && let Some(ended) = books.waiting.pop_front()
        {
            let is_due = ended.again_at.is_none_or(|at| at <= now);
            if is_due && ended.is_free(&books.extending, busy) { drained.push(ended) } else { later.push(ended) }
        }
        later.into_iter().rev().for_each(|ended| books.waiting.push_front(ended));
        // What is given back may come again; what is deleted is not to be run by anybody who gets it meanwhile.
        for ended in drained.iter().filter(|ended| ended.end != End::Settled(Settlement::Ack)) {
            books.forget(ended);
        }
        books.on_their_way += drained.len();
        drained
    }

    /// These have been settled, or cannot be. What came again meanwhile is to be deleted once more.
    pub fn done(&self, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let mut books = self.books();
        books.on_their_way -= ended.len();
        for one in ended {
            if one.end == End::Released
                && let Some(share) = books.connections.get_mut(&one.connection)
            {
                share.released += 1;
            }
            match books.newer.remove(&one.number) {
                Some(handle) => books.waiting.push_back(Ended { receipt: Receipt { handle, ..one.receipt }, ..one }),
                None => books.forget(&one),
            }
        }
        drop(books);
        self.settled.send_replace(());
        self.woken.notify_one();
    }

    /// Takes back what could not be settled. It waits for longer each time, and nothing else waits for it.
    pub fn put_back(&self, ended: Vec<Ended>) {
        let (now, mut gave_way) = (Instant::now(), false);
        let mut books = self.books();
        books.on_their_way -= ended.len();
        for one in ended.into_iter().rev() {
            // It has come again in the meantime: there is a better receipt.
            if one.receipt.id.is_some_and(|id| books.names.get(&id).is_some_and(|number| *number != one.number)) {
                gave_way = true;
                continue;
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << one.attempts.min(LONGEST_PAUSE_AFTER));
            books.names.extend(one.receipt.id.map(|id| (id, one.number)));
            let handle = books.newer.remove(&one.number).unwrap_or(one.receipt.handle);
            let receipt = Receipt { handle, ..one.receipt };
            books.waiting.push_front(Ended { receipt, attempts: one.attempts + 1, again_at: Some(now + pause), ..one });
        }
        drop(books);
        if gave_way {
            self.settled.send_replace(());
        }
        self.woken.notify_one();
    }

    /// What could not be settled is tried again now.
    pub fn hurry(&self) {
        self.books().waiting.iter_mut().for_each(|ended| ended.again_at = None);
        self.woken.notify_one();
    }

    /// When the next of what could not be settled is to be tried again.
    pub fn next_attempt(&self, busy: &HashSet<Arc<str>>) -> Option<Instant> {
        let books = self.books();
        let free = books.waiting.iter().filter(|ended| ended.is_free(&books.extending, busy));
        free.filter_map(|ended| ended.again_at).min()
    }

    /// Waits until everything is settled that can be, for no longer than `patience` where there is no progress.
    pub async fn all_settled(&self, patience: Duration) {
        let mut settled = self.settled.subscribe();
        loop {
            if self.unsettled() == 0 || !matches!(tokio::time::timeout(patience, settled.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn unsettled(&self) -> usize {
        let books = self.books();
        books.waiting.len() + books.on_their_way
    }

    /// Numbers and queues of what is to be hidden for longer by now.
    pub fn due(&self) -> Vec<(u64, Arc<SqsQueue>)> {
        let now = Instant::now();
        let books = self.books();
        let idle = |number: &u64| !books.extending.contains(number);
        let due = books.held.iter().filter(|(number, held)| !held.lapsed && held.due <= now && idle(number));
        due.map(|(number, held)| (*number, held.receipt.queue.clone())).collect()
    }

    /// The receipts of those that are still held; they are being extended until [`extended`](Self::extended) says how that went.
    pub fn begin_extending(&self, numbers: &[u64]) -> Vec<(u64, Receipt)> {
        let mut guard = self.books();
        let books = &mut *guard;
        let held = numbers.iter().filter_map(|number| Some((*number, books.held.get(number)?.receipt.clone())));
        let held: Vec<_> = held.collect();
        books.extending.extend(held.iter().map(|(number, _)| *number));
        held
    }

    /// What came of it, with the handle that was used: a message that came again meanwhile has another one, and is due as that
    /// says. Whether it is still held by this one.
    pub fn extended(&self, number: u64, handle: &str, outcome: Extension) -> bool {
        let mut books = self.books();
        books.extending.remove(&number);
        let held = books.held.get_mut(&number);
        if held.is_none() {
            drop(books);
            self.woken.notify_one();
            return false;
        }
        let Some(held) = held.filter(|held| held.receipt.handle == handle) else { return false };
        match outcome {
            Extension::For(time) => held.due = Instant::now() + time / 2,
            Extension::Later => {}
            Extension::Lapsed => held.lapsed = true,
        }
        true
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn release(&mut self, which: impl Fn(&Held) -> bool) -> usize {
        let numbers: Vec<u64> = self.held.iter().filter(|(_, held)| which(held)).map(|(number, _)| *number).collect();
        for number in &numbers {
            self.move_on(*number, End::Released);
        }
        numbers.len()
    }

    /// From what is held to what waits. Whether it was held.
    fn move_on(&mut self, number: u64, end: End) -> bool {
        let Some(Held { receipt, connection, .. }) = self.held.remove(&number) else { return false };
        if let Some(share) = self.connections.get_mut(&connection) {
            share.own -= 1;
        }
        self.waiting.push_back(Ended { number, connection, receipt, end, attempts: 0, again_at: None });
        true
    }

    fn forget(&mut self, ended: &Ended) {
        let Some(id) = ended.receipt.id else { return };
        if self.names.get(&id) == Some(&ended.number) {
            self.names.remove(&id);
        }
    }
}

impl Settle for Ledger {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let Tag::Number(number) = tag else { return };
        if !self.books().move_on(number, End::Settled(settlement)) {
            return tracing::debug!(number, "settlement of a delivery that is no longer held");
        }
        self.woken.notify_one();
        self.freed.send_replace(());
    }

    fn leave(&self, tag: Tag) {
        let Tag::Number(number) = tag else { return };
        let mut guard = self.books();
        let books = &mut *guard;
        let Some(held) = books.held.get_mut(&number) else { return };
        held.left = true;
        if books.connections.get(&held.connection).is_none_or(|share| share.stopping) {
            books.move_on(number, End::Released);
            drop(guard);
            self.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
