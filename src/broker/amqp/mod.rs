//! RabbitMQ and its kin, over AMQP 0-9-1.
//!
//! lapin carries the frames; what kombu and Celery make of AMQP is here: declarations, the meaning of the prefetch
//! window by server version, batched acknowledgements, and what of a message a task may see. lapin's own recovery is
//! off: a lost connection ends an [`AmqpTransport`]'s connection, and the worker makes the next one.

mod channel;
mod connection;
mod consume;
mod convert;
mod delays;
mod dial;
mod ending;
mod error;
mod options;
mod publish;
mod qos;
mod server;
mod settle;
mod table;
mod tls;
mod topology;
mod url;
mod wire;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::broker::{BrokerError, Capabilities, Connection, Transport};

use connection::AmqpConnection;
use dial::Dialer;
use url::AmqpUrl;

pub use options::{AmqpOptions, LoginMethod};
pub use tls::TlsOptions;

/// Connections to one AMQP broker. Failover lists are several of these.
pub struct AmqpTransport {
    dialer: Arc<Dialer>,
    options: AmqpOptions,
    uri: String,
}

impl AmqpTransport {
    /// A transport to `amqp://`, `amqps://` or `pyamqp://user:password@host:port/vhost`. Reads certificates, if there
    /// are any to be read.
    ///
    /// # Errors
    /// [`Unusable`](crate::broker::BrokerErrorKind::Unusable): the URL cannot be read, or a certificate cannot.
    pub fn new(url: &str, options: AmqpOptions) -> Result<Self, BrokerError> {
        let url = AmqpUrl::parse(url)?;
        let options = options.with_query(&url.query)?;
        let uri = url.sanitized();
        Ok(Self { dialer: Arc::new(Dialer::new(url, &options)?), options, uri })
    }
}

impl Transport for AmqpTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async {
            let connection = AmqpConnection::open(self.dialer.clone(), &self.options).await?;
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "amqp", fanout: true, disable_prefetch: false }
    }

    fn uri(&self) -> String {
        self.uri.clone()
    }
}
