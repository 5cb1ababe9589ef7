//! [`BeatProcess`]: Celery's own beat in a process of its own, for schedules that only Python can run.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PreforkPool;
use super::event::Event;
use crate::ipc::{IpcError, socket};

/// How long it may take to keep its schedule when it is told to leave.
const LEAVING: Duration = Duration::from_secs(10);

/// A process that the zygote has forked, or will. It leaves at the end of its socket, of which this is the other end.
#[derive(Debug)]
pub struct BeatProcess {
    socket: UnixStream,
}

impl PreforkPool {
    /// Has the zygote fork a process for Celery's own beat. One that cannot be forked has ended at once.
    ///
    /// # Errors
    /// When there is no socket for it.
    pub fn beat(&self) -> Result<BeatProcess, IpcError> {
        let (ours, theirs) = socket::pair()?;
        ours.set_nonblocking(true)?;
        self.tell(Event::ForkBeat(OwnedFd::from(theirs)));
        Ok(BeatProcess { socket: UnixStream::from_std(ours)? })
    }
}

impl BeatProcess {
    /// Resolves when the process has ended.
    pub async fn ended(&self) {
        let mut said = [0; 64];
        while self.socket.readable().await.is_ok() {
            match self.socket.try_read(&mut said) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    /// Tells it to leave, and waits until it has; but not for ever.
    pub async fn stop(self) {
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.socket),
            nix::sys::socket::Shutdown::Write,
        );
        let _ = timeout(LEAVING, self.ended()).await;
    }
}
