//! [`Fanout`]: fanout exchanges, which are pub/sub channels on Redis.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fred::{interfaces::EventInterface, types::Message as Push};
use tokio::sync::{broadcast, mpsc};

use crate::broker::{
    Acker, Deliveries, Delivery, envelope,
    redis::{
        keys::Keys,
        link::{Link, is_lost},
    },
};

const CAPACITY: usize = 1024;

/// One connection that listens for all fanout queues.
#[derive(Clone)]
pub(super) struct Fanout {
    link: Link,
    keys: Keys,
    listeners: Arc<Mutex<HashMap<String, Listener>>>,
}

/// The queue of an exchange: the one bound last gets everything.
struct Listener {
    queue: Arc<str>,
    pattern: String,
    out: mpsc::Sender<Vec<Delivery>>,
}

impl Fanout {
    /// Begins to listen on a connection of its own.
    pub fn new(link: Link, keys: Keys) -> Self {
        let fanout = Self { link, keys, listeners: Arc::default() };
        tokio::spawn(fanout.clone().listen(fanout.link.client.message_rx()));
        fanout
    }

    /// Subscribes a queue. Resolves when the server has the subscription.
    pub async fn subscribe(&self, queue: &str, exchange: &str, key: &str) -> Result<Deliveries, fred::error::Error> {
        let pattern = self.keys.channel(exchange, &key.replace('#', "*"));
        let (out, deliveries) = mpsc::channel(CAPACITY);
        let listener = Listener { queue: queue.into(), pattern: pattern.clone(), out };
        let replaced = self.listeners().insert(exchange.to_owned(), listener);
        if let Some(old) = replaced.filter(|old| old.pattern != pattern) {
            self.unsubscribe(&old.pattern).await?;
        }
        self.send("PSUBSCRIBE", &pattern).await?;
        Ok(deliveries)
    }

    /// Resolves when nobody reads the stream of this queue any more, and unsubscribes it; or when the link has ended, and the
    /// stream with it.
    pub async fn abandoned(&self, queue: &str, exchange: &str) {
        let out = self.listeners().get(exchange).filter(|l| *l.queue == *queue).map(|l| l.out.clone());
        let Some(out) = out else { return };
        tokio::select! {
            () = out.closed() => {}
            _ = self.link.lifeline.ended() => return,
        }
        let pattern = {
            let mut listeners = self.listeners();
            let still_ours = listeners.get(exchange).is_some_and(|l| l.out.same_channel(&out));
            if !still_ours {
                return;
            }
            listeners.remove(exchange).map(|listener| listener.pattern)
        };
        if let Some(pattern) = pattern {
            let _ = self.unsubscribe(&pattern).await;
        }
    }

    async fn unsubscribe(&self, pattern: &str) -> Result<(), fred::error::Error> {
        self.send("PUNSUBSCRIBE", pattern).await
    }

    /// fred does not wait for the server with these; the reply to a PING behind them says that it has seen them.
    async fn send(&self, command: &'static str, pattern: &str) -> Result<(), fred::error::Error> {
        use fred::interfaces::PubsubInterface;
        match command {
            "PSUBSCRIBE" => self.link.client.psubscribe(pattern).await?,
            _ => self.link.client.punsubscribe(pattern).await?,
        }
        self.link.call("PING", Vec::new()).await.map(drop)
    }

    async fn listen(self, mut pushes: broadcast::Receiver<Push>) {
        loop {
            let push = tokio::select! {
                push = pushes.recv() => push,
                _ = self.link.lifeline.ended() => break,
            };
            match push {
                Ok(push) => self.deliver(push).await,
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    tracing::warn!("{count} broadcast message(s) were lost: they came faster than they are read");
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        self.listeners().clear();
    }

    async fn deliver(&self, push: Push) {
        let channel = &*push.channel;
        let exchange = self.keys.exchange_of_channel(channel);
        let listener = self.listeners().get(exchange).map(|l| (l.queue.clone(), l.out.clone()));
        let Some((queue, out)) = listener else { return };
        let Some(payload) = crate::broker::redis::link::bytes(push.value).filter(|payload| !payload.is_empty()) else {
            return;
        };
        match envelope::parse(&payload) {
            Ok(envelope) => {
                let (message, redelivered) = (Ok(envelope.message), envelope.redelivered);
                let delivery = Delivery { message, queue, redelivered, acker: Acker::settled() };
                let _ = out.send(vec![delivery]).await;
            }
            Err(flaw) => tracing::warn!("Cannot process event on channel {channel:?}: {flaw}: {}", flaw.excerpt),
        }
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<String, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failed subscription means that the connection is gone.
pub(super) fn ends(link: &Link, error: &fred::error::Error) {
    if is_lost(error) {
        link.lifeline.end(link.error(error));
    }
}
