//! From lapin's consumers to batches of deliveries.

use std::sync::{Arc, atomic::Ordering};

use futures::{FutureExt, StreamExt};
use lapin::Consumer;
use tokio::sync::mpsc;

use crate::broker::{
    Acker, Delivery, Tag,
    amqp::{
        convert,
        settle::{Desk, Tally},
    },
};

/// How many deliveries one batch may hold.
const BATCH: usize = 256;

/// How deliveries of a consumer are to be settled.
#[derive(Clone)]
pub(super) enum Settling {
    /// The broker has forgotten them already.
    NoAck,
    /// Through the desk, counted.
    Through(Arc<Desk>, Arc<Tally>),
}

/// Why a consumer ended.
pub(super) enum End {
    /// It was cancelled, by us or by the server.
    Cancelled,
    /// Nobody reads its deliveries any more.
    Unwanted,
    /// Its channel or the connection failed.
    Failed(lapin::Error),
}

/// Passes on what a consumer receives, all that is there at a time as one batch, until it ends. The other end of
/// `deliveries` is with the worker, or whoever subscribed.
pub(super) async fn pump(
    mut consumer: Consumer,
    queue: Arc<str>,
    settling: Settling,
    deliveries: mpsc::Sender<Vec<Delivery>>,
) -> End {
    loop {
        let first = tokio::select! {
            biased;
            next = consumer.next() => next,
            () = deliveries.closed() => return End::Unwanted,
        };
        let mut batch = Vec::new();
        let end = gather(&mut consumer, first, &mut batch, |received| delivery(received, &queue, &settling));
        if let Settling::Through(_, tally) = &settling {
            tally.delivered.fetch_add(batch.len() as u64, Ordering::AcqRel);
        }
        if !batch.is_empty() && deliveries.send(batch).await.is_err() {
            return End::Unwanted;
        }
        if let Some(end) = end {
            return end;
        }
    }
}

fn gather(
    consumer: &mut Consumer,
    first: Option<lapin::Result<lapin::message::Delivery>>,
    batch: &mut Vec<Delivery>,
    convert: impl Fn(lapin::message::Delivery) -> Delivery,
) -> Option<End> {
    let mut next = Some(first);
    while let Some(received) = next {
        match received {
            None => return Some(End::Cancelled),
            Some(Err(error)) => return Some(End::Failed(error)),
            Some(Ok(received)) => batch.push(convert(received)),
        }
        next = if batch.len() < BATCH { consumer.next().now_or_never() } else { None };
    }
    None
}

fn delivery(received: lapin::message::Delivery, queue: &Arc<str>, settling: &Settling) -> Delivery {
    let message = convert::to_message(&received.exchange, &received.routing_key, &received.properties, received.data);
    Delivery {
        message: Ok(message),
        queue: queue.clone(),
        redelivered: received.redelivered,
        acker: match settling {
            Settling::NoAck => Acker::settled(),
            Settling::Through(desk, _) => Acker::new(Tag::Number(received.delivery_tag), desk.clone()),
        },
    }
}
