//! [`FakePool`]: a pool whose jobs end when, and as, the test says. Runs nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::ipc::{Ended, Job, Report, SavedState};
use crate::pool::job::Progress;
use crate::pool::{Accepted, Finished, Pool, Run, TimeLimits, Writes};

/// The process id that every scripted child has.
pub const PID: i32 = 4711;

/// The pool's end of a submitted job, in the hands of the test.
#[derive(Debug)]
pub struct FakeRun {
    /// What was submitted.
    pub job: Job,
    /// With which limits.
    pub limits: TimeLimits,
    accepted: Option<oneshot::Sender<Accepted>>,
    progress: mpsc::UnboundedSender<Progress>,
    finished: oneshot::Sender<Finished>,
}

impl FakeRun {
    /// The job begins.
    pub fn accept(&mut self) {
        if let Some(accepted) = self.accepted.take() {
            let _ = accepted.send(Accepted { pid: PID, at: 1.0 });
        }
    }

    /// Something happens while it runs.
    pub fn progress(&self, progress: Progress) {
        let _ = self.progress.send(progress);
    }

    /// The job ends.
    pub fn finish(self, finished: Finished) {
        let _ = self.finished.send(finished);
    }

    /// The job begins and succeeds, with `None` stored by the child.
    pub fn succeed(mut self) {
        self.accept();
        let ended = Ended::Success { repr: "None".into() };
        self.finish(Finished::Reported(Report { ended, runtime: 0.001, stored: None, rss_kib: 0 }));
    }

    /// Whether the caller has let go of its end.
    pub fn is_abandoned(&self) -> bool {
        self.finished.is_closed()
    }
}

/// A scripted pool.
#[derive(Debug)]
pub struct FakePool {
    size: AtomicI64,
    jobs: mpsc::UnboundedSender<FakeRun>,
    terminated: Mutex<Vec<(u64, i32)>>,
    withdrawn: Mutex<Vec<u64>>,
}

impl FakePool {
    /// A pool, and where its jobs come out.
    pub fn new(size: usize) -> (Self, mpsc::UnboundedReceiver<FakeRun>) {
        let (jobs, submitted) = mpsc::unbounded_channel();
        let size = AtomicI64::new(i64::try_from(size).unwrap_or(i64::MAX));
        (Self { size, jobs, terminated: Mutex::default(), withdrawn: Mutex::default() }, submitted)
    }

    /// Every `terminate` so far: number and signal.
    pub fn terminated(&self) -> Vec<(u64, i32)> {
        self.terminated.lock().map(|calls| calls.clone()).unwrap_or_default()
    }

    /// The number of every job that was asked back so far. The test says what becomes of it.
    pub fn withdrawn(&self) -> Vec<u64> {
        self.withdrawn.lock().map(|calls| calls.clone()).unwrap_or_default()
    }
}

impl Pool for FakePool {
    fn submit(&self, job: Job, limits: TimeLimits) -> Run {
        let (accepted, on_accepted) = oneshot::channel();
        let (progress, on_progress) = mpsc::unbounded_channel();
        let (finished, on_finished) = oneshot::channel();
        let _ = self.jobs.send(FakeRun { job, limits, accepted: Some(accepted), progress, finished });
        Run { accepted: on_accepted, progress: on_progress, finished: on_finished }
    }

    fn withdraw(&self, number: u64) {
        if let Ok(mut calls) = self.withdrawn.lock() {
            calls.push(number);
        }
    }

    fn terminate(&self, number: u64, signum: i32) {
        if let Ok(mut calls) = self.terminated.lock() {
            calls.push((number, signum));
        }
    }

    fn resize(&self, by: i32) {
        self.size.fetch_add(i64::from(by), Ordering::Relaxed);
    }

    fn restart(&self) {}

    fn size(&self) -> usize {
        usize::try_from(self.size.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn pids(&self) -> Vec<i32> {
        vec![PID]
    }

    fn writes(&self) -> oneshot::Receiver<Writes> {
        let (told, writes) = oneshot::channel();
        let _ = told.send(Writes::default());
        writes
    }

    fn save(&self, _state: SavedState) -> oneshot::Receiver<Result<(), String>> {
        let (done, saved) = oneshot::channel();
        let _ = done.send(Ok(()));
        saved
    }

    fn stop(&self, _grace: Option<Duration>) -> oneshot::Receiver<()> {
        let (done, stopped) = oneshot::channel();
        let _ = done.send(());
        stopped
    }
}
