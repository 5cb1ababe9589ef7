//! What can be wrong with a configuration.

use crate::config::Layer;

/// A configuration that cannot be meant (Celery's `ImproperlyConfigured`). Never shows a value: it may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value of the wrong type.
    #[error("setting {setting} ({layer}) must be {expected}, not {found}")]
    WrongType {
        /// The setting.
        setting: &'static str,
        /// Where it was set.
        layer: Layer,
        /// What it can be.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A value of the right type that means nothing.
    #[error("setting {setting} ({layer}): {reason}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// Where it was set.
        layer: Layer,
        /// Why not, and what would do.
        reason: String,
    },
    /// An environment variable that Celery reads without a setting, and that cannot be understood.
    #[error("Invalid value for {name}: expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// `int` or `float`.
        expected: &'static str,
    },
    /// `key=value` on the command line that cannot be understood.
    #[error("{0}")]
    Override(String),
    /// `-Q` names a queue that is not there, and `task_create_missing_queues` is off.
    #[error(
        "Trying to select queue subset of {wanted:?}, but queue {missing:?} isn't defined in the `task_queues` setting.\n\nIf you want to automatically declare unknown queues you can enable the `task_create_missing_queues` setting.\n"
    )]
    UnknownQueue {
        /// What `-Q` says.
        wanted: Vec<String>,
        /// The first one missing.
        missing: String,
    },
    /// A queue definition that cannot be read.
    #[error("queue {name}: {reason}")]
    Queue {
        /// Its name, as far as known.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A rate limit that cannot be read.
    #[error("rate limit {0:?} is not a number, nor a number followed by /s, /m or /h")]
    Rate(String),
    /// A URL that cannot be read; its text is not shown, for it may hold a password.
    #[error("{what} cannot be read: {reason}")]
    Url {
        /// Which URL.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
