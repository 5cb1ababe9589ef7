//! [`Dialer`]: makes lapin connections to one broker.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_rs::{Runtime, Tokio, util::RuntimeParts};
use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties,
    types::{AMQPValue, LongString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::broker::{
    BrokerError,
    amqp::{
        error,
        options::{AmqpOptions, LoginMethod},
        server::{Server, Sniffer},
        table,
        tls::Tls,
        url::AmqpUrl,
        wire::{Net, Socket, Wire},
    },
};

/// Everything needed to connect, as often as wanted.
pub(super) struct Dialer {
    url: AmqpUrl,
    uri: String,
    tls: Option<Tls>,
    timeout: Duration,
    heartbeat: u16,
    login_method: LoginMethod,
    properties: ConnectionProperties,
}

impl Dialer {
    pub(super) fn new(url: AmqpUrl, options: &AmqpOptions) -> Result<Self, BrokerError> {
        let wanted = options.tls.clone().or_else(|| url.secure().then(Default::default));
        Ok(Self {
            tls: wanted.map(|options| Tls::new(&options, &url.host)).transpose()?,
            uri: url.sanitized(),
            timeout: options.connect_timeout,
            heartbeat: options.heartbeat,
            login_method: options.login_method,
            properties: properties(options)?,
            url,
        })
    }

    /// Connects and logs in.
    pub(super) async fn dial(&self) -> Result<(Connection, Server), BrokerError> {
        let found = Arc::new(OnceLock::new());
        let connecting = Connection::connector(
            self.lapin_uri(),
            Runtime::new(RuntimeParts::new(Tokio::current(), Net(Tokio::current()))),
            self.socket(found.clone()),
            self.properties.clone(),
        );
        let connection = tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| self.no_mechanism(found.get()).unwrap_or_else(|| self.timed_out()))?
            .map_err(|error| self.no_mechanism(found.get()).unwrap_or_else(|| error::connecting(&self.uri, &error)))?;
        Ok((connection, found.get().cloned().unwrap_or_default()))
    }

    /// A server that is asked for a mechanism that it does not have only hangs up, and late.
    fn no_mechanism(&self, server: Option<&Server>) -> Option<BrokerError> {
        let wanted = self.login_method.as_str();
        let server = server.filter(|server| server.lacks(wanted))?;
        Some(error::no_mechanism(&self.uri, wanted, &server.mechanisms))
    }

    fn timed_out(&self) -> BrokerError {
        BrokerError::lost(format!("cannot connect to {}: timed out", self.uri))
    }

    /// What makes the socket; called from lapin's own thread.
    fn socket(
        &self,
        found: Arc<OnceLock<Server>>,
    ) -> impl AsyncFn(AMQPUri, Runtime<RuntimeParts<Tokio, Net>>) -> lapin::Result<AsyncTcpStream<Wire>>
    + Send
    + Sync
    + 'static {
        let (host, port) = self.url.address();
        let (host, tls, timeout) = (host.to_owned(), self.tls.clone(), self.timeout);
        async move |_, _| {
            let connecting = connect_socket(&host, port, tls.as_ref());
            let socket = tokio::time::timeout(timeout, connecting)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "timed out"))??;
            Ok(AsyncTcpStream::Plain(Wire::new(socket, Some(Sniffer::new(found.clone())))))
        }
    }

    fn lapin_uri(&self) -> AMQPUri {
        AMQPUri {
            // TLS is done by the socket; lapin need not know.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: self.url.user.clone(), password: self.url.password.clone() },
                host: self.url.host.clone(),
                port: self.url.port,
            },
            vhost: self.url.virtual_host.clone(),
            query: AMQPQueryString {
                heartbeat: Some(self.heartbeat),
                auth_mechanism: Some(match self.login_method {
                    LoginMethod::Plain => SASLMechanism::Plain,
                    LoginMethod::AmqPlain => SASLMechanism::AMQPlain,
                    LoginMethod::External => SASLMechanism::External,
                }),
                ..AMQPQueryString::default()
            },
        }
    }
}

async fn connect_socket(host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Socket> {
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Socket::Plain(socket)) };
    let socket = TlsConnector::from(tls.config.clone()).connect(tls.server_name.clone(), socket).await?;
    Ok(Socket::Tls(Box::new(socket)))
}

fn properties(options: &AmqpOptions) -> Result<ConnectionProperties, BrokerError> {
    let own = ConnectionProperties::default()
        .with_client_property("product".into(), LongString::from("celery-rs"))
        .with_client_property("version".into(), LongString::from(env!("CARGO_PKG_VERSION")));
    let wanted = table::from_map(&options.client_properties)?;
    Ok(wanted.inner().iter().fold(own, |properties, (name, value)| match value {
        AMQPValue::LongString(value) => properties.with_client_property(name.clone(), value.clone()),
        _ => {
            tracing::warn!("client property '{name}' is not a string and is left out");
            properties
        }
    }))
}
