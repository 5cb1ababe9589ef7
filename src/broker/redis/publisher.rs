//! [`Publisher`]: messages into lists and channels.

use fred::{error::Error, types::Value as Reply};
use futures::future::try_join_all;

use crate::{
    broker::{
        BrokerError,
        envelope::Draft,
        redis::{binding::Bindings, keys::Keys, link::Link},
    },
    protocol::{ExchangeType, Message, Route},
};

/// Publishes over one connection; concurrent publishes share a write.
#[derive(Clone)]
pub(super) struct Publisher {
    pub link: Link,
    pub keys: Keys,
    pub bindings: Bindings,
    /// Whether bodies are written in base64.
    pub base64: bool,
}

impl Publisher {
    /// Resolves with the server's reply.
    pub async fn publish(&self, route: &Route, message: &Message) -> Result<(), BrokerError> {
        let draft = Draft::new(message, &route.exchange, &route.routing_key, self.base64)
            .map_err(|error| BrokerError::refused(format!("a message cannot be written for redis: {error}")))?;
        let sent = match route.exchange_type {
            ExchangeType::Fanout if !route.exchange.is_empty() => self.broadcast(route, &draft).await,
            _ => self.queue(route, message, &draft).await,
        };
        sent.map_err(|error| self.link.error(&error))
    }

    /// Empties a queue; returns how many messages there were.
    pub async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        let mut count = 0;
        for list in self.keys.queue_lists(queue) {
            let length = self.link.call("LLEN", vec![list.as_str().into()]);
            let deleted = self.link.call("DEL", vec![list.as_str().into()]);
            let (length, _) = futures::try_join!(length, deleted).map_err(|error| self.link.error(&error))?;
            count += length.as_u64().unwrap_or(0);
        }
        Ok(count)
    }

    async fn broadcast(&self, route: &Route, draft: &Draft) -> Result<(), Error> {
        let channel = self.keys.channel(&route.exchange, &route.routing_key);
        self.link.call("PUBLISH", vec![channel.into(), draft.copy().into()]).await.map(drop)
    }

    async fn queue(&self, route: &Route, message: &Message, draft: &Draft) -> Result<(), Error> {
        let priority = message.properties.priority.unwrap_or(0);
        if route.exchange.is_empty() {
            return self.push(&route.routing_key, priority, draft).await;
        }
        let queues = self.bindings.lookup(&route.exchange, &route.routing_key).await?;
        if queues.is_empty() {
            let Route { exchange, routing_key, .. } = route;
            tracing::warn!("no queue is bound to exchange {exchange:?} for {routing_key:?}; a message is dropped");
        }
        try_join_all(queues.iter().map(|queue| self.push(queue, priority, draft))).await.map(drop)
    }

    async fn push(&self, queue: &str, priority: i64, draft: &Draft) -> Result<(), Error> {
        let list = self.keys.queue_for_priority(queue, priority);
        let pushed = self.link.call("LPUSH", vec![list.into(), draft.copy().into()]);
        let Some((lists, expires)) = self.bindings.expiry(queue) else { return pushed.await.map(drop) };
        let expire = |list: String| self.link.call("PEXPIRE", vec![list.into(), Reply::Integer(expires)]);
        futures::try_join!(pushed, try_join_all(lists.into_iter().map(expire))).map(drop)
    }
}
