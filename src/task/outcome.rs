//! [`Outcome`]: every way an execution can end.

use std::time::{Duration, SystemTime};

use crate::{protocol::ExceptionInfo, serialization::Value};

/// How an execution ended. Matches on this have no wildcard arm, so that a new way to end is thought of everywhere.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It returned.
    Success(Value),
    /// It raised.
    Failure(ExceptionInfo),
    /// It asked to be tried again (native tasks; a Python child has already published its retry).
    Retry {
        /// The cause; none when it just asked.
        cause: Option<ExceptionInfo>,
        /// When; none is after the task's `default_retry_delay`.
        eta: Option<SystemTime>,
        /// Overrides the task's `max_retries`.
        max_retries: Option<u32>,
    },
    /// It asked to be forgotten: no result, no callbacks.
    Ignore,
    /// It refused its message.
    Reject {
        /// Back to the queue?
        requeue: bool,
        /// Why.
        reason: String,
    },
    /// The hard time limit passed.
    TimeLimitExceeded(Duration),
    /// The child died under it.
    WorkerLost {
        /// `signal 9 (SIGKILL)`, `exitcode 1`.
        exit: String,
    },
    /// It was terminated by remote control.
    Terminated {
        /// With which signal.
        signum: i32,
    },
}
