//! The steward's side of its socket, as Python sees it: errands come in, their ends go out.
//!
//! A thread reads, so that the process ends with the parent even while an errand holds the GIL.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use nix::unistd::getpid;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::ipc::codec::{Decoder, encode};
use crate::ipc::{Errand, FromSteward, IpcError, ToSteward};
use crate::python::child::{lost, text, tuple};
use crate::python::inbox::{READER_STACK, orphaned, receive, without_signals};
use crate::python::wakeup::Wakeup;

/// The socket to the parent. Its descriptor is the steward's own from now on.
#[pyclass(frozen, module = "celery_rs._bridge")]
pub(super) struct Steward {
    socket: Mutex<UnixStream>,
    inbox: Arc<Inbox>,
}

struct Inbox {
    frames: Mutex<VecDeque<ToSteward>>,
    wakeup: Arc<Wakeup>,
}

/// Number, name, arguments as JSON text, and the job, if it is about one.
type Order<'py> = (u64, String, Bound<'py, PyString>, Option<Bound<'py, PyTuple>>);

#[pymethods]
impl Steward {
    /// Takes over the descriptor and starts reading from it. To be called from the main thread.
    #[new]
    fn new(socket: i32) -> PyResult<Self> {
        // SAFETY: the descriptor came with the fork request, and the zygote's Python gives it to this object only.
        let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
        let inbox = Arc::new(Inbox { frames: Mutex::default(), wakeup: Wakeup::new()? });
        let (reading, reader) = (socket.try_clone()?, Arc::clone(&inbox));
        without_signals(|| {
            thread::Builder::new()
                .name("celery-rs-reader".into())
                .stack_size(READER_STACK)
                .spawn(move || reader.read(reading))
        })??;
        Ok(Self { socket: Mutex::new(socket), inbox })
    }

    /// Initialised.
    fn up(&self) -> PyResult<()> {
        self.send(&FromSteward::Up { pid: getpid().as_raw() })
    }

    /// The next errand; None when there will be none any more.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Order<'py>>> {
        loop {
            match self.inbox.frames().pop_front() {
                Some(ToSteward::Run { number, errand }) => return order(py, number, &errand).map(Some),
                Some(ToSteward::Stop) => return Ok(None),
                None => {}
            }
            self.inbox.wakeup.wait(py, || self.inbox.wakeup.clear())?;
        }
    }

    /// An errand has ended: JSON text of what it returned.
    fn done(&self, number: u64, answer: String) -> PyResult<()> {
        self.send(&FromSteward::Done { number, answer: Ok(Bytes::from(answer)) })
    }

    /// An errand could not be done, for this reason.
    fn failed(&self, number: u64, reason: String) -> PyResult<()> {
        self.send(&FromSteward::Done { number, answer: Err(reason) })
    }
}

impl Steward {
    fn send(&self, frame: &FromSteward) -> PyResult<()> {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes).map_err(lost)?;
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(&bytes).map_err(|error| lost(error.into()))
    }
}

impl Inbox {
    fn read(&self, mut socket: UnixStream) {
        let mut decoder = Decoder::new();
        loop {
            receive(&mut decoder, &mut socket);
            if self.hear(&mut decoder).is_err() {
                orphaned();
            }
        }
    }

    fn hear(&self, decoder: &mut Decoder) -> Result<(), IpcError> {
        while let Some(frame) = decoder.frame()? {
            self.frames().push_back(frame);
        }
        Ok(self.wakeup.wake()?)
    }

    fn frames(&self) -> MutexGuard<'_, VecDeque<ToSteward>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn order<'py>(py: Python<'py>, number: u64, errand: &Errand) -> PyResult<Order<'py>> {
    let job = errand.job.as_deref().map(|job| tuple(py, job)).transpose()?;
    Ok((number, errand.name.clone(), text(py, &errand.arguments)?, job))
}
