//! [`BackendError`]: a result that could not be stored or read.

/// An error of a result backend. Its text never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Still not reachable after all retries.
    #[error("result backend is not reachable: {0}")]
    Unreachable(String),
    /// The backend refused this write (too large, read-only, out of memory).
    #[error("result backend refused: {0}")]
    Refused(String),
    /// The backend cannot do this at all (chords on `rpc://`).
    #[error("{0}")]
    Unsupported(String),
    /// What the backend holds cannot be read.
    #[error("result document is unreadable: {0}")]
    Unreadable(String),
    /// Wrong settings: trying again cannot help.
    #[error("{0}")]
    Unusable(String),
}
