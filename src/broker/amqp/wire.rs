//! [`Wire`]: the socket that lapin's I/O loop reads and writes, plain or with TLS; and [`Net`], the reactor that lapin
//! asks for everything else.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Tokio, traits::Reactor};
use futures::io::{AsyncRead, AsyncWrite};
use tokio::{io::ReadBuf, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::broker::amqp::server::Sniffer;

/// A connected socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that is read along until the server has introduced itself.
pub(super) struct Wire {
    socket: Socket,
    sniffer: Option<Sniffer>,
}

impl Wire {
    pub(super) fn new(socket: Socket, sniffer: Option<Sniffer>) -> Self {
        Self { socket, sniffer }
    }
}

macro_rules! on_socket {
    ($this:expr, $method:path, $($argument:expr),*) => {
        match &mut $this.get_mut().socket {
            Socket::Plain(socket) => $method(Pin::new(socket), $($argument),*),
            Socket::Tls(socket) => $method(Pin::new(&mut **socket), $($argument),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buf);
        ready!(on_socket!(self.as_mut(), tokio::io::AsyncRead::poll_read, cx, &mut read))?;
        let bytes = read.filled();
        if self.sniffer.as_mut().is_some_and(|sniffer| sniffer.feed(bytes)) {
            self.sniffer = None;
        }
        Poll::Ready(Ok(bytes.len()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_socket!(self, tokio::io::AsyncWrite::poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, tokio::io::AsyncWrite::poll_write_vectored, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, tokio::io::AsyncWrite::poll_flush, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, tokio::io::AsyncWrite::poll_shutdown, cx)
    }
}

/// Tokio's reactor, whose sockets are [`Wire`]s.
#[derive(Debug, Clone)]
pub(super) struct Net(pub(super) Tokio);

impl Reactor for Net {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl futures::Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    #[allow(clippy::manual_async_fn, reason = "the trait wants a future that outlives the borrow")]
    fn tcp_connect_addr(&self, address: SocketAddr) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        async move { Ok(Wire::new(Socket::Plain(TcpStream::connect(address).await?), None)) }
    }
}
