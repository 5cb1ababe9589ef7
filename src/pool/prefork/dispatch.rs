//! Who gets which job, and when a job is taken back for someone else.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::child::STALL;
use super::supervisor::Supervisor;
use super::ticket::Ticket;
use crate::ipc::{Ended, PoolKind, Report};
use crate::pool::{Finished, Writes};

impl Supervisor {
    pub(super) fn submit(&mut self, mut ticket: Box<Ticket>) {
        if self.stopping {
            return ticket.finish(Finished::Withdrawn);
        }
        ticket.kind = Some(self.runtimes.kind(&ticket.job.task));
        if self.options.kind == PoolKind::Gevent {
            ticket.job.time_limit = ticket.limits.hard.map(|limit| limit.as_secs_f64());
        }
        self.waiting.push_back(ticket);
    }

    /// Gives out what waits, in order, as far as there are seats for it or short jobs to send ahead.
    pub(super) fn dispatch(&mut self, now: Instant) {
        while let Some(mut ticket) = self.waiting.pop_front() {
            if ticket.is_abandoned() {
                continue;
            }
            ticket.estimate = ticket.kind.map_or(Duration::MAX, |kind| self.runtimes.estimate(kind));
            let Some(child) = self.roster.choose(ticket.estimate, now) else {
                self.waiting.push_front(ticket);
                break;
            };
            let place = child.index as usize;
            match child.give(ticket, now) {
                Ok(()) => self.count(place),
                Err(ticket) => refuse(ticket),
            }
        }
        self.watch_those_ahead(now);
    }

    fn count(&mut self, place: usize) {
        if self.given.len() <= place {
            self.given.resize(place + 1, 0);
        }
        self.given[place] += 1;
    }

    pub(super) fn writes(&self) -> Writes {
        let children = self.roster.iter().filter(|child| child.counts()).count();
        let active = self.roster.iter().filter(|child| child.outbox.is_blocked()).count();
        Writes { jobs: self.given.clone(), children, active }
    }

    /// Jobs that wait in a child must not wait for long, nor while a seat is free.
    fn watch_those_ahead(&mut self, now: Instant) {
        if !self.roster.has_ahead() {
            return;
        }
        if self.waiting.is_empty() && self.roster.has_idle_seat() {
            self.roster.steal();
        }
        self.wake(now + STALL);
    }

    /// Takes back what waits behind a job that turned out long.
    pub(super) fn recall_from_stalled(&mut self, now: Instant) {
        let seats = self.roster.seats;
        for child in self.roster.iter_mut().filter(|child| child.ahead(seats) > 0 && child.is_stalled(now)) {
            child.recall(child.ahead(seats));
            for ticket in &child.given {
                if let (Some(kind), Some(begun)) = (ticket.kind, ticket.begun) {
                    self.runtimes.at_least(kind, now.saturating_duration_since(begun));
                }
            }
        }
    }

    /// Gives up what waits and is wanted back, and asks the children for what they have of it. One pass for all: a lost
    /// connection wants everything back at once.
    pub(super) fn withdraw_wanted(&mut self) {
        if self.withdrawals.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut self.withdrawals);
        let waiting = std::mem::take(&mut self.waiting);
        let (back, kept) = waiting.into_iter().partition(|ticket| wanted.contains(&ticket.job.number));
        self.waiting = kept;
        let back: VecDeque<Box<Ticket>> = back;
        back.into_iter().for_each(|ticket| ticket.finish(Finished::Withdrawn));
        self.roster.iter_mut().for_each(|child| child.withdraw(&wanted));
    }

    /// Puts jobs that came back where they were: before all that came later.
    pub(super) fn wait_again(&mut self, tickets: impl DoubleEndedIterator<Item = Box<Ticket>>) {
        for mut ticket in tickets.rev() {
            if self.stopping || ticket.withdrawn {
                ticket.finish(Finished::Withdrawn);
            } else {
                ticket.recalled = false;
                self.waiting.push_front(ticket);
            }
        }
    }
}

/// No child can be told of a job that does not fit into a frame.
fn refuse(ticket: Box<Ticket>) {
    let exception = format!("task {}[{}] is too large to be handed to a child", ticket.job.task, ticket.job.id);
    error!(target: "celery.concurrency.prefork", "{exception}");
    let ended = Ended::Internal { exception, traceback: String::new() };
    ticket.finish(Finished::Reported(Report { ended, runtime: 0.0, stored: None, rss_kib: 0 }));
}
