//! [`MemoryConnection`]: the client's side of a link to the in-process broker.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Settle, Settlement, Tag,
        memory::{
            MemoryBroker,
            outlet::{self, Consumer},
            state::State,
        },
    },
    protocol::{Message, Queue, Route},
};

/// A connection that is closed when it is dropped.
pub(super) struct MemoryConnection {
    broker: MemoryBroker,
    link: u64,
    deliveries: Mutex<Option<Deliveries>>,
    closed: watch::Receiver<Option<BrokerError>>,
}

impl MemoryConnection {
    /// Connects, unless the broker has been told to refuse.
    pub(super) fn open(broker: &MemoryBroker) -> Result<Self, BrokerError> {
        let state = Arc::downgrade(&broker.state);
        let (link, ends) = broker.lock().connect(|link| Arc::new(LinkSink { state, link }))?;
        Ok(Self { broker: broker.clone(), link, deliveries: Mutex::new(Some(ends.deliveries)), closed: ends.closed })
    }

    fn subscription(&self, queue: &Queue) -> Result<Deliveries, BrokerError> {
        let (stream, deliveries) = outlet::stream();
        let mut state = self.broker.lock();
        state.declare(self.link, queue)?;
        let consumer = Consumer { id: 0, link: self.link, stream: Some(stream.clone()) };
        let id = state.consume(&queue.name, consumer)?;
        drop(state);
        let (broker, name) = (Arc::downgrade(&self.broker.state), queue.name.clone());
        tokio::spawn(async move {
            stream.closed().await;
            if let Some(state) = broker.upgrade() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.cancel(&name, |consumer| consumer.id == id);
            }
        });
        Ok(deliveries)
    }
}

impl Connection for MemoryConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move { self.broker.lock().declare(self.link, queue) })
    }

    fn deliveries(&self) -> Deliveries {
        let taken = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| outlet::stream().1)
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let consumer = Consumer { id: 0, link: self.link, stream: None };
            self.broker.lock().consume(&queue.name, consumer).map(drop)
        })
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut state = self.broker.lock();
            state.check(self.link)?;
            state.cancel(queue, |consumer| consumer.link == self.link && consumer.stream.is_none());
            Ok(())
        })
    }

    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        Box::pin(async move { self.subscription(queue) })
    }

    fn set_prefetch(&self, count: u32) {
        self.broker.lock().set_prefetch(self.link, count);
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut state = self.broker.lock();
            state.check(self.link)?;
            if let Some(queue) = &route.declare {
                state.declare(self.link, queue)?;
            }
            state.publish(route, message)
        })
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.broker.lock().purge(self.link, queue) })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        let mut closed = self.closed.clone();
        Box::pin(async move {
            let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            reason.unwrap_or_else(|| BrokerError::lost("the in-process broker is gone"))
        })
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        self.broker.lock().disconnect(self.link, BrokerError::lost("connection abandoned"));
        Box::pin(ready(()))
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut state = self.broker.lock();
            state.check(self.link)?;
            state.cancel_everywhere(|consumer| consumer.link == self.link && consumer.stream.is_none());
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move { Ok(self.broker.lock().disconnect(self.link, BrokerError::lost("connection closed"))) })
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.broker.lock().disconnect(self.link, BrokerError::lost("connection dropped"));
    }
}

/// Takes the settlements of one link.
struct LinkSink {
    state: Weak<Mutex<State>>,
    link: u64,
}

impl Settle for LinkSink {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        let (Some(state), Tag::Number(number)) = (self.state.upgrade(), &tag) else { return };
        let known = state.lock().unwrap_or_else(PoisonError::into_inner).settle(self.link, *number, settlement);
        if !known {
            tracing::debug!(?tag, "settlement of a delivery that is no longer held");
        }
    }
}
