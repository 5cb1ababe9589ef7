//! [`RedisTransport`]: a Redis broker as a [`Transport`].

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use crate::broker::{
    BrokerError, Capabilities, Connection, CredentialProvider, Transport,
    lifeline::Lifeline,
    redis::{
        connection::RedisConnection, ledger::Ledger, link::Link, options::RedisOptions, unacked::RedisUnacked,
        url::RedisUrl,
    },
};

/// A way to a Redis broker (`redis://`, `rediss://`, `redis+socket://`, `sentinel://`), as kombu's Redis transport uses it.
///
/// Deliveries of a lost connection stay settleable: what could not be sent is sent by the next connection of the same
/// transport.
pub struct RedisTransport {
    url: RedisUrl,
    options: Arc<RedisOptions>,
    heritage: Arc<Heritage>,
}

/// What outlives the connections of a transport.
pub(super) struct Heritage {
    /// Begins our fields in `unacked`.
    pub tag_prefix: String,
    /// The number of the next delivery.
    pub next_tag: Arc<Mutex<u64>>,
    /// Ledgers of lost connections that no connection has taken over.
    orphans: Mutex<Vec<Arc<Ledger>>>,
    /// Reads what is held, through whatever connection there is.
    pub unacked: Arc<RedisUnacked>,
}

impl Heritage {
    /// Leaves a ledger to the next connection.
    pub fn leave(&self, ledger: Arc<Ledger>) {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(ledger);
    }

    /// Takes what lost connections left.
    pub fn take(&self) -> Vec<Arc<Ledger>> {
        std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RedisTransport {
    /// Checks the URL and the options; connects to nothing.
    ///
    /// # Errors
    /// [`Unusable`](crate::broker::BrokerErrorKind::Unusable): one of them cannot be honoured, among them a URL with a
    /// `credential_provider`.
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, BrokerError> {
        Self::asking(None, url, options)
    }

    /// The same, with somebody to ask where the URL names a `credential_provider`.
    ///
    /// # Errors
    /// As with [`new`](Self::new), but for that.
    pub fn asking(
        provider: Option<Arc<dyn CredentialProvider>>,
        url: &str,
        options: RedisOptions,
    ) -> Result<Self, BrokerError> {
        let mut url = RedisUrl::parse(url)?;
        url.provider = provider;
        if let (Some(class), None) = (&url.credential_provider, &url.provider) {
            return Err(BrokerError::unusable(format!(
                "the broker URL's credential_provider {class} is a Python class, which only a running worker with a Python app can ask, not --purge"
            )));
        }
        if url.tls.as_ref().or(options.tls.as_ref()).is_some_and(|tls| !tls.verifies()) {
            tracing::warn!("the certificate of {} is not checked: ssl_cert_reqs is not set", url.sanitized());
        }
        let heritage = Heritage {
            tag_prefix: format!("{}-", uuid::Uuid::new_v4()),
            next_tag: Arc::new(Mutex::new(1)),
            orphans: Mutex::default(),
            unacked: Arc::default(),
        };
        Ok(Self { url, options: Arc::new(options), heritage: Arc::new(heritage) })
    }
}

impl Transport for RedisTransport {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        Box::pin(async move {
            let link = Link::connect(&self.url, &self.options, Lifeline::new()).await?;
            let connection = RedisConnection::start(link, &self.url, &self.options, &self.heritage);
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { driver: "redis", fanout: true, disable_prefetch: true }
    }

    fn uri(&self) -> String {
        self.url.sanitized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerErrorKind;

    #[test]
    fn a_provider_wants_somebody_who_asks_it() {
        let refused = RedisTransport::new("redis://h?credential_provider=shop.Provider", RedisOptions::default());
        let refused = refused.err().unwrap();
        assert_eq!(refused.kind(), BrokerErrorKind::Unusable);
        assert!(refused.to_string().contains("shop.Provider"), "{refused}");
    }
}
