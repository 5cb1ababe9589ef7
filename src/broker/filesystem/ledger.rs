//! [`Ledger`]: what a connection has delivered, and what has become of it since.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::broker::{Settle, Settlement, Tag};

/// Deliveries that are held, by number.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Wakes the courier: something is to be settled.
    pub woken: Notify,
}

#[derive(Default)]
struct Books {
    /// Names of their files.
    held: BTreeMap<u64, Arc<OsString>>,
    settled: Vec<(Arc<OsString>, Settlement)>,
    last: u64,
}

impl Ledger {
    /// Notes a delivery before it is handed out; its number.
    pub fn hold(&self, name: Arc<OsString>) -> u64 {
        let mut books = self.books();
        books.last += 1;
        let number = books.last;
        books.held.insert(number, name);
        number
    }

    /// How many are held that nobody has settled.
    pub fn held(&self) -> usize {
        self.books().held.len()
    }

    /// Takes what is to be settled, in order.
    pub fn drain(&self) -> Vec<(Arc<OsString>, Settlement)> {
        std::mem::take(&mut self.books().settled)
    }

    /// Takes all that is held; nothing of it can be settled any more.
    pub fn take_held(&self) -> Vec<Arc<OsString>> {
        std::mem::take(&mut self.books().held).into_values().collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settle for Ledger {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let Tag::Number(number) = tag else { return };
        let mut books = self.books();
        match books.held.remove(&number) {
            Some(name) => books.settled.push((name, settlement)),
            None => tracing::debug!(number, "settlement of a delivery that is no longer held"),
        }
        drop(books);
        self.woken.notify_one();
    }
}
