//! [`AppError`]: why there is no worker, in words for the user and with Celery's exit code.

use crate::{
    backend::BackendError,
    beat::BeatError,
    broker::BrokerError,
    config::{ConfigError, PYTHONS, Refusal},
    ipc::DaemonOptions,
    pool::PoolError,
    protocol::ProtocolError,
    serialization::DecodeError,
};

/// What keeps a worker from starting. Its text never holds a password.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AppError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Beat(#[from] BeatError),
    #[error("the app's manifest cannot be read: {0}")]
    Manifest(#[from] DecodeError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Unsupported(String),
}

impl AppError {
    /// Something that this worker does not do, and the way out.
    pub(super) fn refused(line: impl Into<String>, way_out: impl Into<String>) -> Self {
        Kind::Refused(Refusal::new(line, way_out)).into()
    }

    /// Something that cannot be done here and now.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Kind::Unsupported(what.into()).into()
    }

    /// As what a worker would refuse for it: the same line, and the way out.
    pub fn to_refusal(&self) -> Refusal {
        let way_out = match &self.0 {
            Kind::Refused(refusal) => return refusal.clone(),
            Kind::Config(_) | Kind::Protocol(_) => "put it right where it is set".to_owned(),
            Kind::Broker(_) => format!("put the broker's URL or options right, or {PYTHONS}"),
            Kind::Backend(_) => format!("put the result backend's URL or options right, or {PYTHONS}"),
            _ => PYTHONS.to_owned(),
        };
        Refusal::new(self.to_string(), way_out)
    }

    /// What the daemon shall be that was asked for instead of a worker in this process.
    pub fn daemon(&self) -> Option<&DaemonOptions> {
        match &self.0 {
            Kind::Pool(PoolError::Detach(options)) => Some(options),
            _ => None,
        }
    }

    /// The exit code Celery gives for it: 2 for what the user typed, 1 for everything else; 73 (`EX_CANTCREAT`) for a
    /// schedule file that another beat has.
    pub fn exit_code(&self) -> i32 {
        match &self.0 {
            Kind::Beat(BeatError::Held { .. }) => 73,
            Kind::Pool(PoolError::App { code, .. }) => *code,
            Kind::Refused(_) | Kind::Unsupported(_) => 2,
            _ => 1,
        }
    }
}

impl From<String> for AppError {
    fn from(reason: String) -> Self {
        Self::unsupported(reason)
    }
}

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for AppError {
            fn from(error: $error) -> Self {
                Kind::from(error).into()
            }
        })*
    };
}

from!(ConfigError, PoolError, BrokerError, BackendError, BeatError, DecodeError, ProtocolError);
