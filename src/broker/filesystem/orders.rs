//! [`Orders`]: what others tell the courier to do.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tokio::sync::{Notify, mpsc};

use crate::broker::Delivery;

/// A queue that is being consumed.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    pub queue: Arc<str>,
    /// Where messages go that nobody settles; none for those that go to the worker and are held.
    pub stream: Option<mpsc::Sender<Vec<Delivery>>>,
}

/// Shared by the connection and its courier.
#[derive(Default)]
pub(super) struct Orders {
    consumers: Mutex<Vec<Consumer>>,
    prefetch: AtomicU32,
    stopped: AtomicBool,
    closing: AtomicBool,
    /// Wakes the courier.
    pub changed: Notify,
    /// Held by the courier while it takes.
    pub turn: tokio::sync::Mutex<()>,
}

impl Orders {
    /// Consumes one more queue; whoever consumed it before does no more.
    pub fn add(&self, consumer: Consumer) {
        self.edit(|consumers| {
            consumers.retain(|known| known.queue != consumer.queue);
            consumers.push(consumer);
        });
    }

    /// Consumes a queue no more; nothing more is taken from it once this has resolved.
    pub async fn remove(&self, queue: &str) {
        self.edit(|consumers| consumers.retain(|known| *known.queue != *queue));
        drop(self.turn.lock().await);
    }

    /// Takes nothing more that has to be settled, once this has resolved.
    pub async fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(self.turn.lock().await);
    }

    /// Sets the window; 0 has no end.
    pub fn set_prefetch(&self, count: u32) {
        self.prefetch.store(count, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Ends the courier, once it has settled what there is.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub fn prefetch(&self) -> usize {
        self.prefetch.load(Ordering::Relaxed) as usize
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// The queues, in the order in which they were added.
    pub fn consumers(&self) -> Vec<Consumer> {
        self.list().clone()
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<Consumer>)) {
        change(&mut self.list());
        self.changed.notify_one();
    }

    fn list(&self) -> MutexGuard<'_, Vec<Consumer>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
