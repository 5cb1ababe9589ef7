//! How a process ended: wait statuses, in billiard's words.

use nix::sys::signal::Signal;

/// `EX_RECYCLE`: a child that has done its share of tasks.
const EX_RECYCLE: i32 = 0x9b;

/// What `waitpid` gave for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) i32);

impl Status {
    /// For a child of which nobody could tell: what Celery takes then.
    pub(super) const UNKNOWN: Self = Self(0);

    /// Whether the child left as it was meant to.
    pub(super) fn is_normal(self) -> bool {
        self.signum().is_none() && matches!(self.code(), 0 | EX_RECYCLE)
    }

    /// Whether it ended of its own accord, with 0.
    pub(super) fn is_success(self) -> bool {
        self.0 == 0
    }

    /// billiard's `human_status`: `signal 9 (SIGKILL)`, `exitcode 1`.
    pub(super) fn text(self) -> String {
        match self.signum() {
            None => format!("exitcode {}", self.code()),
            Some(signum) => match signal_name(signum) {
                Some(name) => format!("signal {signum} ({name})"),
                None => format!("signal {signum}"),
            },
        }
    }

    fn code(self) -> i32 {
        (self.0 >> 8) & 0xff
    }

    fn signum(self) -> Option<i32> {
        let signum = self.0 & 0x7f;
        (signum != 0).then_some(signum)
    }
}

/// The name Python's `signal` module gives last: where a number has two, not always ours.
fn signal_name(signum: i32) -> Option<&'static str> {
    match Signal::try_from(signum).ok()? {
        Signal::SIGCHLD => Some("SIGCLD"),
        Signal::SIGIO => Some("SIGPOLL"),
        signal => Some(signal.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_as_billiard_writes_them() {
        let table = [
            (0, "exitcode 0", true),
            (1 << 8, "exitcode 1", false),
            (155 << 8, "exitcode 155", true),
            (9, "signal 9 (SIGKILL)", false),
            (11 | 0x80, "signal 11 (SIGSEGV)", false),
            (15, "signal 15 (SIGTERM)", false),
            (17, "signal 17 (SIGCLD)", false),
            (40, "signal 40", false),
        ];
        for (raw, text, normal) in table {
            assert_eq!(Status(raw).text(), text);
            assert_eq!(Status(raw).is_normal(), normal, "{text}");
        }
    }
}
