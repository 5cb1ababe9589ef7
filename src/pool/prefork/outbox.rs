//! [`Outbox`]: what is to be written to one child.
//!
//! Frames gather here while the supervisor works off a batch of events and leave in one write. A socket that takes no
//! more is left alone until its link says that it is writable again: nobody waits for a slow child.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::ipc::IpcError;
use crate::ipc::codec::encode;

/// A buffer that has grown beyond this is not kept.
const MOST_KEPT: usize = 1 << 20;

/// The writing half of a child's socket; the supervisor's.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: Arc<UnixStream>,
    /// Tells the link to say when the socket is writable.
    blocked: Arc<Notify>,
    bytes: Vec<u8>,
    written: usize,
    waits: bool,
}

impl Outbox {
    pub(super) fn new(socket: Arc<UnixStream>, blocked: Arc<Notify>) -> Self {
        Self { socket, blocked, bytes: Vec::new(), written: 0, waits: false }
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, frame: &impl Serialize) -> Result<(), IpcError> {
        encode(frame, &mut self.bytes)
    }

    /// Whether there is more to be written than the socket takes.
    pub(super) fn is_blocked(&self) -> bool {
        self.waits
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self) {
        self.waits = false;
    }

    /// Writes as much as the socket takes. A socket that takes nothing any more has an end that the link will see.
    pub(super) fn flush(&mut self) {
        while !self.waits && self.written < self.bytes.len() {
            match self.socket.try_write(&self.bytes[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waits = true;
                    self.blocked.notify_one();
                    return;
                }
                Err(_) => self.written = self.bytes.len(),
            }
        }
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(MOST_KEPT);
            self.written = 0;
        }
    }
}
