//! [`Publish`]: sending messages without caring which connection is the current one.

use futures::future::BoxFuture;

use crate::{
    broker::BrokerError,
    protocol::{Message, Route},
};

/// Publishing that survives reconnects: the worker implements it over whatever connection is current, with Celery's
/// `task_publish_retry_policy`.
pub trait Publish: Send + Sync {
    /// Resolves when the broker has the message for certain.
    fn publish(&self, route: Route, message: Message) -> BoxFuture<'_, Result<(), BrokerError>>;
}
