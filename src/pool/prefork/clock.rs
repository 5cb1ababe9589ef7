//! What time brings: limits, stalls, children that are not up, not dead or not gone in time.
//!
//! Few jobs run at once, so a look at each of them costs less than a queue of timers for all of them.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error};

use super::child::{Child, Life, Serial};
use super::signal::{self, SIGKILL, SIGTERM};
use super::supervisor::Supervisor;
use super::ticket::Ticket;
use crate::ipc::{PoolKind, ToChild};
use crate::pool::Finished;
use crate::pool::job::Progress;

/// Between the TERM and the KILL of a hard time limit, as billiard has it.
const GRACE: Duration = Duration::from_millis(100);

impl Supervisor {
    /// Does all that is due, and asks to be woken for the next.
    pub(super) fn look_at_the_clock(&mut self, now: Instant) {
        self.recall_from_stalled(now);
        if self.options.kind == PoolKind::Prefork {
            self.roster.iter_mut().for_each(|child| enforce_limits(child, now));
        }
        self.wait_for_orphans(now);
        self.enforce_deadlines(now);
        self.end_grace(now);
        self.weigh_idle(now);
        self.staff(now);
        let next = self.roster.iter().filter_map(|child| next_deadline(child, self.options.kind)).min();
        if let Some(next) = next.into_iter().chain(self.stop_deadline).min() {
            self.wake(next);
        }
    }

    fn enforce_deadlines(&mut self, now: Instant) {
        let due = self.roster.iter_mut().filter(|child| child.deadline.is_some_and(|deadline| deadline <= now));
        let mut lingering: Vec<Serial> = Vec::new();
        for child in due {
            child.deadline = None;
            match child.life {
                _ if child.closed || child.pid == 0 => lingering.push(child.serial),
                Life::Starting => give_up_on(child),
                _ => signal::send_group(child.target(), SIGKILL),
            }
        }
        for serial in lingering {
            self.linger_over(serial, now);
        }
    }
}

/// The child has not said that it is up.
fn give_up_on(child: &mut Child) {
    let name = child.name();
    error!(target: "celery.concurrency.asynpool", "Timed out waiting for UP message from <ForkProcess({name}, started daemon)>");
    child.life = Life::Killed;
    signal::send(child.target(), SIGKILL);
}

fn next_deadline(child: &Child, kind: PoolKind) -> Option<Instant> {
    let limits = child.given.iter().filter_map(|ticket| ticket.deadline()).filter(|_| kind == PoolKind::Prefork);
    limits.chain(child.deadline).min()
}

fn enforce_limits(child: &mut Child, now: Instant) {
    let softly = |ticket: &Ticket| !ticket.warned && is_over(ticket, ticket.limits.soft, now);
    let mut numbers: Vec<u64> = Vec::new();
    for ticket in child.given.iter_mut().filter(|ticket| softly(ticket)) {
        ticket.warned = true;
        warn_of_limit(ticket);
        numbers.push(ticket.job.number);
    }
    for number in numbers {
        child.tell(&ToChild::SoftTimeLimit(number));
    }
    let over = |ticket: &&mut Box<Ticket>| !ticket.overdue && is_over(ticket, ticket.limits.hard, now);
    for ticket in child.given.iter_mut().filter(over) {
        (ticket.overdue, ticket.asked) = (true, Some(now));
        let _ = child.outbox.push(&ToChild::Signal { number: ticket.job.number, signum: SIGTERM, group: true });
    }
    let stuck = child.given.iter().filter(|ticket| ticket.overslept().is_some_and(|until| until <= now));
    let numbers: Vec<u64> = stuck.map(|ticket| ticket.job.number).collect();
    for number in numbers {
        end_from_outside(child, number, now);
    }
}

/// A child that was asked to signal itself does not answer: it has been stopped, perhaps.
fn end_from_outside(child: &mut Child, number: u64, now: Instant) {
    let pid = child.target();
    let Some(ticket) = child.ticket(number) else {
        return;
    };
    match ticket.terminate {
        Some(signum) if !ticket.overdue => {
            ticket.signalled();
            child.controlled = true;
            signal::send(pid, signum);
        }
        _ => {
            end_by_limit(child, number, now);
            signal::send_group(pid, SIGTERM);
        }
    }
}

fn is_over(ticket: &Ticket, limit: Option<Duration>, now: Instant) -> bool {
    let deadline = ticket.begun.zip(limit).and_then(|(begun, limit)| begun.checked_add(limit));
    deadline.is_some_and(|deadline| deadline <= now)
}

fn warn_of_limit(ticket: &Ticket) {
    debug!(target: "multiprocessing", "soft time limit exceeded for job {}", ticket.job.number);
    if let Some(soft) = ticket.limits.soft {
        ticket.report(Progress::SoftTimeLimit(soft));
    }
}

/// The answer comes at once; the child dies of the TERM that it has had or, soon after, of KILL, and what waited in it goes
/// elsewhere then.
pub(super) fn end_by_limit(child: &mut Child, number: u64, now: Instant) {
    let Some(ticket) = child.take(number) else {
        return;
    };
    debug!(target: "multiprocessing", "hard time limit exceeded for job {number}");
    let hard = ticket.limits.hard.unwrap_or_default();
    ticket.finish(Finished::TimeLimit(hard));
    child.life = Life::Killed;
    child.deadline = Some(now + GRACE);
}
