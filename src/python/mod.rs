//! CPython, embedded: the zygote that has loaded the app, its children that run Python tasks, and the steward, in which the
//! app's code for Celery's main process runs.
//!
//! Nothing here runs in the parent. Where the interpreter is: inside this program (feature `embed`, a binary that is linked
//! with libpython), or beside it, where the wheel is installed: then the program becomes that interpreter for its zygote, and
//! the interpreter loads this crate as a module (feature `extension`). What is Celery's business (loading the app, signals, logging, tracing) is done by the
//! Python sources in `python/celery_rs`, which are part of the binary or of the wheel; this room gives them the
//! frames of [`ipc`](crate::ipc). It knows no broker and no result backend.

#[cfg(feature = "bridge")]
mod adopted;
#[cfg(feature = "bridge")]
mod backlog;
#[cfg(feature = "bridge")]
mod bridge;
#[cfg(feature = "bridge")]
mod child;
#[cfg(not(feature = "extension"))]
mod environment;
mod error;
#[cfg(feature = "extension")]
mod extension;
#[cfg(not(feature = "bridge"))]
mod host;
#[cfg(feature = "bridge")]
mod inbox;
#[cfg(all(feature = "bridge", not(feature = "extension")))]
mod interpreter;
#[cfg(feature = "bridge")]
mod mapping;
#[cfg(feature = "bridge")]
mod outcome;
#[cfg(all(feature = "bridge", not(feature = "extension")))]
mod sources;
#[cfg(feature = "bridge")]
mod steward;
#[cfg(feature = "bridge")]
mod wakeup;
#[cfg(feature = "bridge")]
mod zygote;

pub use error::PythonError;

#[cfg(feature = "extension")]
use extension as home;
#[cfg(not(feature = "bridge"))]
use host as zygote;
#[cfg(all(feature = "bridge", not(feature = "extension")))]
use interpreter as home;

/// The zygote, from its start to its end: what the hidden subcommand runs. Expects its socket on descriptor 0 and
/// [`ZygoteOptions`](crate::ipc::ZygoteOptions) as JSON; gives the exit code of the process.
///
/// Its forked children leave through the same door.
pub fn zygote_main(options: &str) -> i32 {
    zygote::run(options)
}
