//! The end of a child: what was lost, what goes elsewhere, and who takes its place.
//!
//! A child is buried when two things are known: all it ever wrote (its link has closed) and how it ended (its zygote has
//! reaped it, or, when the zygote is dead, this process has).

use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::child::{Child, Life, Serial};
use super::signal;
use super::status::Status;
use super::supervisor::Supervisor;
use super::ticket::Ticket;
use crate::pool::{Finished, PoolError};

/// How long a child whose socket has ended may live on without having been told to leave.
const LINGER: Duration = Duration::from_secs(2);

impl Supervisor {
    /// The zygote has reaped a process.
    pub(super) fn reaped(&mut self, pid: i32, status: i32, now: Instant) {
        if self.saved_by(pid, Status(status)) {
            return;
        }
        // The zygote may also reap what its children left behind.
        let Some(child) = self.roster.by_pid(pid) else {
            return;
        };
        child.status = Some(Status(status));
        if child.closed {
            let serial = child.serial;
            self.bury(serial, now);
        } else {
            child.bell.dead.notify_one();
        }
    }

    /// A link has told everything.
    pub(super) fn child_closed(&mut self, serial: Serial, now: Instant) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        child.closed = true;
        if child.orphaned && child.status.is_none() {
            child.status = signal::wait_for_orphan(child.pid);
        }
        if child.status.is_some() {
            return self.bury(serial, now);
        }
        if child.life < Life::Leaving {
            child.deadline = Some(now + LINGER);
        }
        self.wake(now + LINGER.min(ORPHANS));
    }

    /// A child is overdue whose socket has closed, or whose process was never heard of.
    pub(super) fn linger_over(&mut self, serial: Serial, now: Instant) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        if child.pid == 0 {
            child.status = Some(Status::UNKNOWN);
            self.bury(serial, now);
        } else {
            signal::send(child.target(), signal::SIGKILL);
        }
    }

    /// Looks whether orphans have ended; nobody else tells.
    pub(super) fn wait_for_orphans(&mut self, now: Instant) {
        let mut ended = Vec::new();
        for child in self.roster.iter_mut().filter(|child| child.orphaned && child.status.is_none()) {
            child.status = if child.pid == 0 { None } else { signal::wait_for_orphan(child.pid) };
            match child.status {
                Some(_) if child.closed => ended.push(child.serial),
                Some(_) => child.bell.dead.notify_one(),
                None => {}
            }
        }
        for serial in ended {
            self.bury(serial, now);
        }
        if self.roster.iter().any(|child| child.orphaned) {
            self.wake(now + ORPHANS);
        }
    }

    fn bury(&mut self, serial: Serial, now: Instant) {
        let Some(mut child) = self.roster.remove(serial) else {
            return;
        };
        child.bell.dead.notify_one();
        let status = child.status.unwrap_or(Status::UNKNOWN);
        if !status.is_normal() && !child.controlled {
            let (name, pid) = (child.name(), child.pid);
            error!(target: "multiprocessing", "Process '{name}' pid:{pid} exited with '{}'", status.text());
        }
        if status.is_normal() || child.controlled {
            self.census.left += 1
        } else {
            self.census.died += 1
        }
        let unbegun = child.take_unbegun();
        for ticket in child.given.drain(..) {
            lose(*ticket, status);
        }
        self.wait_again(unbegun.into_iter());
        self.replace(&child, status, now);
        self.show();
    }

    fn replace(&mut self, child: &Child, status: Status, now: Instant) {
        if self.stopping {
            return;
        }
        if child.life == Life::Starting && !self.has_started && self.zygote.is_some() {
            return self.fail(PoolError::Zygote("Could not start worker processes".to_owned()), now);
        }
        let guarded = if status.is_normal() { Ok(()) } else { self.restarts.step(now) };
        match guarded {
            Ok(()) => self.staff(now),
            Err(storm) => self.fail(storm, now),
        }
    }
}

/// How often to look for orphans that have ended.
pub(super) const ORPHANS: Duration = Duration::from_millis(100);

/// Tells the caller of a job that had begun.
fn lose(ticket: Ticket, status: Status) {
    let finished = match ticket.terminate.filter(|_| ticket.terminated) {
        Some(signum) => Finished::Terminated { signum },
        None => Finished::WorkerLost { exit: status.text() },
    };
    ticket.finish(finished);
}
