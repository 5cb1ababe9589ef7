//! Everything that can happen to the supervisor, in one order.
//!
//! The channel is unbounded because what comes through it is bounded elsewhere: jobs by the prefetch window, frames by
//! the jobs (three each, and a child that stores something waits for the answer).

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::child::Serial;
use super::ticket::Ticket;
use super::zygote::Zygote;
use crate::ipc::{FromChild, FromZygote, SavedState};
use crate::pool::{Finished, PoolError, Writes};

/// Where everyone tells the supervisor; it holds the receiving end.
pub(super) type Events = mpsc::UnboundedSender<Event>;

#[derive(Debug)]
pub(super) enum Event {
    /// From the [`Pool`](crate::pool::Pool) methods of the same names.
    Submit(Box<Ticket>),
    Withdraw(u64),
    Terminate {
        number: u64,
        signum: i32,
    },
    ShowStacks(i32),
    Resize(i32),
    Renew,
    Writes(oneshot::Sender<Writes>),
    Save {
        state: SavedState,
        done: oneshot::Sender<Result<(), String>>,
    },
    Stop {
        grace: Option<Duration>,
        done: oneshot::Sender<()>,
    },
    /// The last handle to the pool is gone.
    Abandoned,
    /// From a child's link: what the child said.
    Frames(Serial, Vec<FromChild>),
    /// From a child's link, when its outbox was blocked.
    Writable(Serial),
    /// From a child's link, as its last: everything the child ever wrote has been told.
    Closed(Serial),
    /// A caller has stored what a child asked it to; the error's text, or none.
    StoreDone {
        serial: Serial,
        number: u64,
        error: String,
    },
    /// From [`PreforkPool::steward`](super::PreforkPool::steward): have a steward forked that serves this.
    ForkSteward(OwnedFd),
    /// From [`PreforkPool::beat`](super::PreforkPool::beat): the same for Celery's own beat.
    ForkBeat(OwnedFd),
    /// From the zygote's link.
    Zygote(FromZygote),
    /// From the zygote's link, as its last.
    ZygoteGone,
    /// From `renewal`: a zygote that is to take over has been started, or could not be.
    Renewed(Result<Box<Zygote>, PoolError>),
    /// A new zygote has been started, or could not be.
    ZygoteBack(Result<Box<Zygote>, PoolError>),
}

impl Event {
    /// Answers for a supervisor that has ended.
    pub(super) fn refuse(self) {
        match self {
            Self::Submit(ticket) => ticket.finish(Finished::Withdrawn),
            Self::Stop { done, .. } => drop(done.send(())),
            _ => {}
        }
    }
}
