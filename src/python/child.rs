//! A child's side of its socket, as Python sees it: jobs out of the [`Inbox`], reports into the socket.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::prctl;
use nix::unistd::getpid;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::ipc::{FromChild, IpcError, Job};
use crate::python::backlog::Backlog;
use crate::python::inbox::{Inbox, News, Taken};
use crate::python::mapping;
use crate::python::outcome::{EndedTuple, StoredTuple, report};
use crate::python::wakeup::Wakeup;
use crate::python::zygote::refuse;

/// The socket to the parent, and the backlog. Their descriptors are the child's own from now on.
#[pyclass(frozen, module = "celery_rs._bridge")]
pub(super) struct Child {
    inbox: Arc<Inbox>,
    wakeup: Arc<Wakeup>,
}

#[pymethods]
impl Child {
    /// Takes over both descriptors and starts reading from the socket.
    #[new]
    fn new(socket: i32, backlog: i32) -> PyResult<Self> {
        // SAFETY: the descriptors came with the fork request, and the zygote's Python gives them to this object only.
        let (socket, backlog) = unsafe { (OwnedFd::from_raw_fd(socket), OwnedFd::from_raw_fd(backlog)) };
        let inbox = Inbox::open(UnixStream::from(socket), Backlog::open(backlog)?)?;
        Ok(Self { inbox, wakeup: Wakeup::new()? })
    }

    /// The same socket for another thread: each thread that waits for jobs or answers needs its own.
    fn for_thread(&self) -> PyResult<Self> {
        Ok(Self { inbox: Arc::clone(&self.inbox), wakeup: Wakeup::new()? })
    }

    /// Outlives the zygote: undoes the `PR_SET_PDEATHSIG` of Celery's initializer. The reader sees to the parent's death.
    fn survive_zygote(&self) -> PyResult<()> {
        Ok(prctl::set_pdeathsig(None).map_err(std::io::Error::from)?)
    }

    /// Initialised.
    fn up(&self) -> PyResult<()> {
        self.send(&FromChild::Up { pid: getpid().as_raw() })
    }

    /// Initialisation failed.
    fn failed(&self, message: String) -> PyResult<()> {
        self.send(&FromChild::Failed(message))
    }

    /// The next job as a tuple, already reported as accepted; None when there will be none any more. Reports that were
    /// kept back go out with the same write, or stay in the backlog while more short jobs wait.
    fn next_job<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        loop {
            match self.inbox.take(&self.wakeup) {
                Taken::Job(job) => return self.accept(py, &job).map(Some),
                Taken::Stop => {
                    self.flush()?;
                    return Ok(None);
                }
                Taken::Nothing => {
                    self.flush()?;
                    self.wait(py)?;
                }
            }
        }
    }

    /// Whether there will be no more jobs because another child takes its place.
    fn recycled(&self) -> bool {
        self.inbox.is_recycled()
    }

    /// Keeps the report of a job for the next write, which follows from `next_job`.
    #[pyo3(signature = (number, ended, runtime, stored, rss_kib))]
    fn done(
        &self,
        number: u64,
        ended: EndedTuple,
        runtime: f64,
        stored: Option<StoredTuple<'_>>,
        rss_kib: u64,
    ) -> PyResult<()> {
        self.inbox.ended();
        let report = report(ended, runtime, stored, rss_kib)?;
        self.inbox.queue(&FromChild::Done { number, report }).map_err(lost)
    }

    /// Has the parent store a result, and waits until it is safe: empty text, else the error.
    fn store(&self, py: Python<'_>, number: u64, stored: StoredTuple<'_>) -> PyResult<String> {
        self.send(&FromChild::Store { number, stored: stored.into() })?;
        loop {
            match self.inbox.stored(number, &self.wakeup) {
                Some(error) => return Ok(error),
                // A soft time limit, or a signal handler of the task's.
                None => self.wait(py).inspect_err(|_| self.inbox.forget(number))?,
            }
        }
    }

    /// Where greenlets wait: the descriptor that is readable when there may be jobs or news. It stays this object's.
    fn fileno(&self) -> i32 {
        self.wakeup.readable().as_raw_fd()
    }

    /// What has come for greenlets besides jobs: `(jobs to kill, answers to "ask", new number of seats, closing, stopping)`.
    fn news(&self) -> NewsTuple {
        let News { kills, answers, seats, closing, stopping } = self.inbox.news(&self.wakeup);
        (kills, answers, seats, closing, stopping)
    }

    /// `next_job` without waiting: None when there is none now. Nothing is written before `flush`.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(job) = self.inbox.take_now() else { return Ok(None) };
        self.inbox.queue(&FromChild::Accepted { number: job.number, at: now() }).map_err(lost)?;
        tuple(py, &job).map(Some)
    }

    /// `store` without waiting: the answer is among the news.
    fn ask(&self, number: u64, stored: StoredTuple<'_>) -> PyResult<()> {
        self.send(&FromChild::Store { number, stored: stored.into() })
    }

    /// Keeps for the next write that a job was killed.
    fn killed(&self, number: u64) -> PyResult<()> {
        self.inbox.queue(&FromChild::Killed(number)).map_err(lost)
    }

    /// Keeps for the next write that a job has exceeded its time limit.
    fn timed_out(&self, number: u64) -> PyResult<()> {
        self.inbox.queue(&FromChild::TimedOut(number)).map_err(lost)
    }

    /// Makes `fileno` readable.
    fn wake(&self) -> PyResult<()> {
        Ok(self.wakeup.wake()?)
    }

    /// The job that a soft time limit frame named, once; 0 if the signal came from elsewhere.
    fn soft_limited(&self) -> u64 {
        self.inbox.soft_limited()
    }

    /// Writes what was kept back.
    fn flush(&self) -> PyResult<()> {
        self.inbox.flush().map_err(lost)
    }
}

