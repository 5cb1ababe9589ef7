//! Why a message is not a task message.

use crate::serialization::DecodeError;

/// What keeps a message from being understood as a task (`celery/worker/strategy.py`, `celery/exceptions.py`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Neither protocol 2 nor 1: Celery warns and rejects ("Received and deleted unknown message").
    #[error("not a task message: {0}")]
    UnknownMessage(String),
    /// A task message with a field that cannot be what it says (`InvalidTaskError`).
    #[error("{0}")]
    InvalidTask(String),
    /// A stored result that is not what Celery's backends write.
    #[error("not a result: {0}")]
    InvalidResult(String),
    /// A time zone that the IANA database does not have.
    #[error("unknown time zone {0:?}: give a name of the IANA database, such as Europe/Vienna")]
    UnknownTimeZone(String),
    /// The body cannot be read.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}
