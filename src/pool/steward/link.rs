//! [`Link`]: the socket to one steward process.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::queue::Queue;
use crate::ipc::codec::{Decoder, encode};
use crate::ipc::{FromSteward, IpcError, ToSteward, socket};

/// The parent's end, as long as the process lives.
#[derive(Debug)]
pub(super) struct Link {
    socket: UnixStream,
    decoder: Decoder,
    /// What is left to write of the word to leave.
    farewell: Vec<u8>,
    /// Known once the process is up.
    pub(super) pid: Option<i32>,
    pub(super) since: Instant,
    pub(super) told_to_leave: bool,
}

impl Link {
    /// A new one, and the steward's end of it.
    pub(super) fn open(now: Instant) -> Result<(Self, OwnedFd), IpcError> {
        let (ours, theirs) = socket::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let link =
            Self { socket, decoder: Decoder::new(), farewell: Vec::new(), pid: None, since: now, told_to_leave: false };
        Ok((link, OwnedFd::from(theirs)))
    }

    /// The steward is to leave when it has done what was written before.
    pub(super) fn say_farewell(&mut self) {
        self.told_to_leave = true;
        // It is small and plain: encoding it cannot fail.
        let _ = encode(&ToSteward::Stop, &mut self.farewell);
    }

    /// Whether there is something to write.
    pub(super) fn wants_to_write(&self, queue: &Queue) -> bool {
        queue.unwritten().is_some() || !self.farewell.is_empty()
    }

    /// Waits until there is something to read, or to write.
    pub(super) async fn ready(&self, writing: bool) {
        let interest = if writing {
            tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE
        } else {
            tokio::io::Interest::READABLE
        };
        // An error shows in the reading that follows.
        let _ = self.socket.ready(interest).await;
    }

    /// Writes as much as the socket takes. A socket that takes nothing any more has an end, which reading shows.
    pub(super) fn write(&mut self, queue: &mut Queue, now: Instant) {
        while let Some(bytes) = queue.unwritten() {
            match self.socket.try_write(bytes) {
                Ok(written) => queue.wrote(written, now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        while !self.farewell.is_empty() {
            match self.socket.try_write(&self.farewell) {
                Ok(written) => drop(self.farewell.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Reads what is there; false at the end of the stream, or of sense.
    pub(super) fn read(&mut self, frames: &mut Vec<FromSteward>) -> bool {
        loop {
            match self.socket.try_read_buf(self.decoder.space()) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            loop {
                match self.decoder.frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(target: "celery.worker", "cannot understand the steward: {error}");
                        return false;
                    }
                }
            }
        }
    }

    /// Ends the process, if it has ever said who it is. Its socket is open, so the number is its own.
    pub(super) fn kill(&self) {
        if let Some(pid) = self.pid.filter(|pid| *pid > 1) {
            // That it is dead already is no error.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