impl Child {
    fn accept<'py>(&self, py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyTuple>> {
        self.inbox.queue(&FromChild::Accepted { number: job.number, at: now() }).map_err(lost)?;
        self.inbox.flush_unless_more_follows().map_err(lost)?;
        tuple(py, job)
    }

    fn send(&self, frame: &FromChild) -> PyResult<()> {
        self.inbox.queue(frame).map_err(lost)?;
        self.flush()
    }

    /// Waits without the GIL until something comes or a signal does.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        self.wakeup.wait(py, || self.inbox.woken(&self.wakeup))
    }
}

type NewsTuple = (Vec<u64>, Vec<(u64, String)>, Option<u32>, bool, bool);

/// `(number, task, id, headers, properties, body, content_type, content_encoding, reply_to, correlation_id, exchange,
/// routing_key, priority, redelivered, time_limit)`; headers and properties are dicts, or JSON text for Python to read.
pub(super) fn tuple<'py>(py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyTuple>> {
    let items = [
        job.number.into_bound_py_any(py)?,
        PyString::new(py, &job.task).into_any(),
        PyString::new(py, &job.id).into_any(),
        fields(py, &job.headers)?,
        fields(py, &job.properties)?,
        PyBytes::new(py, &job.body).into_any(),
        PyString::new(py, &job.content_type).into_any(),
        PyString::new(py, &job.content_encoding).into_any(),
        job.reply_to.as_deref().into_bound_py_any(py)?,
        job.correlation_id.as_deref().into_bound_py_any(py)?,
        PyString::new(py, &job.exchange).into_any(),
        PyString::new(py, &job.routing_key).into_any(),
        job.priority.into_bound_py_any(py)?,
        job.redelivered.into_bound_py_any(py)?,
        job.time_limit.into_bound_py_any(py)?,
    ];
    PyTuple::new(py, items)
}

fn fields<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match mapping::dict(py, json) {
        Some(dict) => Ok(dict.into_any()),
        None => text(py, json).map(Bound::into_any),
    }
}

pub(super) fn text<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let text = std::str::from_utf8(json).map_err(|error| refuse(error.to_string()))?;
    Ok(PyString::new(py, text))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

pub(super) fn lost(error: IpcError) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}
