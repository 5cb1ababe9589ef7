//! [`Zygote`]: the process that has the app loaded and forks the children.
//!
//! What it does in there is the room `python`'s; here it is a program that speaks frames on its descriptor 0.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::error;

use super::event::{Event, Events};
use super::options::ZygoteCommand;
use crate::ipc::codec::{Decoder, encode};
use crate::ipc::{FromZygote, IpcError, Manifest, ToZygote, socket};
use crate::pool::PoolError;

/// How long a zygote that was told to leave may take.
const LEAVING: Duration = Duration::from_secs(5);

/// What the supervisor asks of a zygote, with the child's end of a socket pair for a `Fork`.
pub(super) type Requests = mpsc::UnboundedSender<(ToZygote, Vec<OwnedFd>)>;

/// A running zygote whose app is loaded. Dropping it kills it.
#[derive(Debug)]
pub struct Zygote {
    process: Child,
    socket: UnixStream,
    decoder: Decoder,
}

impl Zygote {
    /// Starts one and waits until its app is loaded, however long that takes.
    ///
    /// Errors: [`PoolError::App`] with Celery's own words when the app cannot be loaded, [`PoolError::Detach`] when its
    /// command line asks for a daemon, [`PoolError::Zygote`] when the process cannot be started or ends without a word.
    pub async fn launch(command: &ZygoteCommand) -> Result<(Self, Manifest), PoolError> {
        let mut zygote = Self::spawn(command).map_err(|error| PoolError::Zygote(error.to_string()))?;
        match zygote.receive().await {
            Ok(Some(FromZygote::Manifest(manifest))) => Ok((zygote, *manifest)),
            Ok(Some(FromZygote::Failed { message, code })) => Err(PoolError::App { message, code }),
            Ok(Some(FromZygote::Detach(options))) => Err(PoolError::Detach(options)),
            Ok(Some(other)) => Err(PoolError::Zygote(format!("it said {other:?} before the app was loaded"))),
            Ok(None) => Err(PoolError::Zygote(zygote.obituary().await)),
            Err(error) => Err(PoolError::Zygote(error.to_string())),
        }
    }

    /// Ends it: nothing but its manifest was wanted.
    pub async fn dismiss(self) {
        end(self.process, self.socket).await;
    }

    fn spawn(command: &ZygoteCommand) -> Result<Self, IpcError> {
        let (ours, theirs) = socket::pair()?;
        ours.set_nonblocking(true)?;
        let process = Command::new(&command.program)
            .args(&command.args)
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { process, socket: UnixStream::from_std(ours)?, decoder: Decoder::new() })
    }

    /// Serves the supervisor until the process has ended.
    pub(super) fn serve(self, events: Events) -> Requests {
        let (requests, inbox) = mpsc::unbounded_channel();
        tokio::spawn(self.run(inbox, events));
        requests
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(ToZygote, Vec<OwnedFd>)>, events: Events) {
        loop {
            let served = tokio::select! {
                frame = self.receive() => self.hear(frame, &events),
                request = inbox.recv() => match request {
                    Some((frame, descriptors)) => self.ask(&frame, &descriptors).await,
                    None => false,
                },
            };
            if !served {
                break;
            }
        }
        end(self.process, self.socket).await;
        let _ = events.send(Event::ZygoteGone);
    }

    fn hear(&self, frame: Result<Option<FromZygote>, IpcError>, events: &Events) -> bool {
        match frame {
            Ok(Some(frame)) => events.send(Event::Zygote(frame)).is_ok(),
            Ok(None) => false,
            Err(error) => {
                error!(target: "celery.concurrency.prefork", "lost the zygote: {error}");
                false
            }
        }
    }

    async fn ask(&mut self, frame: &ToZygote, descriptors: &[OwnedFd]) -> bool {
        let mut bytes = Vec::new();
        if encode(frame, &mut bytes).is_err() {
            return false;
        }
        if descriptors.is_empty() {
            return self.write(&bytes).await.is_ok();
        }
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        socket::send_with_descriptors(&self.socket, &bytes, &descriptors).await.is_ok()
    }

    async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame, none at the end. May be dropped at any time without losing one.
    async fn receive(&mut self) -> Result<Option<FromZygote>, IpcError> {
        loop {
            if let Some(frame) = self.decoder.frame()? {
                return Ok(Some(frame));
            }
            self.socket.readable().await?;
            match self.socket.try_read_buf(self.decoder.space()) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn obituary(&mut self) -> String {
        match timeout(LEAVING, self.process.wait()).await {
            Ok(Ok(status)) => format!("it ended with {status} before the app was loaded"),
            _ => "it closed its socket before the app was loaded".to_owned(),
        }
    }
}

/// Closes the socket, at which a zygote leaves, and waits for the process, but not for ever.
async fn end(mut process: Child, socket: UnixStream) {
    drop(socket);
    if timeout(LEAVING, process.wait()).await.is_err() {
        let _ = process.kill().await;
    }
}
