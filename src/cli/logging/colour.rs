//! The colours of levels on a terminal (`ColorFormatter` of `celery/utils/log.py`).

use crate::config::LogLevel;

/// What ends a colour.
pub(super) const RESET: &str = "\x1b[0m";

/// What starts a level's colour; INFO has none.
pub(super) fn of(level: LogLevel) -> Option<&'static str> {
    match level {
        LogLevel::Debug => Some("\x1b[1;34m"),
        LogLevel::Info => None,
        LogLevel::Warning => Some("\x1b[1;33m"),
        LogLevel::Error => Some("\x1b[1;31m"),
        LogLevel::Critical => Some("\x1b[1;35m"),
    }
}
