//! The log, with the lines that Celery writes: `[2026-11-21 03:04:05,678: INFO/MainProcess] message`.
//!
//! The rest of the crate only says `tracing::info!(...)`. Two conventions hold for it:
//! - Python has a level above ERROR: `tracing::error!(critical = true, "...")` is a CRITICAL line.
//! - Only the message is printed, as Celery's lines have nothing else. `task_id` and `task_name` are shown by
//!   `--log-format json`; other fields are for other subscribers.
//!
//! The logger's name (`%(name)s`) is the target, with Celery's dots: `celery_rs::worker::strategy` is
//! `celery.worker.strategy`. Lines of libraries under us (the AMQP and Redis clients, TLS) show from WARNING on.
//!
//! Lines go through one thread that writes whole lines only, so that those of the children, who write to the same
//! place, never end up in the middle of ours. Python's own logging in the children is set up by Celery itself there.

mod colour;
mod format;
mod json;
mod line;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::OnceLock,
};

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogLevel;

pub use format::{Format, FormatError};
pub(super) use json::Layout;
pub(super) use line::CeleryLayer;
pub(super) use sink::Sink;

/// What the log is to look like and where it goes.
#[derive(Debug, Clone)]
pub(super) struct LogOptions {
    /// The lowest level shown.
    pub(super) level: LogLevel,
    /// A file instead of stderr; reopened when it is renamed away.
    pub(super) file: Option<PathBuf>,
    /// What a line looks like.
    pub(super) layout: Layout,
    /// `--no-color` and `worker_log_color`; none asks the terminal.
    pub(super) colour: Option<bool>,
    /// Whether a beat runs inside (`-B`): its lines have the name of its process in Celery.
    pub(super) has_beat: bool,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Installs the log for the whole process; once. A second call does nothing, so that a program with a subscriber of its
/// own keeps it.
///
/// # Errors
/// When the log file cannot be opened.
pub(super) fn install(options: LogOptions) -> io::Result<()> {
    let colour = options.file.is_none() && options.colour.unwrap_or(true) && io::stderr().is_terminal();
    let sink = Sink::open(options.file)?;
    let layer = CeleryLayer::new(options.level, options.layout, colour, options.has_beat, sink.clone());
    if tracing_subscriber::registry().with(layer).try_init().is_ok() {
        let _ = SINK.set(sink);
    }
    Ok(())
}

/// Returns once every line logged so far is written. To be called before the process ends.
pub(super) fn flush() {
    if let Some(sink) = SINK.get() {
        sink.flush();
    }
}
