//! [`Lifeline`]: whether a connection lives, and why not. Its transport ends it; its tasks watch it.

use tokio::sync::watch;

use crate::broker::BrokerError;

/// Whether a connection lives, and why it ended. The first reason stays.
#[derive(Clone)]
pub(super) struct Lifeline(watch::Sender<Option<BrokerError>>);

impl Lifeline {
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Ends it, unless it has ended before.
    pub fn end(&self, reason: BrokerError) {
        self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(reason);
            }
            first
        });
    }

    /// Why it has ended, if it has.
    pub fn reason(&self) -> Option<BrokerError> {
        self.0.borrow().clone()
    }

    /// Resolves when it ends.
    pub async fn ended(&self) -> BrokerError {
        let mut receiver = self.0.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(|| BrokerError::lost("the connection ended")),
            Err(_) => BrokerError::lost("the connection ended"),
        }
    }
}
