//! The end of the pool, step by step: no new jobs, the begun ones end, children leave, the zygote leaves.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::child::{Child, Life, Serial};
use super::signal::{self, SIGTERM};
use super::supervisor::Supervisor;
use crate::ipc::{ToChild, ToZygote};
use crate::pool::Finished;

/// Between the TERM that ends the grace and the KILL.
const KILL_AFTER: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Begins to stop, or, if that has begun, shortens the grace.
    pub(super) fn stop(&mut self, grace: Option<Duration>, done: Option<oneshot::Sender<()>>, now: Instant) {
        self.stops.extend(done);
        let deadline = grace.and_then(|grace| now.checked_add(grace));
        self.stop_deadline = self.stop_deadline.into_iter().chain(deadline).min();
        if let Some(deadline) = self.stop_deadline {
            self.wake(deadline);
        }
        if !self.stopping {
            self.stopping = true;
            self.withdraw();
        }
    }

    /// Takes back all that has not begun and sends away whoever has nothing to do.
    fn withdraw(&mut self) {
        for ticket in self.waiting.drain(..) {
            ticket.finish(Finished::Withdrawn);
        }
        let is_green = self.options.kind.is_green();
        for child in self.roster.iter_mut() {
            child.retire();
            if is_green {
                child.tell(&ToChild::Close);
            }
            child.leave_if_done();
        }
    }

    /// The one place where children that do not leave by themselves are made to: TERM, and KILL for those that stay. A child of
    /// greenlets takes no TERM, but hears while they run.
    pub(super) fn end_grace(&mut self, now: Instant) {
        if self.stop_deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.stop_deadline = None;
        let is_green = self.options.kind.is_green();
        for child in self.roster.iter_mut().filter(|child| child.life != Life::Killed) {
            child.life = Life::Killed;
            child.controlled = true;
            child.deadline = Some(now + KILL_AFTER);
            if is_green {
                child.tell(&ToChild::Stop);
            } else {
                signal::send(child.target(), SIGTERM);
            }
        }
    }

    /// Children that were asked for and that a dead zygote cannot have forked any more.
    pub(super) fn bury_unborn(&mut self, now: Instant) {
        let unborn = |child: &&Child| child.pid == 0 && child.closed;
        let serials: Vec<Serial> = self.roster.iter().filter(unborn).map(|child| child.serial).collect();
        for serial in serials {
            self.linger_over(serial, now);
        }
    }

    /// Whether the last child is gone, and the zygote after it.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.stopping || !self.roster.is_empty() || !self.saving.is_over() {
            return false;
        }
        // Its link closes the socket when nobody can ask any more, and tells when the process has ended.
        if let Some(zygote) = self.zygote.take() {
            let _ = zygote.send((ToZygote::Stop, Vec::new()));
        }
        !self.zygote_lives
    }
}
