//! [`SqsTransport`]: Amazon's queue service as a broker.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;

use crate::{
    broker::{
        BrokerError, Capabilities, Connection, Transport,
        sqs::{access::Access, connection::SqsConnection, error::lost, ledger::Ledger, options::SqsOptions},
    },
    config::url::{ConnectionUrl, broker_uri},
};

/// A way to the queues of an account, or to a service that speaks the same language: `sqs://key:secret@host:port`.
pub struct SqsTransport {
    url: String,
    options: Arc<SqsOptions>,
    access: Arc<Access>,
    /// Receipts are good on every connection.
    ledger: Arc<Ledger>,
    connected: AtomicBool,
}

impl SqsTransport {
    /// Looks at nothing yet but the URL.
    ///
    /// # Errors
    /// A URL that is none, or has an access key without its secret.
    pub fn new(url: &str, options: SqsOptions) -> Result<Self, BrokerError> {
        let parsed = ConnectionUrl::parse(url).map_err(|error| BrokerError::unusable(error.to_string()))?;
        let options = Arc::new(options);
        let access = Arc::new(Access::new(&parsed, options.clone())?);
        Ok(Self { url: url.to_owned(), options, access, ledger: Arc::default(), connected: AtomicBool::new(false) })
    }
}

impl Transport for SqsTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async move {
            let opened = SqsConnection::open(self.access.clone(), self.options.clone(), self.ledger.clone()).await;
            match opened {
                Ok(connection) => {
                    self.connected.store(true, Ordering::Relaxed);
                    Ok(connection as Arc<dyn Connection>)
                }
                // Whom SQS has let in before, it will let in again: tokens are renewed, keys are replaced.
                Err(error) if self.connected.load(Ordering::Relaxed) => Err(lost(&error)),
                Err(error) => Err(error),
            }
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "sqs", fanout: false, disable_prefetch: false }
    }

    fn uri(&self) -> String {
        broker_uri(&self.url)
    }
}
