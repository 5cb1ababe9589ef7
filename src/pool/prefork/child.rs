//! [`Child`]: one process, its seats and the jobs that were given to it.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Bell;
use super::outbox::Outbox;
use super::status::Status;
use super::ticket::Ticket;
use crate::ipc::{ToChild, ToChildRef};

/// Jobs that may be with a child beyond its seats. Frames of that many make the round trip cheap (PERF: 8 to 32).
const MOST_AHEAD: usize = 32;
/// Work that may be with a child altogether: what a job sent ahead waits at most, if the estimates hold.
const MOST_WORK: Duration = Duration::from_millis(4);
/// Without a sign of life for so long, the job that runs is a long one, and nothing waits behind a long one.
pub(super) const STALL: Duration = Duration::from_millis(4);

/// The N of `ForkPoolWorker-N`; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Serial(pub(super) u32);

/// Where in its life a child is; it only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    /// Forked or being forked, and not up yet.
    Starting,
    /// Takes jobs.
    Ready,
    /// Takes no more jobs, and leaves when it has none.
    Retiring,
    /// Was told to leave.
    Leaving,
    /// Was told by signal.
    Killed,
}

/// A child as the supervisor knows it; the supervisor alone holds and changes it.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) serial: Serial,
    /// Place in the pool.
    pub(super) index: u32,
    /// 0 until the zygote or the child itself has told.
    pub(super) pid: i32,
    pub(super) life: Life,
    pub(super) outbox: Outbox,
    pub(super) bell: Bell,
    /// What it has and has not ended, in the order it was given.
    pub(super) given: VecDeque<Box<Ticket>>,
    /// How many of those have begun.
    pub(super) begun: usize,
    /// Sum of their estimates.
    pub(super) work: Duration,
    /// How many it may still begin before it is replaced.
    pub(super) tasks_left: Option<u64>,
    /// Whose place it will take: until that one leaves it stands by, without jobs.
    pub(super) succeeds: Option<Serial>,
    /// Its place has been given up; it only finishes what it has.
    pub(super) is_surplus: bool,
    /// It uses more memory than it may.
    pub(super) has_outgrown: bool,
    /// It used less than it may when it had come up: if it uses more by now, a new one helps.
    pub(super) began_small: bool,
    /// When it was asked for.
    pub(super) asked_at: Instant,
    /// When it last began or ended a job.
    pub(super) last_progress: Instant,
    /// When it has to be up, to be killed with KILL, or gone: whatever comes next.
    pub(super) deadline: Option<Instant>,
    /// Its end was asked for, so that it is no news.
    pub(super) controlled: bool,
    /// Its zygote has left its place to another.
    pub(super) is_old: bool,
    /// Its zygote is dead: its status has to be waited for here.
    pub(super) orphaned: bool,
    /// Its link has told everything.
    pub(super) closed: bool,
    pub(super) status: Option<Status>,
}

impl Child {
    /// Asked for just now.
    pub(super) fn new(serial: Serial, index: u32, outbox: Outbox, bell: Bell, now: Instant) -> Self {
        Self {
            serial,
            index,
            pid: 0,
            life: Life::Starting,
            outbox,
            bell,
            given: VecDeque::new(),
            begun: 0,
            work: Duration::ZERO,
            tasks_left: None,
            succeeds: None,
            is_surplus: false,
            has_outgrown: false,
            began_small: false,
            asked_at: now,
            last_progress: now,
            deadline: None,
            controlled: false,
            is_old: false,
            orphaned: false,
            closed: false,
            status: None,
        }
    }

    /// billiard's name for the process.
    pub(super) fn name(&self) -> String {
        format!("ForkPoolWorker-{}", self.serial.0)
    }

    /// Whether it stands for one of the pool's places; one that was told to leave no longer does, one that stands by not yet.
    pub(super) fn counts(&self) -> bool {
        self.life != Life::Leaving && self.succeeds.is_none() && !self.is_surplus
    }

    /// Whether it has been given all the jobs that it may begin.
    pub(super) fn is_spent(&self) -> bool {
        self.life == Life::Ready && self.tasks_left == Some(0)
    }

    /// When it will have worked off what it has, if the estimates hold; none if there is none.
    pub(super) fn expected_end(&self) -> Option<Instant> {
        self.last_progress.checked_add(self.work)
    }

    /// The process to signal: 0, which [`signal`](super::signal) leaves alone, once its number may be someone else's.
    pub(super) fn target(&self) -> i32 {
        if self.status.is_some() { 0 } else { self.pid }
    }

    fn takes_jobs(&self) -> bool {
        self.life == Life::Ready && self.tasks_left != Some(0) && self.succeeds.is_none()
    }

    pub(super) fn idle_seats(&self, seats: usize) -> usize {
        if self.takes_jobs() { seats.saturating_sub(self.given.len()) } else { 0 }
    }

    /// How many jobs wait in it for a seat.
    pub(super) fn ahead(&self, seats: usize) -> usize {
        self.given.len().saturating_sub(seats)
    }

