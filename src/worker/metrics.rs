//! [`WorkerMetrics`]: what is counted of the worker as a whole, and what becomes of a request in numbers.
//!
//! Written where things happen, without locks that anyone waits for; read by whoever shows them (`health`).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    task::metrics::{Counter, EndState},
    worker::request::Request,
};

/// Numbers about the worker since its start.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Messages for tasks that are not registered here.
    pub unregistered: Counter,
    /// Messages that are no task: unknown, undecodable, invalid or of a content type that is not accepted.
    pub refused: Counter,
    /// Connections that were lost.
    pub reconnects: Counter,
    /// Tasks that have ended and are settled.
    pub settled: Counter,
    settling: AtomicUsize,
    link: Mutex<Link>,
}

/// How it stands with the connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// What is being done.
    pub phase: LinkPhase,
    /// Since when.
    pub since: Instant,
}

/// What the session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPhase {
    /// One attempt to connect.
    Connecting,
    /// The pause before the next one, which is to take so long.
    Waiting(Duration),
    /// Joins the other workers, declares and begins to consume.
    Opening,
    /// Consumes.
    Up,
    /// No further attempt will be made.
    Over,
}

impl Default for Link {
    fn default() -> Self {
        Self { phase: LinkPhase::Connecting, since: Instant::now() }
    }
}

/// One task that has ended and is not settled yet; dropped when it is.
#[derive(Debug)]
pub struct Settling<'a>(&'a WorkerMetrics);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.settling.fetch_sub(1, Ordering::Relaxed);
        self.0.settled.add();
    }
}

impl WorkerMetrics {
    /// A task has ended, and its result is on its way.
    pub fn settle(&self) -> Settling<'_> {
        self.settling.fetch_add(1, Ordering::Relaxed);
        Settling(self)
    }

    /// How many have ended and are not settled yet.
    pub fn settling(&self) -> usize {
        self.settling.load(Ordering::Relaxed)
    }

    /// How it stands with the broker.
    pub fn link(&self) -> Link {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the session does from now on.
    pub fn set_link(&self, phase: LinkPhase) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Link { phase, since: Instant::now() };
    }
}

impl Request {
    /// It was taken from the broker.
    pub fn count_received(&self) {
        self.definition.metrics.received.add();
    }

    /// It has begun, `at` seconds after the epoch.
    pub fn count_started(&mut self, at: f64) {
        let could = self.eta.map_or(self.received, |eta| eta.max(self.received));
        self.began = Some(at);
        let metrics = &self.definition.metrics;
        metrics.started.add();
        metrics.wait.observe(at - since_epoch(could));
    }

    /// It has ended; `runtime` is what its executor says, or zero. Counts once: a task that is terminated may have told
    /// of its success before.
    pub fn count_finished(&mut self, state: EndState, runtime: f64) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let metrics = &self.definition.metrics;
        metrics.finished(state).add();
        if let Some(began) = self.began {
            metrics.run.observe(if runtime > 0.0 { runtime } else { since_epoch(SystemTime::now()) - began });
        }
    }
}

fn since_epoch(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
