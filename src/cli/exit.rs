//! Exit codes, and the only place that ends the process.

/// A code to end the process with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

/// All went well: also after TERM, QUIT and a remote `shutdown`.
pub(super) const OK: Exit = Exit(0);
/// INT, an error that nothing recovers from, a configuration that makes no sense.
pub(super) const FAILURE: Exit = Exit(1);
/// The command line or the app cannot be used.
pub(super) const USAGE: Exit = Exit(2);
/// `EX_CANTCREAT`: another process holds the pidfile.
pub(super) const CANNOT_CREATE: Exit = Exit(73);

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.0)
    }
}

/// Ends the process at once, for the signal that says so a fourth time; nothing more is written but the log.
pub(super) fn at_once(exit: Exit) -> ! {
    super::logging::flush();
    std::process::exit(i32::from(exit.0))
}
