//! What the parent has sent a child, and the thread that reads it while a task holds the GIL.
//!
//! The reader never touches Python. It hands jobs over, gives back those that have not begun, writes what the main thread
//! has held back for too long, and ends the process when the parent is gone.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::unistd::{Pid, getpgrp, getpid};
use serde::Serialize;

use crate::ipc::codec::{Decoder, encode};
use crate::ipc::{FromChild, IpcError, Job, ToChild};
use crate::python::backlog::Backlog;
use crate::python::wakeup::Wakeup;

pub(super) const READER_STACK: usize = 256 * 1024;

/// How long the frames of short jobs wait for those of the next ones. Their messages are acknowledged only when the parent
/// knows that they have begun, and until then keep others out of the prefetch window.
const HELD_BACK: Duration = Duration::from_micros(200);

/// After so many milliseconds the reader writes what a job holds back that turned out long.
const PATIENCE: u8 = 2;

/// What [`Inbox::take`] found.
pub(super) enum Taken {
    /// The next job: it counts as begun.
    Job(Box<Job>),
    /// Nothing more will come.
    Stop,
    /// Nothing yet; the caller is noted as waiting.
    Nothing,
}

/// What has come for a child of greenlets, besides jobs.
#[derive(Default)]
pub(super) struct News {
    /// Jobs whose greenlets are to be killed.
    pub(super) kills: Vec<u64>,
    /// Answers to `Store`s.
    pub(super) answers: Vec<(u64, String)>,
    /// So many seats there are to be from now on; none is no change.
    pub(super) seats: Option<u32>,
    /// The worker is stopping.
    pub(super) closing: bool,
    /// The process is to end.
    pub(super) stopping: bool,
}

/// Jobs and answers that have arrived.
pub(super) struct Inbox {
    state: Mutex<State>,
    outgoing: Mutex<Outgoing>,
    /// The job that runs, where there is one seat only; 0 is none. Locked for as long as a signal is on its way to it.
    running: Mutex<u64>,
    /// The job that a soft time limit frame was for; 0 is none.
    soft_limited: AtomicU64,
    /// The thread that runs Python's signal handlers.
    main: Pthread,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    stored: HashMap<u64, String>,
    kills: Vec<u64>,
    seats: Option<u32>,
    closing: bool,
    /// Answers to come that nobody waits for any more, by job.
    forgotten: HashMap<u64, usize>,
    stopping: bool,
    recycled: bool,
    waiting: Vec<Arc<Wakeup>>,
}

/// What is to be written, and where to.
struct Outgoing {
    socket: UnixStream,
    backlog: Backlog,
    /// When the oldest frame in the backlog was put there; none if there is none.
    since: Option<Instant>,
    frame: Vec<u8>,
}

impl Inbox {
    /// Starts reading. To be called from the main thread.
    pub(super) fn open(socket: UnixStream, backlog: Backlog) -> io::Result<Arc<Self>> {
        let reading = socket.try_clone()?;
        let inbox = Arc::new(Self {
            state: Mutex::default(),
            outgoing: Mutex::new(Outgoing { socket, backlog, since: None, frame: Vec::new() }),
            running: Mutex::new(0),
            soft_limited: AtomicU64::new(0),
            main: pthread_self(),
        });
        let reader = Arc::clone(&inbox);
        without_signals(|| {
            thread::Builder::new()
                .name("celery-rs-reader".into())
                .stack_size(READER_STACK)
                .spawn(move || reader.read(reading))
        })??;
        Ok(inbox)
    }

    /// The next job, begun from this moment on.
    pub(super) fn take(&self, waiter: &Arc<Wakeup>) -> Taken {
        let mut state = self.state();
        if let Some(job) = state.jobs.pop_front() {
            *self.running() = job.number;
            return Taken::Job(Box::new(job));
        }
        if state.stopping {
            return Taken::Stop;
        }
        state.waiting.push(Arc::clone(waiter));
        Taken::Nothing
    }

