//! [`TaskState`]: the words of `celery/states.py`; words nobody here has heard of survive.

/// The state of a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Nothing is known.
    Pending,
    /// A worker has it (events only).
    Received,
    /// It runs.
    Started,
    /// It returned.
    Success,
    /// It raised.
    Failure,
    /// It was revoked or has expired.
    Revoked,
    /// A worker refused it (events only).
    Rejected,
    /// It will be tried again.
    Retry,
    /// It asked to be forgotten; never stored.
    Ignored,
    /// `update_state(state=...)`.
    Custom(String),
}

impl TaskState {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            TaskState::Pending => "PENDING",
            TaskState::Received => "RECEIVED",
            TaskState::Started => "STARTED",
            TaskState::Success => "SUCCESS",
            TaskState::Failure => "FAILURE",
            TaskState::Revoked => "REVOKED",
            TaskState::Rejected => "REJECTED",
            TaskState::Retry => "RETRY",
            TaskState::Ignored => "IGNORED",
            TaskState::Custom(word) => word,
        }
    }

    /// Whether nothing follows: `SUCCESS`, `FAILURE` or `REVOKED`.
    pub fn is_ready(&self) -> bool {
        matches!(self, TaskState::Success | TaskState::Failure | TaskState::Revoked)
    }

    /// Whether the result is an exception: `RETRY`, `FAILURE` or `REVOKED`.
    pub fn is_exception(&self) -> bool {
        matches!(self, TaskState::Retry | TaskState::Failure | TaskState::Revoked)
    }
}

impl From<&str> for TaskState {
    fn from(word: &str) -> Self {
        match word {
            "PENDING" => TaskState::Pending,
            "RECEIVED" => TaskState::Received,
            "STARTED" => TaskState::Started,
            "SUCCESS" => TaskState::Success,
            "FAILURE" => TaskState::Failure,
            "REVOKED" => TaskState::Revoked,
            "REJECTED" => TaskState::Rejected,
            "RETRY" => TaskState::Retry,
            "IGNORED" => TaskState::Ignored,
            other => TaskState::Custom(other.to_owned()),
        }
    }
}
