//! Socket pairs between the processes, and the passing of descriptors over them.
//!
//! The zygote finds its socket on descriptor 0 (see [`from_stdin`]): nothing has to be inherited by number, so every other
//! descriptor of the parent stays close-on-exec. A child's socket and backlog reach the zygote with the `Fork` frame that asks for it.
//! The parent's side is tokio's and never blocks; [`Channel`] is the blocking side of zygote and child.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;

use crate::ipc::IpcError;
use crate::ipc::codec::{Decoder, encode};

/// So many descriptors can go with one frame: a socket and a backlog.
pub const MOST_DESCRIPTORS: usize = 2;

const READ_SIZE: usize = 64 * 1024;

/// Two connected ends, both close-on-exec.
pub fn pair() -> Result<(UnixStream, UnixStream), IpcError> {
    Ok(UnixStream::pair()?)
}

/// The zygote's end: takes the socket that the parent left on descriptor 0 (close-on-exec from now on) and leaves
/// `/dev/null` in its place.
pub fn from_stdin() -> Result<UnixStream, IpcError> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
    Ok(UnixStream::from(socket))
}

/// Writes all of `bytes`, the first of them together with up to [`MOST_DESCRIPTORS`] descriptors. For the parent.
pub async fn send_with_descriptors(
    socket: &tokio::net::UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), IpcError> {
    let send = || send_message(socket.as_fd(), bytes, descriptors);
    let mut written = socket.async_io(Interest::WRITABLE, send).await?;
    while written < bytes.len() {
        socket.writable().await?;
        match socket.try_write(&bytes[written..]) {
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn send_message(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one frame"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The blocking side of a socket: whole frames in and out, and the descriptors that came along.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    outgoing: Vec<u8>,
}

impl Channel {
    /// Over one end of a [`pair`].
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::new(), descriptors: VecDeque::new(), outgoing: Vec::new() }
    }

    /// The socket itself, for polling.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Writes one frame.
    pub fn send(&mut self, frame: &impl Serialize) -> Result<(), IpcError> {
        self.queue(frame)?;
        self.flush()
    }

    /// Keeps a frame for the next [`flush`](Self::flush), so that several cost one write.
    pub fn queue(&mut self, frame: &impl Serialize) -> Result<(), IpcError> {
        encode(frame, &mut self.outgoing)
    }

    /// Writes what is queued.
    pub fn flush(&mut self) -> Result<(), IpcError> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Writes one frame together with up to [`MOST_DESCRIPTORS`] descriptors.
    pub fn send_with_descriptors(
        &mut self,
        frame: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), IpcError> {
        self.flush()?;
        self.queue(frame)?;
        let written = send_message(self.stream.as_fd(), &self.outgoing, descriptors)?;
        self.outgoing.drain(..written);
        self.flush()
    }

    /// Waits for the next frame; [`IpcError::Closed`] once the other end is gone.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<T, IpcError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.fill()?;
        }
    }

    /// The next frame that has already been read.
    pub fn buffered<T: DeserializeOwned>(&mut self) -> Result<Option<T>, IpcError> {
        self.decoder.frame()
    }

    /// The oldest descriptor that came along with a frame and was not taken yet; they come in the order of their frames.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Reads once, waiting for it.
    pub fn fill(&mut self) -> Result<(), IpcError> {
        let mut bytes = [0; READ_SIZE];
        let read = loop {
            match receive_message(self.stream.as_fd(), &mut bytes, &mut self.descriptors) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if read == 0 {
            return Err(IpcError::Closed);
        }
        self.decoder.feed(&bytes[..read]);
        Ok(())
    }
}

fn receive_message(socket: BorrowedFd<'_>, bytes: &mut [u8], descriptors: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = ancillary {
            descriptors.extend(passed);
        }
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::ipc::ToZygote;

    #[test]
    fn descriptors_come_with_their_frames() {
        let (parent, zygote) = pair().unwrap();
        let (mut parent, mut zygote) = (Channel::new(parent), Channel::new(zygote));
        let (mut ours, theirs) = pair().unwrap();
        parent.send_with_descriptors(&ToZygote::Fork { index: 0, serial: 1 }, &[theirs.as_fd()]).unwrap();
        drop(theirs);
        assert!(matches!(zygote.receive().unwrap(), ToZygote::Fork { index: 0, serial: 1 }));
        let mut passed = UnixStream::from(zygote.descriptor().unwrap());
        passed.write_all(b"hello").unwrap();
        drop(passed);
        let mut heard = String::new();
        ours.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        assert!(zygote.descriptor().is_none());
    }

    #[tokio::test]
    async fn the_async_side_passes_descriptors_too() {
        let (parent, zygote) = pair().unwrap();
        parent.set_nonblocking(true).unwrap();
        let parent = tokio::net::UnixStream::from_std(parent).unwrap();
        let mut zygote = Channel::new(zygote);
        let (_ours, theirs) = pair().unwrap();
        let mut bytes = Vec::new();
        encode(&ToZygote::Fork { index: 3, serial: 4 }, &mut bytes).unwrap();
        send_with_descriptors(&parent, &bytes, &[theirs.as_fd(), theirs.as_fd()]).await.unwrap();
        assert!(matches!(zygote.receive().unwrap(), ToZygote::Fork { index: 3, serial: 4 }));
        assert!(zygote.descriptor().is_some());
        assert!(zygote.descriptor().is_some());
    }

    #[test]
    fn an_end_is_an_end() {
        let (parent, zygote) = pair().unwrap();
        drop(parent);
        assert!(matches!(Channel::new(zygote).receive::<ToZygote>(), Err(IpcError::Closed)));
    }
}
