//! [`ScheduleError`] and [`BeatError`]: what cannot be read, and what keeps beat from running.

use std::{io, path::PathBuf};

use crate::{broker::BrokerError, producer::ProducerError};

/// A schedule that means nothing, or that has no next time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A crontab that cannot be read.
    #[error("{0}")]
    Crontab(String),
    /// A field of a crontab is empty.
    #[error("a field of the crontab matches nothing")]
    Empty,
    /// No day matches.
    #[error("unable to rollover, time specification is probably invalid")]
    Never,
    /// Before the year 1 or after 9999.
    #[error("date value out of range")]
    OutOfRange,
    /// A description of a schedule that is none.
    #[error("{0}")]
    Unknown(String),
}

/// What keeps beat from running, or an entry from being sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeatError {
    /// Another process has the schedule file.
    #[error("another beat runs on the schedule file {}: two would send everything twice", path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The schedule file cannot be opened or written.
    #[error("the schedule file {} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An entry of the schedule that cannot be read.
    #[error("beat_schedule entry {name}: {source}")]
    Entry {
        /// The entry.
        name: String,
        /// Why not.
        source: ScheduleError,
    },
    /// The broker did not let us in for as long as the settings say.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// An entry could not be sent.
    #[error("Couldn't apply scheduled task {name}: {source}")]
    Sending {
        /// The entry.
        name: String,
        /// Why not.
        source: ProducerError,
    },
}
