//! [`Supervisor`]: the loop, and the state that everything in this folder turns on.
//!
//! Each wake-up takes all events that are there, then what time has brought, gives out jobs and writes once to each child.
//! What an event does is told in `frames`, `deaths`, `staff`, `succession`, `renewal`, `dispatch`, `clock` and `stop`.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::child::Serial;
use super::event::{Event, Events};
use super::options::PreforkOptions;
use super::renewal::Renewal;
use super::restarts::Restarts;
use super::roster::Roster;
use super::runtimes::Runtimes;
use super::saving::Saving;
use super::signal;
use super::succession::StartUp;
use super::ticket::Ticket;
use super::zygote::{Requests, Zygote};
use crate::ipc::{PoolKind, ToZygote};
use crate::pool::{Census, PoolError};

/// Events worked off before jobs are given out and bytes are written.
const BATCH: usize = 512;
/// Nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What the outside may see without asking.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) size: usize,
    pub(super) pids: Vec<i32>,
    pub(super) census: Census,
    pub(super) failure: Option<PoolError>,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) options: PreforkOptions,
    /// For those it starts; the receiving end is its own.
    pub(super) events: Events,
    inbox: mpsc::UnboundedReceiver<Event>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    pub(super) roster: Roster,
    /// Jobs that no child has, oldest first.
    pub(super) waiting: VecDeque<Box<Ticket>>,
    /// How many jobs the children in each place were given.
    pub(super) given: Vec<u64>,
    /// Jobs that are wanted back, gathered while a batch of events is worked off.
    pub(super) withdrawals: HashSet<u64>,
    pub(super) runtimes: Runtimes,
    pub(super) restarts: Restarts,
    pub(super) start_up: StartUp,
    /// When idle children are weighed next; none where they may grow.
    pub(super) next_weighing: Option<Instant>,
    /// Of children that are gone.
    pub(super) census: Census,
    /// How many children there are meant to be.
    pub(super) places: usize,
    pub(super) last_serial: u32,
    /// Whether any child has ever come up.
    pub(super) has_started: bool,
    /// None between the death of a zygote and its successor.
    pub(super) zygote: Option<Requests>,
    /// Whether a zygote's link will still say that it has gone.
    pub(super) zygote_lives: bool,
    pub(super) renewal: Renewal,
    /// How often in a row no successor could be started.
    pub(super) zygote_failures: u32,
    /// Of the state database; the pool does not end before that is over.
    pub(super) saving: Saving,
    /// Who waits for the end; a pool that has been told to stop stays so.
    pub(super) stops: Vec<oneshot::Sender<()>>,
    pub(super) stopping: bool,
    /// When what has begun is not waited for any longer.
    pub(super) stop_deadline: Option<Instant>,
    /// When `clock` has to look again.
    pub(super) wake_at: Instant,
}

impl Supervisor {
    /// One that has not begun, how to tell it something, and what it shows.
    pub(super) fn new(options: PreforkOptions) -> (Self, Events, watch::Receiver<Snapshot>) {
        let (events, inbox) = mpsc::unbounded_channel();
        let (places, seats) = match options.kind {
            PoolKind::Prefork => (options.concurrency, 1),
            PoolKind::Solo => (1, 1),
            PoolKind::Threads | PoolKind::Gevent | PoolKind::Eventlet => (1, options.concurrency.max(1)),
        };
        let saving = if options.keeps_state { Saving::Awaited } else { Saving::Over };
        let (snapshot, seen) = watch::channel(Snapshot { size: places * seats, ..Snapshot::default() });
        let supervisor = Self {
            restarts: Restarts::new(options.max_restarts),
            start_up: StartUp::default(),
            options,
            events: events.clone(),
            inbox,
            snapshot,
            roster: Roster::new(seats),
            waiting: VecDeque::new(),
            given: Vec::new(),
            withdrawals: HashSet::new(),
            runtimes: Runtimes::default(),
            next_weighing: None,
            census: Census::default(),
            places,
            last_serial: 0,
            has_started: false,
            zygote: None,
            zygote_lives: false,
            renewal: Renewal::None,
            zygote_failures: 0,
            saving,
            stops: Vec::new(),
            stopping: false,
            stop_deadline: None,
            wake_at: Instant::now() + IDLE,
        };
        (supervisor, events, seen)
    }

