//! [`SqsTransport`]: Amazon's queue service as a broker.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    broker::{
        BrokerError, Capabilities, Connection, Transport,
        sqs::{
            access::Access,
            connection::{FAREWELL, Shared, SqsConnection},
            keeper::{Keeper, Pace},
            ledger::Ledger,
            options::SqsOptions,
            queue::Queues,
            settler::Settler,
        },
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
    pace: Arc<Pace>,
    /// Serves the ledger, from the first connection on until the last one and the transport are gone.
    service: OnceLock<Arc<DropGuard>>,
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
        Ok(Self {
            url: url.to_owned(),
            options,
            access,
            ledger: Arc::default(),
            pace: Arc::default(),
            service: OnceLock::new(),
            connected: AtomicBool::new(false),
        })
    }

    fn service(&self) -> Arc<DropGuard> {
        let begin = || {
            let stop = CancellationToken::new();
            let requeue_after = Duration::from_secs(self.options.wait_time_seconds.into());
            let ledger = self.ledger.clone();
            tokio::spawn(Settler { ledger: ledger.clone(), requeue_after, stop: stop.clone() }.run());
            tokio::spawn(Keeper { ledger, pace: self.pace.clone(), stop: stop.clone() }.run());
            Arc::new(stop.drop_guard())
        };
        self.service.get_or_init(begin).clone()
    }
}

impl Transport for SqsTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async move {
            let service = self.service();
            let known = self.connected.load(Ordering::Relaxed);
            match Queues::open(self.access.clone(), self.options.clone()).await {
                Ok(queues) => {
                    self.connected.store(true, Ordering::Relaxed);
                    let shared = Shared { ledger: self.ledger.clone(), pace: self.pace.clone(), _service: service };
                    Ok(Arc::new(SqsConnection::new(queues, self.options.clone(), shared, known)) as Arc<dyn Connection>)
                }
                // Whom SQS has let in before, it will let in again: tokens are renewed, keys are replaced.
                Err(error) if known => Err(BrokerError::lost(error.to_string())),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Of no connection that lives.
            self.ledger.release_all(0);
            self.ledger.hurry();
            self.ledger.all_settled(FAREWELL).await;
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "sqs", fanout: false, disable_prefetch: false }
    }

    fn uri(&self) -> String {
        broker_uri(&self.url)
    }
}
