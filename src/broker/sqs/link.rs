//! [`Link`]: the life of a connection, which all its tasks watch, and of whose end the ledger is told.

use std::sync::Arc;

use crate::broker::{BrokerError, lifeline::Lifeline, sqs::ledger::Ledger};

/// Whether a connection lives, and why not.
pub(super) struct Link {
    ledger: Arc<Ledger>,
    /// The connection's number in there.
    pub number: u64,
    lifeline: Lifeline,
}

impl Link {
    /// Of a new connection.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { number: ledger.begin(), ledger, lifeline: Lifeline::new() }
    }

    /// Why it has ended.
    pub fn reason(&self) -> Option<BrokerError> {
        self.lifeline.reason()
    }

    /// Resolves when it has, with the reason.
    pub async fn ended(&self) -> BrokerError {
        self.lifeline.ended().await
    }

    /// Ends it. The first reason stays.
    pub fn end(&self, why: BrokerError) {
        self.lifeline.end(why);
        self.ledger.end(self.number);
    }
}
