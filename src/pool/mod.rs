//! Where work is run: the port, the native pool, the children that run Python, and the steward beside them.

#[cfg(any(test, feature = "test-util"))]
pub mod fake;
pub mod job;
pub mod native;
pub mod prefork;
pub mod steward;

use std::time::Duration;

use tokio::sync::oneshot;

pub use job::{Accepted, Finished, PoolError, Progress, Run};
pub use native::{NativePool, Panicked};
pub use steward::{Steward, StewardError};

/// A pool of Python seats, as the worker sees it. Native tasks have [`native`]'s, which needs no process.
pub trait Pool: Send + Sync {
    /// Queues a job for the next free seat. Dropping the returned [`Run`] does not take the job back: it may still run, and
    /// nobody hears of it.
    fn submit(&self, job: crate::ipc::Job, limits: TimeLimits) -> Run;
    /// Takes back a job that has not begun. Its [`Run`] has the answer: it ends as [`Finished::Withdrawn`] without having
    /// been accepted, and then never runs; or it is accepted after all, and goes on as if nobody had asked.
    fn withdraw(&self, number: u64);
    /// Kills the child that runs this job (and only if it runs it), with the given signal.
    fn terminate(&self, number: u64, signum: i32);
    /// Has a child write the Python stacks of its threads to stderr, whatever it is doing. Does nothing where it is gone.
    fn show_stacks(&self, _pid: i32) {}
    /// More (positive) or fewer seats.
    fn resize(&self, by: i32);
    /// Loads the app anew, and replaces every child as soon as it has ended what it has begun.
    fn restart(&self);
    /// How many seats there are meant to be.
    fn size(&self) -> usize;
    /// How it stands with the children.
    fn census(&self) -> Census {
        Census::default()
    }
    /// Process ids of the children, for `inspect stats`.
    fn pids(&self) -> Vec<i32>;
    /// How many jobs the children were given, for `inspect stats`. No answer means that the pool has ended.
    fn writes(&self) -> oneshot::Receiver<Writes>;
    /// Has the state database written. The pool must have been started to keep one, and then ends only after this was asked.
    /// The answer is the error's text where it could not be written; no answer means that the pool has ended.
    fn save(&self, state: crate::ipc::SavedState) -> oneshot::Receiver<Result<(), String>>;
    /// Ends all children: waits for what has begun until `grace` is over (none waits for ever), then kills.
    fn stop(&self, grace: Option<Duration>) -> oneshot::Receiver<()>;
}

/// What was written to the children of a pool so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writes {
    /// Jobs, by place in the pool: what a child's predecessors were given counts as well.
    pub jobs: Vec<u64>,
    /// How many children there are.
    pub children: usize,
    /// To how many of them more is to be written than their sockets take.
    pub active: usize,
}

/// The children, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Children that take jobs or work.
    pub up: usize,
    /// Children that have left when they were meant to, since the start.
    pub left: u64,
    /// Children that have died, since the start.
    pub died: u64,
    /// Zygotes that have been replaced.
    pub zygotes_replaced: u64,
}

/// Time limits of one execution; the clock starts when it is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeLimits {
    /// The child is told: `SoftTimeLimitExceeded` in the task.
    pub soft: Option<Duration>,
    /// The child is killed.
    pub hard: Option<Duration>,
}
