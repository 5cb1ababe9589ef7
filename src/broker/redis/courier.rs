//! [`Courier`]: the one task that takes messages and settles them, in as few round trips as there is reason for.
//!
//! It waits without taking anything: the server tells (client tracking) when a list has changed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use fred::{error::Error, interfaces::TrackingInterface, types::client::Invalidation};
use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::{Instant, sleep_until, timeout},
};

use crate::broker::{
    Acker, Delivery, Settle, Settlement, Tag, envelope,
    redis::{
        exchange::{Exchange, Taken},
        ledger::{Batch, Ledger},
        link::{Link, is_lost},
        order::QueueOrder,
        restore::{End, Restorer},
        tracking::Tracking,
    },
};

/// Settlements and messages in one round trip, at most.
const BATCH: usize = 500;
/// Messages taken at once where the window has no end.
const UNLIMITED_BATCH: usize = 200;
/// Payload bytes in one reply to aim at, at most.
const REPLY_BYTES: usize = 4 << 20;
/// How long a small batch waits for company while the worker has other things to do.
const LINGER: Duration = Duration::from_millis(1);
/// How often to look where the server should have told us.
const SAFETY_POLL: Duration = Duration::from_secs(5);
/// How long to wait after the server has refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What others tell the courier.
#[derive(Default)]
pub(super) struct Orders {
    queues: Mutex<Vec<Arc<str>>>,
    prefetch: AtomicU32,
    paused: AtomicBool,
    stopped: AtomicBool,
    closing: AtomicBool,
    changed: Notify,
}

impl Orders {
    /// Consumes one more queue.
    pub fn add(&self, queue: &str) {
        self.edit(|queues| {
            if !queues.iter().any(|known| **known == *queue) {
                queues.push(queue.into());
            }
        });
    }

    /// Consumes a queue no more.
    pub fn remove(&self, queue: &str) {
        self.edit(|queues| queues.retain(|known| **known != *queue));
    }

