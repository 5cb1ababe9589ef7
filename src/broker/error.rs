//! [`BrokerError`]: what failed, on which broker, and whether trying again can help.

/// By what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// The connection is gone or could not be made: reconnect with a backoff.
    ConnectionLost,
    /// The broker refused the operation but the connection lives: what kombu calls a channel error, such as
    /// `PRECONDITION_FAILED` for a queue declared otherwise. A worker ends on it, unless `broker_channel_error_retry`.
    Refused,
    /// The broker cannot do it now but the connection lives: a Redis without memory, or one that cannot save. Trying again
    /// on the same connection can help.
    Passing,
    /// Wrong settings (bad URL, unknown option, refused credentials): trying again cannot help.
    Unusable,
}

/// An error of a broker or of the way to it. Its text never holds a password.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct BrokerError {
    kind: BrokerErrorKind,
    message: String,
}

impl BrokerError {
    /// An error of the given kind; `message` is lower-case and complete.
    pub fn new(kind: BrokerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The connection is gone.
    pub fn lost(message: impl Into<String>) -> Self {
        Self::new(BrokerErrorKind::ConnectionLost, message)
    }

    /// The broker said no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(BrokerErrorKind::Refused, message)
    }

    /// The broker cannot do it now.
    pub fn passing(message: impl Into<String>) -> Self {
        Self::new(BrokerErrorKind::Passing, message)
    }

    /// It can never work.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self::new(BrokerErrorKind::Unusable, message)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }
}