    /// The next job if there is one, begun from this moment on.
    pub(super) fn take_now(&self) -> Option<Box<Job>> {
        self.state().jobs.pop_front().map(Box::new)
    }

    /// All that has come besides jobs. The caller is noted as waiting for whatever comes next, jobs included.
    pub(super) fn news(&self, waiter: &Arc<Wakeup>) -> News {
        // What comes after this is read wakes again.
        waiter.clear();
        let mut state = self.state();
        if !state.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, waiter)) {
            state.waiting.push(Arc::clone(waiter));
        }
        News {
            kills: std::mem::take(&mut state.kills),
            answers: state.stored.drain().collect(),
            seats: state.seats.take(),
            closing: state.closing,
            stopping: state.stopping,
        }
    }

    /// Whether it was told to stop because it is replaced.
    pub(super) fn is_recycled(&self) -> bool {
        self.state().recycled
    }

    /// Nothing runs any more, as far as time limits and signals are concerned.
    pub(super) fn ended(&self) {
        *self.running() = 0;
    }

    /// The job for which a soft time limit frame has come, once.
    pub(super) fn soft_limited(&self) -> u64 {
        self.soft_limited.swap(0, Ordering::AcqRel)
    }

    /// The answer to a `Store`; none yet notes the caller as waiting.
    pub(super) fn stored(&self, number: u64, waiter: &Arc<Wakeup>) -> Option<String> {
        let mut state = self.state();
        let answer = state.stored.remove(&number);
        if answer.is_none() {
            state.waiting.push(Arc::clone(waiter));
        }
        answer
    }

    /// Nobody waits for the answer to a `Store` any more.
    pub(super) fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.stored.remove(&number).is_none() {
            *state.forgotten.entry(number).or_default() += 1;
        }
    }

    /// No longer waiting, whether woken or interrupted.
    pub(super) fn woken(&self, waiter: &Arc<Wakeup>) {
        let mut state = self.state();
        state.waiting.retain(|waiting| !Arc::ptr_eq(waiting, waiter));
        waiter.clear();
    }

    /// Keeps a frame until the next [`flush`](Self::flush), in the backlog if it fits.
    pub(super) fn queue(&self, frame: &impl Serialize) -> Result<(), IpcError> {
        self.outgoing().queue(frame)
    }

    /// Writes what is queued, in one system call unless the socket is full.
    pub(super) fn flush(&self) -> Result<(), IpcError> {
        self.outgoing().flush()
    }

    /// The same, unless there are more jobs, whose frames can go with the same write: jobs are sent ahead to a child only
    /// if they are short. If one is not, the reader writes.
    pub(super) fn flush_unless_more_follows(&self) -> Result<(), IpcError> {
        if self.state().jobs.is_empty() || self.outgoing().is_overdue(HELD_BACK) { self.flush() } else { Ok(()) }
    }

    fn read(&self, mut socket: UnixStream) {
        let mut decoder = Decoder::new();
        loop {
            if self.is_quiet_for(&socket, PATIENCE.into()) {
                if self.flush().is_err() {
                    orphaned();
                }
                continue;
            }
            receive(&mut decoder, &mut socket);
            if self.hear(&mut decoder).is_err() {
                orphaned();
            }
        }
    }

    /// Whether frames may be held back and nothing has come for so long. Frames are held back only while there are jobs,
    /// and only the caller adds jobs: when there are neither now, there will be none until it has read.
    fn is_quiet_for(&self, socket: &UnixStream, patience: PollTimeout) -> bool {
        if self.state().jobs.is_empty() && self.outgoing().since.is_none() {
            return false;
        }
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        !matches!(poll(&mut polled, patience), Ok(1..))
    }

    /// All frames of one read, under one lock.
    fn hear(&self, decoder: &mut Decoder) -> Result<(), IpcError> {
        let (mut recalled, mut signals) = (Vec::new(), Vec::new());
        let mut state = self.state();
        while let Some(frame) = decoder.frame::<ToChild>()? {
            match frame {
                ToChild::Run(job) => state.jobs.push_back(job),
                ToChild::Recall(numbers) => recalled.push(state.recall(&numbers)),
                ToChild::StoreDone(number, error) => state.answer(number, error),
                ToChild::SoftTimeLimit(number) => self.soft_limit(number),
                ToChild::Kill(number) => state.kills.push(number),
                ToChild::Seats(seats) => state.seats = Some(seats),
                ToChild::Close => state.closing = true,
                ToChild::Signal { number, signum, group } => signals.push((number, signum, group)),
                ToChild::Stop => state.stopping = true,
                ToChild::Recycle => (state.stopping, state.recycled) = (true, true),
            }
        }
        for waiter in state.waiting.drain(..) {
            waiter.wake()?;
        }
        drop(state);
        for numbers in recalled {
            self.outgoing().send(&FromChild::Recalled(numbers))?;
        }
        signals.into_iter().try_for_each(|(number, signum, group)| self.signal(number, signum, group))
    }

    /// Signals this process if that job runs; else its end is told at once.
    fn signal(&self, number: u64, signum: i32, group: bool) -> Result<(), IpcError> {
        let running = self.running();
        if *running != number {
            drop(running);
            return self.flush();
        }
        self.outgoing().send(&FromChild::Signalled(number))?;
        let pid = getpid();
        let target = if group && getpgrp() == pid { Pid::from_raw(-pid.as_raw()) } else { pid };
        // The parent has checked the number, and this process is there.
        let _ = Signal::try_from(signum).and_then(|signal| kill(target, signal));
        Ok(())
    }

    fn soft_limit(&self, number: u64) {
        if *self.running() == number {
            self.soft_limited.store(number, Ordering::Release);
            // The main thread lives as long as the process.
            let _ = pthread_kill(self.main, Signal::SIGUSR1);
        }
    }

    fn running(&self) -> MutexGuard<'_, u64> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps an answer for the thread that waits for it.
    fn answer(&mut self, number: u64, error: String) {
        match self.forgotten.get_mut(&number) {
            None => drop(self.stored.insert(number, error)),
            Some(1) => drop(self.forgotten.remove(&number)),
            Some(count) => *count -= 1,
        }
    }

    /// Takes back those of `numbers` that have not begun.
    fn recall(&mut self, numbers: &[u64]) -> Vec<u64> {
        let (back, kept) = self.jobs.drain(..).partition::<VecDeque<_>, _>(|job| numbers.contains(&job.number));
        self.jobs = kept;
        back.into_iter().map(|job| job.number).collect()
    }
}

