//! The pool of Python children: prefork, and with other numbers of seats threads, solo, gevent and eventlet.
//!
//! One supervisor task owns all state: the [roster] of children with their seats and jobs, what waits, and the
//! [zygote] that forks. It sleeps on one channel of [events](event) and one timer. Each child has a [link] that reads its
//! socket; the supervisor writes, all of a wake-up's frames to a child at once.
//!
//! A job goes to an idle seat. Where all are busy and such jobs are known to be short, it is sent ahead to a busy child, so
//! that no round trip lies between two jobs; if the job before it turns out long, it is recalled and goes elsewhere. What a
//! dying child had not begun goes elsewhere too; what it had begun is lost, and its caller is told how. A job that is
//! withdrawn is asked back from its child, which alone knows whether it has begun.
//!
//! Mirrors `celery/concurrency/prefork.py`, `asynpool.py` and `billiard/pool.py`.

mod beat;
mod child;
mod clock;
mod deaths;
mod dispatch;
mod event;
mod frames;
mod link;
mod memory;
mod options;
mod outbox;
mod renewal;
mod restarts;
mod roster;
mod runtimes;
mod saving;
mod signal;
mod staff;
mod status;
mod stop;
mod succession;
mod supervisor;
mod ticket;
mod zygote;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::ipc::{Job, Manifest, SavedState};
use crate::pool::{Census, Pool, PoolError, Run, Steward, TimeLimits, Writes};
pub use beat::BeatProcess;
use event::{Event, Events};
pub use options::{PreforkOptions, ZygoteCommand};
use supervisor::{Snapshot, Supervisor};
use ticket::Ticket;
pub use zygote::Zygote;

/// The handle to a pool of children; the supervisor it talks to ends when this is dropped, and kills them.
#[derive(Debug)]
pub struct PreforkPool {
    events: Events,
    snapshot: watch::Receiver<Snapshot>,
}

impl PreforkPool {
    /// Starts a zygote and, once its app is loaded, the children. Returns without waiting for the children to be up: jobs
    /// submitted before that wait.
    ///
    /// Errors: those of [`Zygote::launch`].
    pub async fn start(options: PreforkOptions) -> Result<(Arc<Self>, Manifest), PoolError> {
        let (zygote, manifest) = Zygote::launch(&options.zygote).await?;
        Ok((Self::staffed(zygote, options), manifest))
    }

    /// The same with a zygote that is already there: whoever needs its manifest to decide upon the options starts it first.
    /// Must be called within a tokio runtime. Orphans of a dead zygote become children of this process.
    pub fn staffed(zygote: Zygote, options: PreforkOptions) -> Arc<Self> {
        if let Err(errno) = nix::sys::prctl::set_child_subreaper(true) {
            tracing::warn!(target: "celery.concurrency.prefork", "cannot become a subreaper: {errno}");
        }
        let (supervisor, events, snapshot) = Supervisor::new(options);
        tokio::spawn(supervisor.run(zygote));
        Arc::new(Self { events, snapshot })
    }

    /// Waits until the pool cannot go on: children die faster than they are replaced, or none could be started. It then
    /// has withdrawn what waited and killed what ran. Never returns for a pool that was stopped.
    pub async fn failed(&self) -> PoolError {
        let mut snapshot = self.snapshot.clone();
        loop {
            if let Some(error) = snapshot.borrow_and_update().failure.clone() {
                return error;
            }
            if snapshot.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A steward that this pool's zygote forks, once there is an errand for it. One per worker is meant to be.
    pub fn steward(&self) -> Steward {
        let events = self.events.clone();
        // A supervisor that has ended drops the socket, whose end tells the steward's owner.
        Steward::new(move |socket| drop(events.send(Event::ForkSteward(socket))))
    }

    /// Tells the supervisor. One that has ended has no children: jobs are withdrawn, and a stop is done.
    fn tell(&self, event: Event) {
        if let Err(unheard) = self.events.send(event) {
            unheard.0.refuse();
        }
    }
}

impl Pool for PreforkPool {
    fn submit(&self, job: Job, limits: TimeLimits) -> Run {
        let (ticket, run) = Ticket::new(job, limits);
        self.tell(Event::Submit(ticket));
        run
    }

    fn withdraw(&self, number: u64) {
        self.tell(Event::Withdraw(number));
    }

    fn terminate(&self, number: u64, signum: i32) {
        self.tell(Event::Terminate { number, signum });
    }

    fn show_stacks(&self, pid: i32) {
        self.tell(Event::ShowStacks(pid));
    }

    fn resize(&self, by: i32) {
        self.tell(Event::Resize(by));
    }

    fn restart(&self) {
        self.tell(Event::Renew);
    }

    fn size(&self) -> usize {
        self.snapshot.borrow().size
    }

    fn census(&self) -> Census {
        self.snapshot.borrow().census
    }

    fn pids(&self) -> Vec<i32> {
        self.snapshot.borrow().pids.clone()
    }

    fn writes(&self) -> oneshot::Receiver<Writes> {
        let (told, writes) = oneshot::channel();
        self.tell(Event::Writes(told));
        writes
    }

    fn save(&self, state: SavedState) -> oneshot::Receiver<Result<(), String>> {
        let (done, saved) = oneshot::channel();
        self.tell(Event::Save { state, done });
        saved
    }

    fn stop(&self, grace: Option<Duration>) -> oneshot::Receiver<()> {
        let (done, stopped) = oneshot::channel();
        self.tell(Event::Stop { grace, done });
        stopped
    }
}

impl Drop for PreforkPool {
    fn drop(&mut self) {
        self.tell(Event::Abandoned);
    }
}
