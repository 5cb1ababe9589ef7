//! Signals to children, and the waiting for those that no zygote waits for.
//!
//! The caller has made sure that the pid is a child's that has not been reported dead: a number that is nobody's any more
//! may be somebody else's.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid};
use tracing::warn;

use super::status::Status;

pub(super) const SIGKILL: i32 = libc::SIGKILL;
pub(super) const SIGTERM: i32 = libc::SIGTERM;
/// At which a child writes its stacks (`python/celery_rs/stacks.py`): one that neither Celery nor billiard has a use for.
pub(super) const STACKS: i32 = libc::SIGPWR;

/// Signals one child. That it is dead already is no error.
pub(super) fn send(pid: i32, signum: i32) {
    if pid > 1 {
        deliver(Pid::from_raw(pid), signum);
    }
}

/// Signals a child and, if it leads a process group, all of that group.
pub(super) fn send_group(pid: i32, signum: i32) {
    if pid <= 1 {
        return;
    }
    let leads = getpgid(Some(Pid::from_raw(pid))).is_ok_and(|group| group.as_raw() == pid);
    deliver(Pid::from_raw(if leads { -pid } else { pid }), signum);
}

/// How a child of a dead zygote has ended, if it has; the kernel has made it ours.
pub(super) fn wait_for_orphan(pid: i32) -> Option<Status> {
    if pid <= 1 {
        return Some(Status::UNKNOWN);
    }
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some(Status(code << 8)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(Status(signal as i32)),
        Err(Errno::ECHILD | Errno::EINVAL) => Some(Status::UNKNOWN),
        Ok(_) | Err(_) => None,
    }
}

fn deliver(pid: Pid, signum: i32) {
    let sent = Signal::try_from(signum).and_then(|signal| kill(pid, signal));
    if let Err(errno) = sent.or_else(|errno| if errno == Errno::ESRCH { Ok(()) } else { Err(errno) }) {
        warn!(target: "celery.concurrency.prefork", "cannot send signal {signum} to process {pid}: {errno}");
    }
}
