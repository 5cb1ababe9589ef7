//! [`Ticket`]: the pool's end of a submitted job.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::runtimes::Kind;
use crate::ipc::Job;
use crate::pool::job::Progress;
use crate::pool::{Accepted, Finished, Run, TimeLimits};

/// How long a child may take to signal itself: its reader is a thread that does little else.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// A job on its way; held by the supervisor, either waiting or in the hands of one child.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) job: Job,
    pub(super) limits: TimeLimits,
    /// When the child said that it had begun.
    pub(super) begun: Option<Instant>,
    /// What it was sent ahead for, or [`Duration::MAX`].
    pub(super) estimate: Duration,
    /// Its name's number; given by the supervisor.
    pub(super) kind: Option<Kind>,
    /// The child was asked to give it back.
    pub(super) recalled: bool,
    /// Its caller wants it back: it is not given to another child.
    pub(super) withdrawn: bool,
    /// It is to be killed with this signal, now or as soon as it begins.
    pub(super) terminate: Option<i32>,
    /// The signal was sent.
    pub(super) terminated: bool,
    /// Its hard limit has passed.
    pub(super) overdue: bool,
    /// When its child was asked to signal itself.
    pub(super) asked: Option<Instant>,
    /// The soft limit has been announced.
    pub(super) warned: bool,
    accepted: Option<oneshot::Sender<Accepted>>,
    progress: mpsc::UnboundedSender<Progress>,
    finished: oneshot::Sender<Finished>,
}

impl Ticket {
    /// Both ends of a new job.
    pub(super) fn new(job: Job, limits: TimeLimits) -> (Box<Self>, Run) {
        let (accepted, on_accepted) = oneshot::channel();
        let (progress, on_progress) = mpsc::unbounded_channel();
        let (finished, on_finished) = oneshot::channel();
        let ticket = Box::new(Self {
            job,
            limits,
            begun: None,
            estimate: Duration::MAX,
            kind: None,
            recalled: false,
            withdrawn: false,
            terminate: None,
            terminated: false,
            overdue: false,
            asked: None,
            warned: false,
            accepted: Some(accepted),
            progress,
            finished,
        });
        (ticket, Run { accepted: on_accepted, progress: on_progress, finished: on_finished })
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.finished.is_closed()
    }

    /// The child has begun it.
    pub(super) fn accept(&mut self, accepted: Accepted, now: Instant) {
        self.begun = Some(now);
        if let Some(sender) = self.accepted.take() {
            let _ = sender.send(accepted);
        }
    }

    /// Something happened while it runs. If nobody listens, what waits for an answer sees it dropped.
    pub(super) fn report(&self, progress: Progress) {
        let _ = self.progress.send(progress);
    }

    /// The signal that it is to be ended with is on its way.
    pub(super) fn signalled(&mut self) {
        self.terminated = true;
        if let Some(signum) = self.terminate {
            self.report(Progress::Signalled(signum));
        }
    }

    /// It has ended. That nobody listens is no error.
    pub(super) fn finish(self, finished: Finished) {
        let _ = self.finished.send(finished);
    }

    /// When its next time limit is over, or its child has had enough time to signal itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let begun = self.begun?;
        let soft = self.limits.soft.filter(|_| !self.warned);
        let hard = self.limits.hard.filter(|_| !self.overdue);
        let limits = [soft, hard].into_iter().flatten().filter_map(|limit| begun.checked_add(limit));
        limits.chain(self.overslept()).min()
    }

    /// When a child that was asked to signal itself, and has not told that it does, must be stuck.
    pub(super) fn overslept(&self) -> Option<Instant> {
        self.asked.filter(|_| self.overdue || !self.terminated).map(|asked| asked + ANSWER)
    }
}
