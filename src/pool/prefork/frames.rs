//! What a child says, and what that does to its jobs.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::error;

use super::child::{Child, Life, Serial};
use super::clock::end_by_limit;
use super::event::Event;
use super::supervisor::Supervisor;
use super::ticket::{ANSWER, Ticket};
use crate::ipc::{Ended, FromChild, PoolKind, Report, Stored, ToChild};
use crate::pool::job::Progress;
use crate::pool::{Accepted, Finished};

impl Supervisor {
    pub(super) fn hear(&mut self, serial: Serial, frames: Vec<FromChild>, now: Instant) {
        for frame in frames {
            match frame {
                FromChild::Accepted { number, at } => self.accepted(serial, number, at, now),
                FromChild::Done { number, report } => self.done(serial, number, report, now),
                FromChild::Store { number, stored } => self.store(serial, number, stored),
                FromChild::Killed(number) => self.ended(serial, number, now, killed),
                FromChild::TimedOut(number) => self.ended(serial, number, now, timed_out),
                FromChild::Recalled(numbers) => self.recalled(serial, &numbers, now),
                FromChild::Signalled(number) => self.signalled(serial, number, now),
                FromChild::Up { pid } => self.up(serial, pid, now),
                FromChild::Failed(message) => self.failed_to_start(serial, &message),
            }
        }
        // Not before all has been heard: the job may have ended since, and the child have begun another one.
        let kind = self.options.kind;
        self.with(serial, |child| kill_what_has_begun(child, kind, now));
    }

    fn up(&mut self, serial: Serial, pid: i32, now: Instant) {
        self.has_started = true;
        if let Some(child) = self.roster.child(serial) {
            self.start_up.observe(now.saturating_duration_since(child.asked_at));
        }
        self.weigh_newcomer(serial, pid, now);
        self.with(serial, |child| {
            child.pid = pid;
            if child.life == Life::Starting {
                child.life = Life::Ready;
            }
            // One that was told to leave before it was up has shown that it can.
            if child.life != Life::Killed {
                child.deadline = None;
            }
        });
        self.show();
    }

    fn failed_to_start(&mut self, serial: Serial, message: &str) {
        self.with(serial, |child| {
            error!(target: "multiprocessing", "Process '{}' pid:{} could not start: {message}", child.name(), child.pid);
        });
    }

    fn accepted(&mut self, serial: Serial, number: u64, at: f64, now: Instant) {
        self.restarts.clear();
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        let pid = child.pid;
        let Some(ticket) = child.given.iter_mut().find(|ticket| ticket.job.number == number) else {
            return;
        };
        if ticket.begun.is_some() {
            return;
        }
        ticket.accept(Accepted { pid, at }, now);
        let limit = ticket.deadline().filter(|_| self.options.kind == PoolKind::Prefork);
        child.begun += 1;
        child.last_progress = now;
        if let Some(limit) = limit {
            self.wake(limit);
        }
    }

