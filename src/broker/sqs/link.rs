//! [`Link`]: the life of a connection, which all its tasks watch.

use tokio::sync::watch;

use crate::broker::BrokerError;

/// Whether a connection lives, and why not.
#[derive(Default)]
pub(super) struct Link {
    ended: watch::Sender<Option<BrokerError>>,
}

impl Link {
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
    }
}