    /// Runs until the pool is stopped and the last child is gone.
    pub(super) async fn run(mut self, zygote: Zygote) {
        self.employ(zygote, Instant::now());
        let timer = sleep_until(self.wake_at);
        tokio::pin!(timer);
        let mut batch = Vec::with_capacity(BATCH);
        while !self.is_over() {
            if timer.deadline() != self.wake_at {
                timer.as_mut().reset(self.wake_at);
            }
            tokio::select! {
                _ = self.inbox.recv_many(&mut batch, BATCH) => {}
                () = &mut timer => {}
            }
            self.turn(&mut batch, Instant::now());
        }
        self.conclude();
    }

    fn turn(&mut self, batch: &mut Vec<Event>, now: Instant) {
        for event in batch.drain(..) {
            self.handle(event, now);
        }
        self.withdraw_wanted();
        if self.wake_at <= now {
            self.wake_at = now + IDLE;
            self.look_at_the_clock(now);
        }
        self.dispatch(now);
        self.prepare_successors(now);
        self.roster.flush();
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Submit(ticket) => self.submit(ticket),
            Event::Frames(serial, frames) => self.hear(serial, frames, now),
            Event::Writable(serial) => self.with(serial, |child| child.outbox.unblock()),
            Event::Closed(serial) => self.child_closed(serial, now),
            Event::StoreDone { serial, number, error } => self.store_done(serial, number, error),
            Event::Withdraw(number) => drop(self.withdrawals.insert(number)),
            Event::Terminate { number, signum } => self.terminate(number, signum, now),
            Event::ShowStacks(pid) => self.show_stacks(pid),
            Event::Resize(by) => self.resize(by, now),
            Event::Renew => self.renew(),
            Event::Renewed(zygote) => self.renewed(zygote, now),
            // Whoever asked may have stopped waiting.
            Event::Writes(told) => drop(told.send(self.writes())),
            Event::Save { state, done } => self.save(state, done),
            Event::Stop { grace, done } => self.stop(grace, Some(done), now),
            Event::Abandoned => {
                self.saving = Saving::Over;
                self.stop(Some(Duration::ZERO), None, now);
            }
            Event::ForkSteward(socket) => self.fork_beside(ToZygote::ForkSteward, socket),
            Event::ForkBeat(socket) => self.fork_beside(ToZygote::ForkBeat, socket),
            Event::Zygote(frame) => self.hear_zygote(frame, now),
            Event::ZygoteGone => self.zygote_gone(now),
            Event::ZygoteBack(zygote) => self.zygote_back(zygote, now),
        }
    }

    /// Asks for a look at the clock at that time, if none is due before.
    pub(super) fn wake(&mut self, at: Instant) {
        self.wake_at = self.wake_at.min(at);
    }

    /// Does something to a child, if it is still there.
    pub(super) fn with(&mut self, serial: Serial, change: impl FnOnce(&mut super::child::Child)) {
        if let Some(child) = self.roster.child(serial) {
            change(child);
        }
    }

    fn show_stacks(&self, pid: i32) {
        let children = self.roster.iter().map(super::child::Child::target);
        children.filter(|target| *target == pid).for_each(|target| signal::send(target, signal::STACKS));
    }

    /// Shows who is there.
    pub(super) fn show(&self) {
        let (size, pids) = (self.places * self.roster.seats, self.roster.pids());
        let census = Census { up: self.roster.up(), ..self.census };
        self.snapshot.send_modify(|snapshot| {
            snapshot.size = size;
            snapshot.pids = pids;
            snapshot.census = census;
        });
    }

    /// The pool cannot go on; whoever awaits `failed` is told.
    pub(super) fn fail(&mut self, error: PoolError, now: Instant) {
        self.snapshot.send_modify(|snapshot| {
            snapshot.failure.get_or_insert(error);
        });
        self.stop(Some(Duration::ZERO), None, now);
    }

    fn conclude(mut self) {
        self.inbox.close();
        while let Ok(event) = self.inbox.try_recv() {
            event.refuse();
        }
        for done in self.stops.drain(..) {
            let _ = done.send(());
        }
    }
}