impl Outgoing {
    /// A frame of the reader's, ahead of what the main thread keeps for its next write.
    fn send(&mut self, frame: &FromChild) -> Result<(), IpcError> {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes)?;
        Ok(self.socket.write_all(&bytes)?)
    }

    fn queue(&mut self, frame: &impl Serialize) -> Result<(), IpcError> {
        self.frame.clear();
        encode(frame, &mut self.frame)?;
        if !self.backlog.push(&self.frame) {
            self.flush()?;
            if !self.backlog.push(&self.frame) {
                self.socket.write_all(&self.frame)?;
                self.frame = Vec::new();
                return Ok(());
            }
        }
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn is_overdue(&self, most: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= most)
    }

    fn flush(&mut self) -> Result<(), IpcError> {
        if self.since.take().is_some() {
            self.socket.write_all(self.backlog.frames())?;
            self.backlog.clear();
        }
        Ok(())
    }
}

/// Threads inherit the mask: signals are for the main thread, where Python handles them.
pub(super) fn without_signals<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let started = start();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(started)
}

/// Waits until something has come. A parent that is gone ends this process.
pub(super) fn receive(decoder: &mut Decoder, socket: &mut UnixStream) {
    loop {
        match decoder.read_from(socket) {
            Ok(1..) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => orphaned(),
        }
    }
}

/// The parent is gone: end as hard as Celery's children do then (`PR_SET_PDEATHSIG`).
pub(super) fn orphaned() -> ! {
    loop {
        let _ = kill(getpid(), Signal::SIGKILL);
    }
}
