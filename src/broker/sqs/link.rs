//! [`Link`]: the life of a connection, which all its tasks watch.

use std::sync::Arc;

use tokio::sync::watch;

use crate::broker::{BrokerError, sqs::ledger::Ledger};

/// Whether a connection lives, and why not.
pub(super) struct Link {
    /// Which is told of the end.
    ledger: Arc<Ledger>,
    /// The connection's number in there.
    pub number: u64,
    ended: watch::Sender<Option<BrokerError>>,
}

impl Link {
    /// Of a new connection.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { number: ledger.begin(), ledger, ended: watch::Sender::new(None) }
    }

    /// Why it has ended.
    pub fn reason(&self) -> Option<BrokerError> {
        self.ended.borrow().clone()
    }

    /// Resolves when it has.
    pub async fn ended(&self) {
        // The sender is ours.
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }

    /// Ends it. The first reason stays.
    pub fn end(&self, why: BrokerError) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(why);
            first
        });
        self.ledger.end(self.number);
    }
}
