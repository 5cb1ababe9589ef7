//! What the parent and the steward say to each other: errands, one after the other, each with its end.
//!
//! An errand is a name that the steward's Python knows and what it needs, as plain data: who adds one adds a function in
//! `python/celery_rs/steward.py` and whoever calls for it here, and no frame changes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ipc::Job;

/// Something to be done in the place of Celery's main process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Errand {
    /// The name by which the steward knows it: `worker_ready`, `task_received`, ...
    pub name: String,
    /// Keyword arguments, as kombu's JSON text of one object; empty for none.
    pub arguments: Bytes,
    /// The task message it is about; the steward makes Celery's own `Request` of it.
    pub job: Option<Box<Job>>,
}

/// Parent → steward.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToSteward {
    /// Do it, after those before.
    Run {
        /// The parent's number for it; echoed in the answer.
        number: u64,
        /// What.
        errand: Errand,
    },
    /// There will be no more: leave after the last one. Keep the socket open until then: a steward that reads the end of
    /// it kills itself.
    Stop,
}

/// Steward → parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSteward {
    /// Initialised and ready for errands.
    Up {
        /// Its process id.
        pid: i32,
    },
    /// An errand has ended, with kombu's JSON text of what it returned, or why it could not be done.
    Done {
        /// Which.
        number: u64,
        /// How.
        answer: Result<Bytes, String>,
    },
}
