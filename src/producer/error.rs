//! [`ProducerError`]: why a task was not sent.

use crate::{broker::BrokerError, config::ConfigError, protocol::ProtocolError, serialization::EncodeError};

/// Why a task was not sent. Some of a workflow's messages may be out already.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// The broker did not take the message (Celery's `OperationalError`).
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The arguments cannot be written in the task's serializer.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A signature inside a workflow is not one.
    #[error(transparent)]
    Signature(#[from] ProtocolError),
    /// No such queue (`QueueNotFound`).
    #[error("{0}")]
    Queue(String),
    /// An option has a value that it cannot have.
    #[error("option {option} of task {task}: {reason}")]
    Option {
        /// The task.
        task: String,
        /// The option.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The workflow cannot be sent.
    #[error("{0}")]
    Canvas(String),
    /// The result backend could not take the size of a chord.
    #[error("chord {group_id}: {reason}")]
    Chord {
        /// The chord's group id.
        group_id: String,
        /// What the backend said.
        reason: String,
    },
    /// This context has no broker.
    #[error("no broker: tasks cannot be sent from here")]
    NoBroker,
}

impl From<ConfigError> for ProducerError {
    fn from(error: ConfigError) -> Self {
        Self::Queue(error.to_string())
    }
}
