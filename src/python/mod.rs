//! CPython, embedded: the zygote that has loaded the app, its children that run Python tasks, and the steward, in which the
//! app's code for Celery's main process runs.
//!
//! Nothing here runs in the parent. What is Celery's business (loading the app, signals, logging, tracing) is done by the
//! Python sources in `python/celery_rs`, which are part of the binary; this room gives them an interpreter and the
//! frames of [`ipc`](crate::ipc). It knows no broker and no result backend.

mod backlog;
mod child;
mod environment;
mod error;
mod inbox;
mod interpreter;
mod mapping;
mod outcome;
mod sources;
mod steward;
mod wakeup;
mod zygote;

pub use error::PythonError;

/// The zygote, from its start to its end: what the hidden subcommand runs. Expects its socket on descriptor 0 and
/// [`ZygoteOptions`](crate::ipc::ZygoteOptions) as JSON; gives the exit code of the process.
///
/// Its forked children leave through the same door.
pub fn zygote_main(options: &str) -> i32 {
    zygote::run(options)
}
