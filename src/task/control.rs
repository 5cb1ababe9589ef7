//! [`Retry`], [`Ignore`] and [`Reject`]: ends that are neither success nor failure (`celery/exceptions.py`).
//!
//! Each is returned as an error from a handler: `return Err(Retry::after(delay).into())`.

use std::time::{Duration, SystemTime};

use crate::task::TaskError;

/// Asks that the task be sent again, with the same id and everything that hangs on it.
#[derive(Debug)]
pub struct Retry {
    pub(super) eta: Option<SystemTime>,
    pub(super) max_retries: Option<u32>,
    pub(super) cause: Option<Box<TaskError>>,
}

impl Retry {
    /// After the task's `default_retry_delay`.
    pub fn new() -> Self {
        Self { eta: None, max_retries: None, cause: None }
    }

    /// After this long (Celery's `countdown`).
    pub fn after(countdown: Duration) -> Self {
        Self { eta: SystemTime::now().checked_add(countdown), ..Self::new() }
    }

    /// At this time (Celery's `eta`).
    pub fn at(eta: SystemTime) -> Self {
        Self { eta: Some(eta), ..Self::new() }
    }

    /// Because of this error: stored with the state `RETRY`, and the failure once the retries are used up.
    #[track_caller]
    pub fn because(mut self, cause: impl Into<TaskError>) -> Self {
        self.cause = Some(Box::new(cause.into()));
        self
    }

    /// Overrides the task's `max_retries`.
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = Some(max_retries);
        self
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks that the execution be forgotten: nothing is stored, nothing follows, the message is acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ignore;

/// Refuses the message. With `acks_late` it goes back to the broker; otherwise it is already acknowledged.
#[derive(Debug, Clone)]
pub struct Reject {
    pub(super) requeue: bool,
    pub(super) reason: String,
}

impl Reject {
    /// Refuses for good: dropped, or dead-lettered where the queue says so. The result is a failure.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self { requeue: false, reason: reason.into() }
    }

    /// Refuses for now: back to the queue.
    pub fn requeue(reason: impl Into<String>) -> Self {
        Self { requeue: true, reason: reason.into() }
    }
}
