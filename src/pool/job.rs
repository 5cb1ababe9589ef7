//! A job's way through a pool: [`Run`] is the caller's end of it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::ipc::{DaemonOptions, Report, Stored};

/// The job has begun: from here on it may have had effects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accepted {
    /// Which process runs it.
    pub pid: i32,
    /// Wall clock, seconds since the epoch.
    pub at: f64,
}

/// The job has ended.
#[derive(Debug)]
pub enum Finished {
    /// The child says how.
    Reported(Report),
    /// The child died under it.
    WorkerLost {
        /// `signal 9 (SIGKILL)`, `exitcode 1`.
        exit: String,
    },
    /// The pool killed the child because the hard limit had passed.
    TimeLimit(Duration),
    /// The pool killed the child because it was asked to.
    Terminated {
        /// With which signal.
        signum: i32,
    },
    /// The job was withdrawn, or the pool is stopping: it never began and never will.
    Withdrawn,
}

/// What happens to a job while it runs, in order: one `Accepted`, any number of the middle ones, then `finished`.
#[derive(Debug)]
pub enum Progress {
    /// The soft limit has passed and the child was told.
    SoftTimeLimit(Duration),
    /// The child is being signalled, as was asked; whether it dies of it is the signal's and the task's business.
    Signalled(i32),
    /// The child waits until this is stored.
    Store(Stored, oneshot::Sender<Result<(), String>>),
}

/// The caller's end of a submitted job. The other ends are held by the pool's supervisor.
#[derive(Debug)]
pub struct Run {
    /// Resolves when the job begins; is dropped when it never will.
    pub accepted: oneshot::Receiver<Accepted>,
    /// Rare events in between.
    pub progress: mpsc::UnboundedReceiver<Progress>,
    /// Resolves when the job has ended, begun or not.
    pub finished: oneshot::Receiver<Finished>,
}

/// Why a pool cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The app could not be loaded; Celery's own words and exit code.
    #[error("{message}")]
    App {
        /// For stderr.
        message: String,
        /// 2 for usage errors, 1 otherwise.
        code: i32,
    },
    /// The app is loaded, and what was asked for is a daemon of it.
    #[error("the worker is to be a daemon")]
    Detach(Box<DaemonOptions>),
    /// The zygote could not be started or died at start.
    #[error("cannot start the Python side: {0}")]
    Zygote(String),
    /// Children die faster than they can be replaced.
    #[error("{0}")]
    RestartFrequency(String),
}
