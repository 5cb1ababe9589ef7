//! Queues without acknowledgement (replies): a connection that waits in BRPOP.

use std::{sync::Arc, time::Duration};

use fred::types::Value as Reply;
use tokio::{sync::mpsc, time::timeout};

use crate::broker::{
    Acker, Deliveries, Delivery, envelope,
    redis::{
        keys::Keys,
        link::{self, Link, is_lost},
    },
};

const CAPACITY: usize = 256;
/// How long the server may wait before it answers that there is nothing.
const WAIT: Duration = Duration::from_secs(10);

/// Takes from a queue until the stream is dropped or the connection ends.
pub(super) fn open(link: Link, keys: &Keys, queue: &str) -> Deliveries {
    let (out, deliveries) = mpsc::channel(CAPACITY);
    let mut args: Vec<Reply> = keys.queue_lists(queue).into_iter().map(Reply::from).collect();
    args.push((WAIT.as_secs() as i64).into());
    let queue: Arc<str> = queue.into();
    tokio::spawn(async move {
        tokio::select! {
            () = take(&link, args, &queue, &out) => {}
            () = out.closed() => {}
        }
        link.quit().await;
    });
    deliveries
}

async fn take(link: &Link, args: Vec<Reply>, queue: &Arc<str>, out: &mpsc::Sender<Vec<Delivery>>) {
    loop {
        let reply = match timeout(WAIT * 3, link.call_blocking("BRPOP", args.clone())).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) if !is_lost(&error) => {
                tracing::warn!("cannot take from {queue}: {}", link.error(&error));
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Ok(Err(_)) | Err(_) => return,
        };
        let Reply::Array(mut pair) = reply else { continue };
        let Some(payload) = pair.pop().and_then(link::bytes) else { continue };
        if out.send(vec![delivery(&payload, queue)]).await.is_err() {
            return;
        }
    }
}

fn delivery(payload: &[u8], queue: &Arc<str>) -> Delivery {
    let (message, redelivered) = match envelope::parse(payload) {
        Ok(envelope) => (Ok(envelope.message), envelope.redelivered),
        Err(flaw) => (Err(flaw), false),
    };
    Delivery { message, queue: queue.clone(), redelivered, acker: Acker::settled() }
}
