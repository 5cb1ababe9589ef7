//! [`Ledger`]: what a worker holds of SQS, and what is to become of it.
//!
//! A receipt is good whichever connection it is used by. So all connections of a transport share one ledger: what a lost one
//! held is settled through the next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::broker::{Settle, Settlement, Tag, sqs::queue::SqsQueue};

/// The right to a message that was received.
#[derive(Clone)]
pub(super) struct Receipt {
    pub queue: Arc<SqsQueue>,
    pub handle: String,
    /// The task's name.
    pub task: String,
    /// How often the message has been received by now.
    pub received: u32,
    /// How long it stays hidden each time.
    pub visibility: Duration,
}

/// What is to be done with a message.
pub(super) struct Settled {
    pub number: u64,
    pub receipt: Receipt,
    pub settlement: Settlement,
}

/// Messages that are held, by number.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Wakes the settler: there is something to settle.
    pub woken: Notify,
    /// Wakes pollers: there is room in the window.
    pub freed: watch::Sender<()>,
}

#[derive(Default)]
struct Books {
    held: BTreeMap<u64, Held>,
    waiting: VecDeque<Settled>,
    /// How many of `held` the current connection has received.
    own: usize,
    last: u64,
    /// Some of `held` is both inherited and left.
    forsaken: bool,
}

struct Held {
    receipt: Receipt,
    /// When its time is to be extended.
    due: Instant,
    /// Received by a connection that is gone.
    inherited: bool,
    /// Nobody will settle it.
    left: bool,
    /// SQS does not extend its time any more.
    lapsed: bool,
}

impl Ledger {
    /// Notes a message that has just been received; its number.
    pub fn hold(&self, receipt: Receipt) -> u64 {
        let due = Instant::now() + receipt.visibility / 2;
        let mut books = self.books();
        books.last += 1;
        books.own += 1;
        let number = books.last;
        books.held.insert(number, Held { receipt, due, inherited: false, left: false, lapsed: false });
        number
    }

    /// A new connection has an empty window.
    pub fn inherit(&self) {
        let mut books = self.books();
        books.own = 0;
        books.held.values_mut().for_each(|held| held.inherited = true);
        books.forsaken = true;
        drop(books);
        self.woken.notify_one();
    }

    /// How many messages the current connection has received that nobody has settled.
    pub fn own(&self) -> usize {
        self.books().own
    }

    /// Takes up to `limit` of what is to be settled, in order. What lost connections received and nobody will settle is to be
    /// given back.
    pub fn drain(&self, limit: usize) -> Vec<Settled> {
        let mut guard = self.books();
        let books = &mut *guard;
        if std::mem::take(&mut books.forsaken) {
            let forsaken = books.held.extract_if(.., |_, held| held.inherited && held.left);
            books.waiting.extend(forsaken.map(|(number, held)| Settled {
                number,
                receipt: held.receipt,
                settlement: Settlement::Requeue,
            }));
        }
        let count = books.waiting.len().min(limit);
        books.waiting.drain(..count).collect()
    }

    /// Takes back what could not be settled.
    pub fn put_back(&self, settled: Vec<Settled>) {
        let mut books = self.books();
        for one in settled.into_iter().rev() {
            books.waiting.push_front(one);
        }
    }

    /// Takes all that is held; nothing of it can be settled any more.
    pub fn take_held(&self) -> Vec<Receipt> {
        let mut books = self.books();
        books.own = 0;
        std::mem::take(&mut books.held).into_values().map(|held| held.receipt).collect()
    }

    /// What is to be hidden for longer by now.
    pub fn due(&self) -> Vec<(u64, Receipt)> {
        let now = Instant::now();
        let books = self.books();
        let due = books.held.iter().filter(|(_, held)| !held.lapsed && held.due <= now);
        due.map(|(number, held)| (*number, held.receipt.clone())).collect()
    }

    /// It is hidden from now on for its time.
    pub fn extended(&self, number: u64) {
        if let Some(held) = self.books().held.get_mut(&number) {
            held.due = Instant::now() + held.receipt.visibility / 2;
        }
    }

    /// It cannot be hidden any longer.
    pub fn lapsed(&self, number: u64) {
        if let Some(held) = self.books().held.get_mut(&number) {
            held.lapsed = true;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settle for Ledger {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let Tag::Number(number) = tag else { return };
        let mut books = self.books();
        let Some(held) = books.held.remove(&number) else {
            return tracing::debug!(number, "settlement of a delivery that is no longer held");
        };
        books.own -= usize::from(!held.inherited);
        books.waiting.push_back(Settled { number, receipt: held.receipt, settlement });
        drop(books);
        self.woken.notify_one();
        self.freed.send_replace(());
    }

    fn leave(&self, tag: Tag) {
        let Tag::Number(number) = tag else { return };
        let mut books = self.books();
        let Some(held) = books.held.get_mut(&number) else { return };
        held.left = true;
        if held.inherited {
            books.forsaken = true;
            drop(books);
            self.woken.notify_one();
        }
    }
}
