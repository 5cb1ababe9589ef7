//! [`RedisUnacked`]: what we hold, read again out of kombu's `unacked` hash.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{sync::watch, time::sleep};

use crate::broker::{
    Acker, Delivery, MalformedMessage, Tag, Unacked, envelope,
    redis::{
        exchange::Exchange,
        ledger::Ledger,
        link::{Link, is_lost},
        restore,
    },
};

/// How long to wait after the server has refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The [`Unacked`] of a transport, whatever connection it has.
#[derive(Default)]
pub(super) struct RedisUnacked {
    /// None before the first connection.
    desk: watch::Sender<Option<Desk>>,
}

/// What a connection reads with.
#[derive(Clone)]
pub(super) struct Desk {
    pub link: Link,
    pub exchange: Exchange,
    /// Settles; once its connection is lost, through the next one's.
    pub ledger: Arc<Ledger>,
}

impl RedisUnacked {
    /// Reads through a new connection from now on.
    pub fn open(&self, desk: Desk) {
        self.desk.send_replace(Some(desk));
    }

    /// The desk of a connection that lives, once there is one.
    async fn live(&self) -> Option<Desk> {
        let is_live = |desk: &Option<Desk>| desk.as_ref().is_some_and(|desk| desk.link.lifeline.reason().is_none());
        self.desk.subscribe().wait_for(is_live).await.ok()?.clone()
    }

    async fn entries(&self, tags: &[u64]) -> Vec<Option<Bytes>> {
        // The sender is ours, so that there will always be a desk in the end.
        while let Some(desk) = self.live().await {
            match desk.exchange.read(&desk.link, tags).await {
                Ok(entries) if !entries.is_empty() || tags.is_empty() => return entries,
                Ok(_) => sleep(REFUSED_PAUSE).await,
                Err(error) if is_lost(&error) => desk.link.lifeline.end(desk.link.error(&error)),
                Err(error) => {
                    tracing::warn!("could not read what is held: {}", desk.link.error(&error));
                    sleep(REFUSED_PAUSE).await;
                }
            }
        }
        Vec::new()
    }
}

impl Unacked for RedisUnacked {
    fn read(&self, tags: Vec<u64>) -> BoxFuture<'_, Vec<Option<Delivery>>> {
        Box::pin(async move { self.entries(&tags).await.into_iter().map(|entry| entry.map(|e| copy_of(&e))).collect() })
    }

    fn acker(&self, tag: u64) -> Acker {
        match &*self.desk.borrow() {
            Some(desk) => Acker::new(Tag::Number(tag), desk.ledger.clone()),
            None => Acker::settled(),
        }
    }
}

/// A delivery without the right to settle it.
fn copy_of(entry: &[u8]) -> Delivery {
    let (message, redelivered, queue) = match restore::payload_and_queue(entry) {
        Some((payload, queue)) => match envelope::parse(payload) {
            Ok(envelope) => (Ok(envelope.message), envelope.redelivered, queue),
            Err(malformed) => (Err(malformed), false, queue),
        },
        None => (Err(unreadable(entry)), false, String::new()),
    };
    Delivery { message, queue: queue.into(), redelivered, acker: Acker::settled() }
}

fn unreadable(entry: &[u8]) -> MalformedMessage {
    MalformedMessage { reason: "the entry in unacked cannot be read".to_owned(), excerpt: envelope::excerpt(entry) }
}
