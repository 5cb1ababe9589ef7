//! [`Adopted`]: processes that tasks have left behind, which the kernel gives to the zygote, and which somebody has to wait for
//! when they end.
//!
//! Celery's are init's. Here the worker would get them, a subreaper for the sake of children whose zygote has died, and could not
//! tell them from processes that a native task waits for itself. In the zygote no code of the app runs any more.

use std::fs;

use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Those whom to wait for: all children, but for these.
pub(super) struct Adopted {
    /// Processes that the app has started while it was imported.
    apps: Vec<Pid>,
}

impl Adopted {
    /// From now on orphans come to this process. None where the system does not tell whose children there are: then they go on to
    /// the worker.
    pub(super) fn begin() -> Option<Self> {
        let apps = children()?;
        prctl::set_child_subreaper(true).ok()?;
        Some(Self { apps })
    }

    /// Waits for those that have ended. `known` are children that are waited for elsewhere.
    pub(super) fn reap(&self, known: &[Pid]) {
        let adopted = |pid: &Pid| !known.contains(pid) && !self.apps.contains(pid);
        for pid in children().unwrap_or_default().into_iter().filter(adopted) {
            // How it has ended is nobody's business.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Of this thread, the only one that forks, and the first one, to which orphans come.
fn children() -> Option<Vec<Pid>> {
    let text = fs::read_to_string("/proc/thread-self/children").ok()?;
    Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
}
