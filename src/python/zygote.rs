//! The zygote's side of its socket: it sends the manifest, hears fork requests, and tells which children have ended.
//!
//! Single-threaded. It forks in Python (`os.fork()`, so that CPython's own hooks run), never here.

use std::io;
use std::os::fd::{AsFd, IntoRawFd};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pyo3::exceptions::{PyConnectionError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::ipc::socket::{Channel, from_stdin};
use crate::ipc::{FromZygote, IpcError, Manifest, SavedState, ToZygote, ZygoteOptions};
use crate::python::{PythonError, adopted::Adopted, home};

/// From start to end; the exit code of this process, or of the child that it has become.
pub(super) fn run(options: &str) -> i32 {
    let mut channel = match from_stdin() {
        Ok(socket) => Channel::new(socket),
        Err(_) => return 1,
    };
    match start(options) {
        Ok(options) => serve(channel, &options),
        Err(error) => {
            let failed = FromZygote::Failed { message: error.to_string(), code: 1 };
            // A parent that is gone needs no answer.
            let _ = channel.send(&failed);
            1
        }
    }
}

fn start(options: &str) -> Result<ZygoteOptions, PythonError> {
    let options: ZygoteOptions = serde_json::from_str(options)?;
    home::start(&options.argv)?;
    Ok(options)
}

fn serve(channel: Channel, options: &ZygoteOptions) -> i32 {
    Python::attach(|py| {
        let zygote = Bound::new(py, Zygote::new(channel))?;
        home::load(py)?.getattr("main")?.call1((zygote, options.argv.clone(), options.survey))?.extract()
    })
    .unwrap_or_else(|error: PyErr| {
        Python::attach(|py| error.print(py));
        1
    })
}

/// The socket to the parent, as Python sees it.
#[pyclass(frozen, module = "celery_rs._bridge")]
pub(super) struct Zygote {
    state: Mutex<State>,
}

struct State {
    /// None in a forked child.
    channel: Option<Channel>,
    children: Vec<Pid>,
    /// None before [`Zygote::serve`], in a forked child, and where it cannot be done.
    adopted: Option<Adopted>,
    /// How this process treated `SIGCHLD` before [`Zygote::serve`].
    inherited: Option<(SigAction, SigSet)>,
}

#[pymethods]
impl Zygote {
    /// Sends the manifest: JSON text with the fields of `Manifest`.
    fn manifest(&self, text: &str) -> PyResult<()> {
        let manifest: Manifest = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        self.send(&FromZygote::Manifest(Box::new(manifest)))
    }

    /// Tells why there is no app: text for stderr and an exit code.
    fn failed(&self, message: String, code: i32) -> PyResult<()> {
        self.send(&FromZygote::Failed { message, code })
    }

    /// The command line asks for a daemon: JSON text with the fields of `DaemonOptions`.
    fn detach(&self, text: &str) -> PyResult<()> {
        let options = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        self.send(&FromZygote::Detach(options))
    }

    /// From now on ended children are noticed, and only while waiting in `next`.
    fn serve(&self) -> PyResult<()> {
        let mut state = self.state.lock().map_err(poisoned)?;
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&only_sigchld()), Some(&mut mask)).map_err(io::Error::from)?;
        let action = SigAction::new(SigHandler::Handler(wake), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing at all, which is always safe in a signal handler.
        let previous = unsafe { sigaction(Signal::SIGCHLD, &action) }.map_err(io::Error::from)?;
        state.inherited = Some((previous, mask));
        state.adopted = Adopted::begin();
        Ok(())
    }

    /// Waits for the next request, None to leave: `("child", index, serial, descriptors)`, `("steward", descriptors)`,
    /// `("beat", descriptors)`, `("save", clock, revoked)`.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        loop {
            py.check_signals()?;
            let mut state = self.state.lock().map_err(poisoned)?;
            state.reap()?;
            match state.request() {
                Ok(Some(ToZygote::Fork { index, serial })) => {
                    return ("child", index, serial, state.descriptors::<2>()?).into_pyobject(py).map(Some);
                }
                Ok(Some(ToZygote::ForkSteward)) => {
                    return ("steward", state.descriptors::<1>()?).into_pyobject(py).map(Some);
                }
                Ok(Some(ToZygote::ForkBeat)) => {
                    return ("beat", state.descriptors::<1>()?).into_pyobject(py).map(Some);
                }
                Ok(Some(ToZygote::Save(SavedState { revoked, clock }))) => {
                    return ("save", clock, revoked).into_pyobject(py).map(Some);
                }
                Ok(Some(ToZygote::Stop)) | Err(IpcError::Closed) => return Ok(None),
                Ok(None) => {}
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
    }

    /// A child has been forked.
    fn forked(&self, index: u32, pid: i32) -> PyResult<()> {
        let mut state = self.state.lock().map_err(poisoned)?;
        state.children.push(Pid::from_raw(pid));
        state.send(&FromZygote::Forked { index, pid })
    }

    /// The steward or beat has been forked, of which nobody has to be told.
    fn steward_forked(&self, pid: i32) -> PyResult<()> {
        self.state.lock().map_err(poisoned)?.children.push(Pid::from_raw(pid));
        Ok(())
    }

    /// A process has been forked that saves the state.
    fn saving(&self, pid: i32) -> PyResult<()> {
        let mut state = self.state.lock().map_err(poisoned)?;
        state.children.push(Pid::from_raw(pid));
        state.send(&FromZygote::Saving { pid })
    }

    /// In a forked child: forgets the zygote's socket and children, and treats `SIGCHLD` as before.
    fn leave(&self) -> PyResult<()> {
        let mut state = self.state.lock().map_err(poisoned)?;
        state.channel = None;
        state.children.clear();
        state.adopted = None;
        let Some((action, mask)) = state.inherited.take() else {
            return Ok(());
        };
        // SAFETY: puts back what was installed before.
        unsafe { sigaction(Signal::SIGCHLD, &action) }.map_err(io::Error::from)?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).map_err(io::Error::from)?;
        Ok(())
    }
}