    /// Whether it has jobs and has shown no progress for longer than short ones take.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        !self.given.is_empty() && now.saturating_duration_since(self.last_progress) >= STALL
    }

    /// Whether a job of that length may be sent ahead to it though its seats are taken.
    pub(super) fn takes_ahead(&self, estimate: Duration, seats: usize, now: Instant) -> bool {
        self.takes_jobs()
            && self.given.len() < seats + MOST_AHEAD
            && self.work.saturating_add(estimate) <= MOST_WORK
            && !self.is_stalled(now)
    }

    /// Sends it a job; gives the job back if it cannot be sent at all.
    pub(super) fn give(&mut self, mut ticket: Box<Ticket>, now: Instant) -> Result<(), Box<Ticket>> {
        if self.outbox.push(&ToChildRef::Run(&ticket.job)).is_err() {
            return Err(ticket);
        }
        if self.given.is_empty() {
            self.last_progress = now;
        }
        self.work = self.work.saturating_add(ticket.estimate);
        self.tasks_left = self.tasks_left.map(|left| left.saturating_sub(1));
        ticket.recalled = false;
        self.given.push_back(ticket);
        Ok(())
    }

    /// The job of that number, if it has it.
    pub(super) fn ticket(&mut self, number: u64) -> Option<&mut Box<Ticket>> {
        self.given.iter_mut().find(|ticket| ticket.job.number == number)
    }

    /// Takes a job from it, because it has ended or has come back.
    pub(super) fn take(&mut self, number: u64) -> Option<Box<Ticket>> {
        let place = self.given.iter().position(|ticket| ticket.job.number == number)?;
        let ticket = self.given.remove(place)?;
        self.begun -= usize::from(ticket.begun.is_some());
        self.work = self.given.iter().fold(Duration::ZERO, |work, ticket| work.saturating_add(ticket.estimate));
        Some(ticket)
    }

    /// Takes back a job that it had not begun.
    pub(super) fn take_back(&mut self, number: u64) -> Option<Box<Ticket>> {
        if self.ticket(number)?.begun.is_some() {
            return None;
        }
        self.tasks_left = self.tasks_left.map(|left| left + 1);
        self.take(number)
    }

    /// Takes back all that it will never begin: it has ended, or is about to.
    pub(super) fn take_unbegun(&mut self) -> VecDeque<Box<Ticket>> {
        let (begun, unbegun) = self.given.drain(..).partition(|ticket| ticket.begun.is_some());
        self.given = begun;
        unbegun
    }

    /// Asks for its last `most` jobs back, unless they have begun.
    pub(super) fn recall(&mut self, most: usize) {
        let waiting = self.given.iter_mut().rev().filter(|ticket| ticket.begun.is_none());
        let numbers = mark_recalled(waiting.take(most));
        self.ask_back(numbers);
    }

    /// Asks for those of its jobs back that their callers want back, unless they have begun.
    pub(super) fn withdraw(&mut self, wanted: &HashSet<u64>) {
        let wanted = |ticket: &&mut Box<Ticket>| ticket.begun.is_none() && wanted.contains(&ticket.job.number);
        self.given.iter_mut().filter(wanted).for_each(|ticket| ticket.withdrawn = true);
        let numbers = mark_recalled(self.given.iter_mut().filter(|ticket| ticket.withdrawn));
        self.ask_back(numbers);
    }

    fn ask_back(&mut self, numbers: Vec<u64>) {
        if !numbers.is_empty() {
            self.tell(&ToChild::Recall(numbers));
        }
    }

    /// It uses more memory than it may: it is replaced.
    pub(super) fn outgrow(&mut self) {
        self.has_outgrown = true;
        self.retire();
    }

    /// Gives it no more jobs; it is told to leave once it has none.
    pub(super) fn retire(&mut self) {
        self.life = self.life.max(Life::Retiring);
        self.recall(usize::MAX);
    }

    /// Tells it to leave if it is to and can.
    pub(super) fn leave_if_done(&mut self) -> bool {
        let is_spent = self.is_spent();
        let leaves = (self.life == Life::Retiring || is_spent) && self.given.is_empty();
        if leaves {
            self.life = Life::Leaving;
            self.controlled = true;
            self.tell(&if is_spent || self.has_outgrown { ToChild::Recycle } else { ToChild::Stop });
        }
        leaves
    }

    /// Small frames of our own making can always be encoded.
    pub(super) fn tell(&mut self, frame: &ToChild) {
        let _ = self.outbox.push(frame);
    }
}

/// The numbers of those that were not asked back before.
fn mark_recalled<'a>(tickets: impl Iterator<Item = &'a mut Box<Ticket>>) -> Vec<u64> {
    let fresh = tickets.filter(|ticket| !ticket.recalled);
    let numbers = fresh.map(|ticket| {
        ticket.recalled = true;
        ticket.job.number
    });
    numbers.collect()
}
