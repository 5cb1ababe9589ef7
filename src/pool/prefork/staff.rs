//! How many children there are: forking, growing and shrinking, and the zygote that does the forking. Who takes whose place
//! is told in `succession`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::child::{Child, Serial};
use super::event::Event;
use super::frames::pool_class;
use super::link::{Bell, Link};
use super::outbox::Outbox;
use super::supervisor::Supervisor;
use super::zygote::Zygote;
use crate::ipc::{FromZygote, IpcError, PoolKind, ToChild, ToZygote, backlog, socket};
use crate::pool::PoolError;

/// After a fork that could not be asked for.
const FORK_AGAIN: Duration = Duration::from_secs(1);
/// So often in a row may a zygote fail to come back.
const MOST_ZYGOTE_FAILURES: u32 = 10;

impl Supervisor {
    /// Has children forked until every place is taken.
    pub(super) fn staff(&mut self, now: Instant) {
        self.promote_successors();
        while !self.stopping && self.zygote.is_some() && self.roster.places() < self.places {
            if let Err(error) = self.fork(self.roster.free_index(), None, now) {
                error!(target: "celery.concurrency.prefork", "cannot ask for a child: {error}");
                return self.wake(now + FORK_AGAIN);
            }
        }
    }

    /// Asks for a child for this place, if need be to stand by until another one leaves it.
    pub(super) fn fork(&mut self, index: u32, succeeds: Option<Serial>, now: Instant) -> Result<(), IpcError> {
        let (ours, theirs) = socket::pair()?;
        ours.set_nonblocking(true)?;
        let backlog = backlog::file()?;
        let passed = vec![OwnedFd::from(theirs), OwnedFd::from(backlog.try_clone()?)];
        let socket = Arc::new(UnixStream::from_std(ours)?);
        self.last_serial += 1;
        let serial = Serial(self.last_serial);
        let bell = Bell::default();
        let outbox = Outbox::new(Arc::clone(&socket), Arc::clone(&bell.blocked));
        let link = Link { serial, socket, backlog, bell: bell.clone(), events: self.events.clone() };
        tokio::spawn(link.run());
        let mut child = Child::new(serial, index, outbox, bell, now);
        child.tasks_left = self.options.max_tasks_per_child.filter(|most| *most > 0);
        if self.options.kind.is_green() {
            // The app's option, unless the pool has grown or shrunk since.
            child.tell(&self.seats_frame());
        }
        child.succeeds = succeeds;
        self.roster.add(child);
        if let Some(zygote) = &self.zygote {
            // A zygote that has just gone closes the socket, which the link sees.
            let _ = zygote.send((ToZygote::Fork { index, serial: serial.0 }, passed));
        }
        Ok(())
    }

    /// Has the steward or beat forked. Without a zygote its socket is closed, and its owner asks again.
    pub(super) fn fork_beside(&self, request: ToZygote, socket: OwnedFd) {
        if let Some(zygote) = &self.zygote {
            let _ = zygote.send((request, vec![socket]));
        }
    }

    /// Sends a retiring child away, and has its place taken, once it has no job.
    pub(super) fn leave_if_done(&mut self, serial: Serial, now: Instant) {
        if self.roster.child(serial).is_some_and(Child::leave_if_done) {
            self.staff(now);
            self.show();
        }
    }

    pub(super) fn hear_zygote(&mut self, frame: FromZygote, now: Instant) {
        match frame {
            FromZygote::Forked { index, pid } => self.forked(index, pid, now),
            FromZygote::Reaped { pid, status } => self.reaped(pid, status, now),
            FromZygote::Failed { message, .. } => error!(target: "celery.concurrency.prefork", "{message}"),
            FromZygote::Saving { pid } => self.saving_by(pid),
            FromZygote::Manifest(_) | FromZygote::Detach(_) => {}
        }
    }

    fn forked(&mut self, index: u32, pid: i32, now: Instant) {
        let up_until = now + self.options.proc_alive_timeout;
        // A child that was faster has said its pid itself.
        if self.roster.by_pid(pid).is_some() {
            return;
        }
        if let Some(child) = self.roster.forking(index) {
            child.pid = pid;
            child.deadline = Some(up_until);
            self.wake(up_until);
            self.show();
        }
    }

    /// The children live on; their ends have to be waited for here.
    pub(super) fn zygote_gone(&mut self, now: Instant) {
        if self.has_left(now) {
            return;
        }
        self.zygote = None;
        self.zygote_lives = false;
        self.saving_is_lost();
        if self.stopping && self.roster.is_empty() {
            return;
        }
        warn!(target: "celery.concurrency.prefork", "the zygote has died; starting another one");
        for child in self.roster.iter_mut() {
            child.orphaned = true;
        }
        self.wait_for_orphans(now);
        self.bury_unborn(now);
        self.start_zygote(Duration::ZERO);
    }

    fn start_zygote(&self, after: Duration) {
        if self.stopping {
            return;
        }
        let (command, events) = (self.options.zygote.clone(), self.events.clone());
        tokio::spawn(async move {
            sleep(after).await;
            let launched = Zygote::launch(&command).await;
            let _ = events.send(Event::ZygoteBack(launched.map(|(zygote, _)| Box::new(zygote))));
        });
    }

    /// From now on this one forks.
    pub(super) fn employ(&mut self, zygote: Zygote, now: Instant) {
        self.zygote = Some(zygote.serve(self.events.clone()));
        self.zygote_lives = true;
        self.staff(now);
    }

    pub(super) fn zygote_back(&mut self, zygote: Result<Box<Zygote>, PoolError>, now: Instant) {
        match zygote {
            Ok(_) if self.stopping => {}
            Ok(zygote) => {
                self.zygote_failures = 0;
                self.census.zygotes_replaced += 1;
                self.employ(*zygote, now);
            }
            Err(error) if self.zygote_failures >= MOST_ZYGOTE_FAILURES => self.fail(error, now),
            Err(error) => {
                self.zygote_failures += 1;
                error!(target: "celery.concurrency.prefork", "{error}; trying again");
                self.start_zygote(Duration::from_secs(u64::from(self.zygote_failures)));
            }
        }
    }

    /// Adds places, or gives up some: a busy child is never cut off.
    pub(super) fn resize(&mut self, by: i32, now: Instant) {
        let count = by.unsigned_abs() as usize;
        if self.options.kind.is_green() {
            let seats = self.roster.seats;
            self.roster.seats = if by >= 0 { seats.saturating_add(count) } else { seats.saturating_sub(count) };
            let seats = self.seats_frame();
            self.roster.iter_mut().for_each(|child| child.tell(&seats));
            return self.show();
        }
        if self.options.kind != PoolKind::Prefork {
            return error!(target: "celery.worker.control", "{} cannot grow and shrink", pool_class(self.options.kind));
        }
        if by >= 0 {
            self.places += count;
            self.staff(now);
        } else {
            self.shrink(count);
        }
        self.show();
    }

    fn seats_frame(&self) -> ToChild {
        ToChild::Seats(u32::try_from(self.roster.seats).unwrap_or(u32::MAX))
    }
}