impl Zygote {
    fn new(channel: Channel) -> Self {
        Self {
            state: Mutex::new(State { channel: Some(channel), children: Vec::new(), adopted: None, inherited: None }),
        }
    }

    fn send(&self, frame: &FromZygote) -> PyResult<()> {
        self.state.lock().map_err(poisoned)?.send(frame)
    }
}

impl State {
    fn send(&mut self, frame: &FromZygote) -> PyResult<()> {
        let Some(channel) = &mut self.channel else {
            return Err(refuse("the zygote's socket is not a child's"));
        };
        channel.send(frame).map_err(|error| PyConnectionError::new_err(error.to_string()))
    }

    /// The next request; none when a signal interrupted the waiting.
    fn request(&mut self) -> Result<Option<ToZygote>, IpcError> {
        let channel = self.channel.as_mut().ok_or(IpcError::Closed)?;
        if let Some(frame) = channel.buffered()? {
            return Ok(Some(frame));
        }
        let mut polled = [PollFd::new(channel.stream().as_fd(), PollFlags::POLLIN)];
        let mut mask = SigSet::thread_get_mask().map_err(io::Error::from)?;
        mask.remove(Signal::SIGCHLD);
        match ppoll(&mut polled, None, Some(mask)) {
            Ok(_) => channel.fill()?,
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        channel.buffered()
    }

    /// The next descriptors, which came along with the request that is being answered.
    fn descriptors<const COUNT: usize>(&mut self) -> PyResult<Vec<i32>> {
        let passed = (0..COUNT).map_while(|_| self.channel.as_mut().and_then(Channel::descriptor));
        let passed: Vec<_> = passed.map(IntoRawFd::into_raw_fd).collect();
        if passed.len() < COUNT {
            return Err(refuse("a fork request came without its descriptors"));
        }
        Ok(passed)
    }

    /// Asks for each child of ours by its number: the app may have processes of its own.
    fn reap(&mut self) -> PyResult<()> {
        for pid in self.children.clone() {
            let Some(status) = wait(pid) else {
                continue;
            };
            self.children.retain(|child| *child != pid);
            self.send(&FromZygote::Reaped { pid: pid.as_raw(), status })?;
        }
        if let Some(adopted) = &self.adopted {
            adopted.reap(&self.children);
        }
        Ok(())
    }
}

/// The raw status of a child that has ended.
fn wait(pid: Pid) -> Option<i32> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some((code & 0xff) << 8),
        Ok(WaitStatus::Signaled(_, signal, dumped)) => Some(signal as i32 | (i32::from(dumped) << 7)),
        // Somebody else has reaped it: gone, and nobody knows how.
        Err(Errno::ECHILD) => Some(0),
        _ => None,
    }
}

/// Interrupts `ppoll`, which is all it is for.
extern "C" fn wake(_: i32) {}

fn only_sigchld() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set
}

pub(super) fn refuse(reason: impl Into<String>) -> PyErr {
    PyRuntimeError::new_err(reason.into())
}

pub(super) fn poisoned<T>(_: std::sync::PoisonError<T>) -> PyErr {
    refuse("another thread has panicked")
}
