//! [`Services`]: what every execution may use. Shared and immutable; each part guards itself.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    backend::ResultBackend,
    event::EventDispatcher,
    pool::{Accepted, NativePool, Pool},
    producer::Producer,
    task::{StateSink, States},
    worker::{
        completion::Completion, eta::FromShelf, main_signals::MainSignals, metrics::WorkerMetrics,
        options::WorkerOptions,
    },
};

/// The worker's collaborators, as an execution sees them.
pub struct Services {
    /// Python seats; none where no Python app is loaded.
    pub pool: Option<Arc<dyn Pool>>,
    /// Native seats.
    pub native: NativePool,
    /// Where the children's results go.
    pub backend: Arc<dyn ResultBackend>,
    /// What follows an end that no child has stored.
    pub completion: Completion,
    /// For what native tasks send.
    pub producer: Producer,
    /// Where states go that native tasks give themselves.
    pub states_sink: Arc<dyn StateSink>,
    /// What native tasks share.
    pub states: Arc<States>,
    /// Node name, as executions are given it.
    pub hostname: Arc<str>,
    /// Number of this process.
    pub pid: u32,
    /// Task events.
    pub events: EventDispatcher,
    /// The signals of Celery's main process.
    pub signals: MainSignals,
    /// What is counted of the worker as a whole.
    pub metrics: Arc<WorkerMetrics>,
    /// Settings.
    pub options: WorkerOptions,
    /// Read by the dispatcher.
    pub reports: mpsc::UnboundedSender<Report>,
}

/// What an execution tells the dispatcher: at most three per request, so the channel needs no bound.
#[derive(Debug)]
pub enum Report {
    /// It has begun.
    Accepted(u64, Accepted),
    /// It has ended, begun or not; its message is settled or left.
    Ended(u64),
    /// The task of this id was not run because it had expired.
    Expired(String),
    /// Requests that will soon be due have been read again: one report for each reading.
    FromShelf(FromShelf),
}
