//! What can go wrong before Celery is reached.

use std::path::PathBuf;

/// A Python that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PythonError {
    /// The active environment is of another Python than the one this binary is linked to.
    #[error(
        "this celery-rs embeds Python {ours}, but {path} is Python {theirs}: \
         use a virtualenv made with Python {ours}, or a celery-rs built for Python {theirs}"
    )]
    Version {
        /// `major.minor` of the linked library.
        ours: String,
        /// `major.minor` of the environment.
        theirs: String,
        /// The environment.
        path: String,
    },
    /// `VIRTUAL_ENV` names something else.
    #[error("VIRTUAL_ENV is {0}, which is no virtualenv: it has no pyvenv.cfg")]
    NoEnvironment(PathBuf),
    /// The interpreter refused to start.
    #[error("cannot start Python: {0}")]
    Start(String),
    /// The options of the zygote are not what its parent should have written.
    #[error("malformed zygote options: {0}")]
    Options(#[from] serde_json::Error),
    /// The socket to the parent.
    #[error(transparent)]
    Ipc(#[from] crate::ipc::IpcError),
    /// A Python exception nobody caught.
    #[cfg(feature = "bridge")]
    #[error("{0}")]
    Python(#[from] pyo3::PyErr),
}
