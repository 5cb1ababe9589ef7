//! A child's link: reads what the child says and tells the supervisor.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recv};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tracing::error;

use super::child::Serial;
use super::event::{Event, Events};
use crate::ipc::codec::Decoder;
use crate::ipc::{FromChild, backlog};

/// Reads before what was read is told; so that one talkative child does not gather everything first.
const MOST_READS: usize = 16;
const READ_SIZE: usize = 16 * 1024;

/// What the supervisor tells a link.
#[derive(Debug, Clone, Default)]
pub(super) struct Bell {
    /// The outbox is blocked: say when the socket is writable.
    pub(super) blocked: Arc<Notify>,
    /// The process is dead: read what is left and end, even if someone else still holds the socket open.
    pub(super) dead: Arc<Notify>,
}

/// One task per child, until its socket has ended.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) serial: Serial,
    pub(super) socket: Arc<UnixStream>,
    pub(super) backlog: File,
    pub(super) bell: Bell,
    pub(super) events: Events,
}

impl Link {
    pub(super) async fn run(self) {
        let mut decoder = Decoder::new();
        let mut blocked = false;
        loop {
            tokio::select! {
                ready = self.socket.readable() => {
                    if ready.is_err() || !self.read(&mut decoder) {
                        break;
                    }
                }
                ready = self.socket.writable(), if blocked => {
                    blocked = false;
                    if ready.is_ok() && self.events.send(Event::Writable(self.serial)).is_err() {
                        break;
                    }
                }
                () = self.bell.blocked.notified() => blocked = true,
                () = self.bell.dead.notified() => {
                    self.read_rest(&mut decoder);
                    break;
                }
            }
        }
        self.read_backlog();
        let _ = self.events.send(Event::Closed(self.serial));
    }

    /// Reads what is there; false at the end of the stream.
    fn read(&self, decoder: &mut Decoder) -> bool {
        let mut frames = Vec::new();
        let open = self.read_some(decoder, &mut frames);
        if !frames.is_empty() && self.events.send(Event::Frames(self.serial, frames)).is_err() {
            return false;
        }
        open
    }

    /// A dead process writes no more, so what is not there now never comes. Asks the socket itself: tokio may not have
    /// heard yet that there is something to read.
    fn read_rest(&self, decoder: &mut Decoder) {
        let mut frames = Vec::new();
        let mut bytes = [0; READ_SIZE];
        while let Ok(read @ 1..) = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            decoder.feed(&bytes[..read]);
            if !self.decode(decoder, &mut frames) {
                break;
            }
        }
        let _ = self.events.send(Event::Frames(self.serial, frames));
    }

    /// What the child would have written next. Some of it may have been written already: the supervisor hears nothing new
    /// in that.
    fn read_backlog(&self) {
        let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
        match backlog::left(&self.backlog) {
            Ok(bytes) => decoder.feed(&bytes),
            Err(error) => {
                return error!(target: "celery.concurrency.prefork", "cannot read what child {} left: {error}", self.serial.0);
            }
        }
        if self.decode(&mut decoder, &mut frames) && !frames.is_empty() {
            let _ = self.events.send(Event::Frames(self.serial, frames));
        }
    }

    fn read_some(&self, decoder: &mut Decoder, frames: &mut Vec<FromChild>) -> bool {
        for _ in 0..MOST_READS {
            match self.socket.try_read_buf(decoder.space()) {
                Ok(0) => return false,
                Ok(_) if self.decode(decoder, frames) => {}
                Ok(_) => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Whether the child speaks sense.
    fn decode(&self, decoder: &mut Decoder, frames: &mut Vec<FromChild>) -> bool {
        loop {
            match decoder.frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return true,
                Err(error) => {
                    error!(target: "celery.concurrency.prefork", "cannot understand child {}: {error}", self.serial.0);
                    return false;
                }
            }
        }
    }
}