    fn done(&mut self, serial: Serial, number: u64, report: Report, now: Instant) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        child.last_progress = now;
        // A job that was ended by its hard limit has had its answer.
        let Some(ticket) = child.take(number) else {
            return;
        };
        if let Some(kind) = ticket.kind {
            self.runtimes.observe(kind, report.runtime);
        }
        if self.options.max_memory_per_child.is_some_and(|most| report.rss_kib > most) {
            child.outgrow();
        }
        let leaves = matches!(report.ended, Ended::Exits { .. });
        if leaves {
            // By itself: how is for the log.
            child.life = Life::Leaving;
        } else if matches!(report.ended, Ended::OutOfMemory { .. }) {
            // A fresh process is the safer one.
            child.retire();
        }
        ticket.finish(Finished::Reported(report));
        if leaves {
            // Before what comes after them, like its own next delivery, finds its successor.
            let unbegun = child.take_unbegun();
            self.wait_again(unbegun.into_iter());
            self.staff(now);
        }
        self.leave_if_done(serial, now);
    }

    /// A greenlet has ended without a report.
    fn ended(&mut self, serial: Serial, number: u64, now: Instant, how: impl FnOnce(&Ticket) -> Finished) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        child.last_progress = now;
        if let Some(ticket) = child.take(number) {
            let how = how(&ticket);
            ticket.finish(how);
        }
        self.leave_if_done(serial, now);
    }

    fn recalled(&mut self, serial: Serial, numbers: &[u64], now: Instant) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        let tickets: Vec<_> = numbers.iter().filter_map(|number| child.take_back(*number)).collect();
        self.wait_again(tickets.into_iter());
        self.leave_if_done(serial, now);
    }

    /// Lets the caller store what the child waits for. The answer comes back as an event.
    fn store(&mut self, serial: Serial, number: u64, stored: Stored) {
        let (stored_by, answer) = oneshot::channel();
        let ticket = self.roster.child(serial).and_then(|child| child.ticket(number));
        // If nobody takes it, the sender is dropped and the answer is an error.
        if let Some(ticket) = ticket {
            ticket.report(Progress::Store(stored, stored_by));
        }
        let events = self.events.clone();
        tokio::spawn(async move {
            let error = match answer.await {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error,
                Err(_) => "nobody is left to store the result".to_owned(),
            };
            let _ = events.send(Event::StoreDone { serial, number, error });
        });
    }

    /// The child signals itself because of this job.
    fn signalled(&mut self, serial: Serial, number: u64, now: Instant) {
        let Some(child) = self.roster.child(serial) else {
            return;
        };
        match child.ticket(number) {
            Some(ticket) if ticket.overdue => end_by_limit(child, number, now),
            Some(ticket) => {
                ticket.signalled();
                child.controlled = true;
            }
            None => {}
        }
        if let Some(deadline) = child.deadline {
            self.wake(deadline);
        }
    }

    pub(super) fn store_done(&mut self, serial: Serial, number: u64, error: String) {
        self.with(serial, |child| child.tell(&ToChild::StoreDone(number, error)));
    }

    /// Kills the child or the greenlet that runs this job, now or when the job begins.
    pub(super) fn terminate(&mut self, number: u64, signum: i32, now: Instant) {
        let kind = self.options.kind;
        if kind != PoolKind::Prefork && !kind.is_green() {
            return error!(target: "celery.worker.control", "{} does not implement kill_job", pool_class(kind));
        }
        if let Some(ticket) = self.waiting.iter_mut().find(|ticket| ticket.job.number == number) {
            ticket.terminate = Some(signum);
        } else if let Some(child) = self.roster.holder(number) {
            kill_job(child, kind, number, signum, now);
            self.wake(now + ANSWER);
        }
    }
}

/// Has the child signal itself, or kill the greenlet, if it has begun this job, and remembers the signal if it has not yet.
/// Only the child knows whether the job still runs when the signal comes.
fn kill_job(child: &mut Child, kind: PoolKind, number: u64, signum: i32, now: Instant) {
    let Some(ticket) = child.ticket(number) else {
        return;
    };
    ticket.terminate = Some(signum);
    if ticket.begun.is_none() {
        return;
    }
    ticket.asked = Some(now);
    if kind.is_green() {
        ticket.terminated = true;
        child.tell(&ToChild::Kill(number));
    } else {
        child.tell(&ToChild::Signal { number, signum, group: false });
    }
}

/// Signals the child if it runs a job by now that was to be killed as soon as it began.
fn kill_what_has_begun(child: &mut Child, kind: PoolKind, now: Instant) {
    let doomed = child.given.iter().find_map(|ticket| {
        let signum = ticket.terminate.filter(|_| ticket.begun.is_some() && ticket.asked.is_none())?;
        Some((ticket.job.number, signum))
    });
    if let Some((number, signum)) = doomed {
        kill_job(child, kind, number, signum, now);
    }
}

fn timed_out(ticket: &Ticket) -> Finished {
    Finished::TimeLimit(ticket.limits.hard.unwrap_or_default())
}

/// What the death of a job's greenlet is: asked for, or something that the task's code has done to itself. Celery takes the
/// latter for a success.
fn killed(ticket: &Ticket) -> Finished {
    match ticket.terminate {
        Some(signum) => Finished::Terminated { signum },
        None => Finished::Reported(Report {
            ended: Ended::Success { repr: "None".to_owned() },
            runtime: 0.0,
            stored: None,
            rss_kib: 0,
        }),
    }
}

/// The Python class, as Celery prints it.
pub(super) fn pool_class(kind: PoolKind) -> &'static str {
    match kind {
        PoolKind::Prefork => "<class 'celery.concurrency.prefork.TaskPool'>",
        PoolKind::Threads => "<class 'celery.concurrency.thread.TaskPool'>",
        PoolKind::Solo => "<class 'celery.concurrency.solo.TaskPool'>",
        PoolKind::Gevent => "<class 'celery.concurrency.gevent.TaskPool'>",
        PoolKind::Eventlet => "<class 'celery.concurrency.eventlet.TaskPool'>",
    }
}
