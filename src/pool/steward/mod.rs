//! The steward: the process in which an app's code for Celery's main process runs, as the worker sees it.
//!
//! [`Steward`] is a handle; one [`owner`] task has the process: it asks for it when there is a first errand, writes errands
//! in the order in which they were given, and asks for another process when this one has died. Nobody waits for the
//! steward but who wants an answer: what it is merely [told](Steward::tell) is queued up to a [bound](MOST_NOTICES), beyond
//! which it is left unsaid, and the log says so.
//!
//! What an errand does is `python/celery_rs/steward.py`'s. The pool forks the process: see
//! [`PreforkPool::steward`](super::prefork::PreforkPool::steward).

mod link;
mod owner;
mod queue;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::ipc::Errand;
use owner::Owner;

/// Notices that may wait for a steward that is slow.
const MOST_NOTICES: usize = 20_000;
/// Bytes of errands beyond which no notice is added: 64 MiB.
const MOST_BYTES: usize = 64 << 20;

/// Why an errand was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StewardError {
    /// The Python code raised; its words.
    #[error("{0}")]
    Raised(String),
    /// Each steward that was given it has died over it.
    #[error("the steward died over it")]
    Died,
    /// The worker stops.
    #[error("the steward has left")]
    Stopped,
}

/// The answer to an errand: kombu's JSON text.
pub type Answer = Result<Bytes, StewardError>;

/// The handle. Cheap to clone; the process ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Steward {
    /// Read by the [`owner`].
    orders: mpsc::UnboundedSender<Order>,
    load: Arc<Load>,
}

/// What waits, as everyone may see it.
#[derive(Debug, Default)]
struct Load {
    notices: AtomicUsize,
    bytes: AtomicUsize,
    unsaid: AtomicU64,
}

#[derive(Debug)]
enum Order {
    /// Have the process there, without an errand.
    Start,
    Run(Errand, Option<oneshot::Sender<Answer>>),
    Keep(Errand),
    /// After what was said before.
    Stop(oneshot::Sender<()>),
    /// At once, whatever was said.
    Kill,
}

impl Steward {
    /// A steward that is not there yet. `fork` has a process forked that serves the socket it is given, or closes it. Must
    /// be called within a tokio runtime.
    pub fn new(fork: impl Fn(OwnedFd) + Send + 'static) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        tokio::spawn(Owner::new(Box::new(fork), inbox, Arc::clone(&load)).run());
        Self { orders, load }
    }

    /// Has the process there before the first errand.
    pub fn start(&self) {
        self.order(Order::Start);
    }

    /// Says something that needs no answer; never waits. Too much of it for a slow steward is left unsaid and counted.
    pub fn tell(&self, errand: Errand) {
        let full = self.load.notices.load(Ordering::Relaxed) >= MOST_NOTICES
            || self.load.bytes.load(Ordering::Relaxed) >= MOST_BYTES;
        if full {
            self.load.unsaid.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.load.notices.fetch_add(1, Ordering::Relaxed);
        self.load.bytes.fetch_add(weight(&errand), Ordering::Relaxed);
        self.order(Order::Run(errand, None));
    }

    /// Has something done and waits for its answer, as long as it takes. A steward that dies over it is replaced, and the
    /// next one does it again, twice at most.
    ///
    /// # Errors
    /// What the Python code raised; that it cannot be done.
    pub async fn call(&self, errand: Errand) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.load.bytes.fetch_add(weight(&errand), Ordering::Relaxed);
        self.order(Order::Run(errand, Some(answer)));
        answered.await.unwrap_or(Err(StewardError::Stopped))
    }

    /// Does as [`call`](Self::call), and has each steward that replaces this one do it again before all else: for what is
    /// to last as long as the worker does.
    ///
    /// # Errors
    /// As there; it is not done again then.
    pub async fn establish(&self, errand: Errand) -> Answer {
        let answer = self.call(errand.clone()).await?;
        self.order(Order::Keep(errand));
        Ok(answer)
    }

    /// Lets it do what it was given before and leave. Resolves when the process is gone.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.order(Order::Stop(done));
        // An error means that the owner has ended, and the process with it.
        let _ = stopped.await;
    }

    /// Ends it at once, whatever it does.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    fn order(&self, order: Order) {
        // An owner that has ended has nobody to tell.
        let _ = self.orders.send(order);
    }
}

/// Bytes that an errand takes while it waits, roughly.
fn weight(errand: &Errand) -> usize {
    let job = errand.job.as_ref().map_or(0, |job| job.headers.len() + job.properties.len() + job.body.len() + 512);
    errand.arguments.len() + job + 128
}
