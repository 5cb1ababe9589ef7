//! [`Tls`]: libpq's `ssl*` parameters, and rustls in the place of its TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Config, Socket,
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    backend::{
        BackendError,
        database::{options::Parameters, url::unusable},
    },
    config::{TlsCheck, TlsClient},
};

/// How a connection is made secure.
#[derive(Clone)]
pub(super) struct Tls(Arc<rustls::ClientConfig>);

/// Sets `sslmode`, and reads the files that it needs.
///
/// # Errors
/// [`BackendError::Unusable`] for a mode that is none, or files that cannot be used.
pub(super) fn tls(config: &mut Config, parameters: &mut Parameters) -> Result<Tls, BackendError> {
    let mut parameter = |name: &str, variable: &str| {
        parameters.text(name).or_else(|| std::env::var(variable).ok()).filter(|s| !s.is_empty())
    };
    let mode = parameter("sslmode", "PGSSLMODE").unwrap_or_else(|| "prefer".to_owned());
    let root = parameter("sslrootcert", "PGSSLROOTCERT");
    let (certificate, key) = (parameter("sslcert", "PGSSLCERT"), parameter("sslkey", "PGSSLKEY"));
    let (ssl_mode, check) = match (mode.as_str(), &root) {
        ("disable", _) => (SslMode::Disable, TlsCheck::Nothing),
        ("allow" | "prefer", _) => (SslMode::Prefer, TlsCheck::Nothing),
        // With authorities at hand it checks who signed.
        ("require", None) => (SslMode::Require, TlsCheck::Nothing),
        ("require", Some(_)) | ("verify-ca", _) => (SslMode::Require, TlsCheck::Chain),
        ("verify-full", _) => (SslMode::Require, TlsCheck::ChainAndName),
        _ => return Err(unusable("its parameter sslmode is none of libpq's modes")),
    };
    config.ssl_mode(ssl_mode);
    let client = TlsClient {
        check,
        ca_certs: root.filter(|path| path != "system").map(Into::into),
        certfile: certificate.map(Into::into),
        keyfile: key.map(Into::into),
    };
    client.config().map(|config| Tls(Arc::new(config))).map_err(unusable)
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Connect, Self::Error> {
        Ok(Connect { config: self.0.clone(), name: ServerName::try_from(domain.to_owned())? })
    }
}

/// One handshake.
pub(super) struct Connect {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn connect(self, socket: Socket) -> Self::Future {
        TlsConnector::from(self.config).connect(self.name, socket).map(|stream| stream.map(Stream)).boxed()
    }
}

/// A secure connection.
pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