    /// Sets the window; 0 has no end.
    pub fn set_prefetch(&self, count: u32) {
        self.prefetch.store(count, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Takes nothing for now, or goes on.
    pub fn set_paused(&self, paused: bool) {
        if self.paused.swap(paused, Ordering::Relaxed) != paused {
            self.changed.notify_one();
        }
    }

    /// Takes nothing more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Settles what there is and ends.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.stop();
    }

    fn take_nothing(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.paused.load(Ordering::Relaxed)
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<Arc<str>>)) {
        change(&mut self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn queues(&self) -> Vec<Arc<str>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state of that task.
pub(super) struct Courier {
    pub link: Link,
    pub exchange: Exchange,
    pub tracking: Tracking,
    pub restorer: Restorer,
    pub ledger: Arc<Ledger>,
    pub orders: Arc<Orders>,
    pub order: QueueOrder,
    /// The number of the next delivery; runs through all connections of a transport.
    pub next_tag: Arc<Mutex<u64>>,
    /// The worker holds the other end.
    pub out: mpsc::Sender<Vec<Delivery>>,
}

/// What the courier knows between two round trips.
struct Mind {
    /// There may be something in the lists.
    hopeful: bool,
    /// Running estimate, in bytes.
    payload_size: usize,
    invalidations: broadcast::Receiver<Invalidation>,
    look_again: Instant,
}

impl Courier {
    /// Runs until the connection is lost or closed. What could not be settled stays in the ledger.
    pub async fn run(mut self) {
        let mut mind = Mind {
            hopeful: true,
            payload_size: 1024,
            invalidations: self.link.client.invalidation_rx(),
            look_again: Instant::now(),
        };
        while self.link.lifeline.reason().is_none() {
            if let Err(error) = self.turn(&mut mind).await {
                if is_lost(&error) {
                    return self.link.lifeline.end(self.link.error(&error));
                }
                tracing::warn!("{}; trying again in {} s", self.link.error(&error), REFUSED_PAUSE.as_secs());
                let _ = timeout(REFUSED_PAUSE, self.link.lifeline.ended()).await;
                mind.hopeful = true;
            }
            if self.orders.closing.load(Ordering::Relaxed) && self.ledger.counts().0 == 0 {
                return;
            }
        }
    }

    async fn turn(&mut self, mind: &mut Mind) -> Result<(), Error> {
        self.give_left_back().await?;
        self.order.update(&self.orders.queues());
        self.linger(mind).await;
        let batch = self.ledger.drain(BATCH);
        let want = self.appetite(mind);
        if batch.entries.is_empty() && want == 0 {
            return self.wait(mind).await;
        }
        let batch = self.requeue(batch).await?;
        self.trade(mind, batch, want).await
    }

    /// How many messages to take now.
    fn appetite(&self, mind: &Mind) -> usize {
        let idle = !mind.hopeful || self.orders.take_nothing();
        if idle || self.order.queues().is_empty() || self.out.is_closed() || self.out.capacity() == 0 {
            return 0;
        }
        let by_size = (REPLY_BYTES / mind.payload_size.max(1)).max(1);
        self.credit().min(by_size).min(BATCH)
    }

    fn credit(&self) -> usize {
        match self.orders.prefetch.load(Ordering::Relaxed) as usize {
            0 => UNLIMITED_BATCH,
            window => window.saturating_sub(self.ledger.counts().1),
        }
    }

    /// Lets a batch grow while the worker still has most of its window to work on.
    async fn linger(&self, mind: &Mind) {
        let window = self.orders.prefetch.load(Ordering::Relaxed) as usize;
        let enough = if window == 0 { 64 } else { (window / 4).clamp(1, 64) };
        let (waiting, held) = self.ledger.counts();
        let hungry = mind.hopeful && window > 0 && window.saturating_sub(held) >= enough;
        if waiting == 0 || waiting >= enough || held == 0 || hungry {
            return;
        }
        self.ledger.wake_at(enough);
        let deadline = Instant::now() + LINGER;
        while self.ledger.counts().0 < enough {
            if tokio::time::timeout_at(deadline, self.ledger.woken.notified()).await.is_err() {
                break;
            }
        }
        self.ledger.wake_at(0);
    }

    /// One round trip.
    async fn trade(&mut self, mind: &mut Mind, batch: Batch, want: usize) -> Result<(), Error> {
        let first = self.reserve(want);
        let tags: Vec<u64> = batch.entries.iter().map(|(tag, _)| *tag).collect();
        let taken = match self.exchange.run(&self.link, &self.order, &tags, first, want).await {
            Ok(taken) => taken,
            Err(error) => {
                self.ledger.put_back(batch);
                if is_lost(&error) {
                    self.ledger.suspect(first, want);
                }
                return Err(error);
            }
        };
        if want == 0 {
            return Ok(());
        }
        let count = taken.messages.len();
        self.deliver(mind, first, taken).await;
        if count == want {
            return self.tracking.plenty(&self.link).await;
        }
        mind.hopeful = self.tracking.ensure(&self.link, self.order.queues()).await?;
        mind.look_again = Instant::now() + self.tracking.poll_interval(SAFETY_POLL);
        Ok(())
    }

    async fn deliver(&mut self, mind: &mut Mind, first: u64, taken: Taken) {
        if taken.messages.is_empty() {
            return;
        }
        let bytes: usize = taken.messages.iter().map(|(_, payload)| payload.len()).sum();
        mind.payload_size = (mind.payload_size + bytes / taken.messages.len()) / 2;
        let copies = self.exchange.copies(&taken, &self.order);
        self.ledger.hold(first, taken.messages.len(), copies);
        let used: Vec<usize> = taken.messages.iter().map(|(queue, _)| *queue).collect();
        let deliveries = taken.messages.into_iter().zip(first..).map(|(message, tag)| self.delivery(message, tag));
        let deliveries: Vec<Delivery> = deliveries.collect();
        self.order.rotate(&used);
        // There was room; if a broadcast has taken it since, the worker makes some.
        let _ = self.out.send(deliveries).await;
    }

    fn delivery(&self, (queue, payload): (usize, bytes::Bytes), tag: u64) -> Delivery {
        let sink: Arc<dyn Settle> = self.ledger.clone();
        let (message, redelivered) = match envelope::parse(&payload) {
            Ok(envelope) => (Ok(envelope.message), envelope.redelivered),
            Err(malformed) => (Err(malformed), false),
        };
        let queue = self.order.queues()[queue].clone();
        Delivery { message, queue, redelivered, acker: Acker::new(Tag::Number(tag), sink) }
    }

    fn reserve(&self, count: usize) -> u64 {
        let mut next = self.next_tag.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *next;
        *next += count as u64;
        first
    }

    /// Sends requeued messages back; they need to be read first. Leaves what a round trip settles.
    async fn requeue(&self, batch: Batch) -> Result<Batch, Error> {
        let requeued: Vec<usize> =
            (0..batch.entries.len()).filter(|&i| batch.entries[i].1 == Settlement::Requeue).collect();
        if requeued.is_empty() {
            return Ok(batch);
        }
        let sent = if self.exchange.notes() {
            let tags = requeued.iter().map(|&i| (self.exchange.tag(batch.entries[i].0), None)).collect();
            self.restorer.give_back(tags, End::Back).await.map(drop)
        } else {
            let copies = requeued.iter().filter_map(|&i| batch.copy(i).cloned()).collect();
            self.exchange.push_copies(&self.link, copies, End::Back).await
        };
        match sent {
            Ok(()) => Ok(batch.without(&requeued)),
            Err(error) => {
                self.ledger.put_back(batch);
                Err(error)
            }
        }
    }

    /// Gives back what connections before this one left, once nobody will settle it.
    async fn give_left_back(&self) -> Result<(), Error> {
        let left = self.ledger.take_inherited_left();
        if left.is_empty() {
            return Ok(());
        }
        let given = self.exchange.give_back(&self.link, &self.restorer, &left).await;
        match given {
            Ok(0) => {}
            Ok(count) => tracing::info!("Restored {count} message(s) of a lost connection"),
            Err(error) => {
                self.ledger.put_left_back(left);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn wait(&self, mind: &mut Mind) -> Result<(), Error> {
        let stopped = self.orders.take_nothing();
        let look = !mind.hopeful && !stopped && !self.order.queues().is_empty() && self.credit() > 0;
        let full = mind.hopeful && !stopped && self.out.capacity() == 0;
        tokio::select! {
            () = self.ledger.woken.notified() => {}
            () = self.orders.changed.notified() => mind.hopeful = true,
            told = mind.invalidations.recv() => mind.hopeful |= self.concerns_us(told),
            () = sleep_until(mind.look_again), if look => mind.hopeful = true,
            room = self.out.reserve(), if full => drop(room),
            _ = self.link.lifeline.ended() => {}
        }
        Ok(())
    }

    /// Whether one of our lists has changed. Who has fallen behind must look.
    fn concerns_us(&self, told: Result<Invalidation, broadcast::error::RecvError>) -> bool {
        match told {
            Ok(told) => told.keys.iter().any(|key| self.tracking.concerns(key.as_bytes(), self.order.queues())),
            Err(broadcast::error::RecvError::Lagged(_)) => true,
            Err(broadcast::error::RecvError::Closed) => false,
        }
    }
}
