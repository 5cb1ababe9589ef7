//! [`Wakeup`]: how a thread of Rust's wakes one of Python's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use pyo3::prelude::*;

/// What one thread waits on. Each has its own: a shared one could wake only those that took what was not for them.
pub(super) struct Wakeup(EventFd);

impl Wakeup {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Wakes the thread, now or when it next waits.
    pub(super) fn wake(&self) -> io::Result<()> {
        Ok(self.0.write(1).map(drop)?)
    }

    /// Readable when something may have come for its thread.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Forgets that it was woken.
    pub(super) fn clear(&self) {
        // There is nothing to read after an interruption.
        let _ = self.0.read();
    }

    /// Waits without the GIL until woken or until a signal comes, whose Python handlers run. Signals are blocked between
    /// the last look at them and the waiting itself, so that none is slept through. `woken` runs before the handlers.
    pub(super) fn wait(&self, py: Python<'_>, woken: impl FnOnce()) -> PyResult<()> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before)).map_err(io::Error::from)?;
        let pending = py.check_signals();
        let polled = match &pending {
            Ok(()) => py.detach(|| {
                let mut polled = [PollFd::new(self.readable(), PollFlags::POLLIN)];
                ppoll(&mut polled, None, Some(before))
            }),
            Err(_) => Ok(0),
        };
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(io::Error::from)?;
        woken();
        pending?;
        match polled {
            Ok(_) | Err(Errno::EINTR) => py.check_signals(),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}
