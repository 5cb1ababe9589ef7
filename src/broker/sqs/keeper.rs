//! [`Keeper`]: the task of a ledger that keeps hidden what is held, however long its task takes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::sqs::{
    error::is_stale,
    ledger::{Extension, Ledger, Receipt},
    queue::SqsQueue,
    request::{BATCH, Failure, LIMIT, REQUESTS, hide, whole},
};

/// How often to look, at least and at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// What is due is looked for this many times within the shortest visibility timeout. It is due after half of that.
const LOOKS: u32 = 8;
/// A request is given this part of the time that is left then.
const PART: u32 = 4;
/// SQS hides a message for no longer than this, however often it is asked.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// Extends visibility timeouts as long as somebody uses the transport.
pub(super) struct Keeper {
    pub ledger: Arc<Ledger>,
    pub pace: Arc<Pace>,
    /// Nobody does any more.
    pub stop: CancellationToken,
}

/// How often to look.
#[derive(Default)]
pub(super) struct Pace {
    shortest: Mutex<Option<Duration>>,
    changed: Notify,
}

impl Pace {
    /// A queue is consumed whose messages stay hidden for so long.
    pub fn include(&self, visibility: Duration) {
        let mut shortest = self.shortest.lock().unwrap_or_else(PoisonError::into_inner);
        *shortest = Some(shortest.map_or(visibility, |known| known.min(visibility)));
        self.changed.notify_one();
    }

    fn interval(&self) -> Duration {
        let shortest = *self.shortest.lock().unwrap_or_else(PoisonError::into_inner);
        shortest.map_or(LONGEST_LOOK, |shortest| (shortest / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK))
    }
}

impl Keeper {
    pub async fn run(self) {
        while !self.stop.is_cancelled() {
            extend(&self.ledger).await;
            tokio::select! {
                () = sleep(self.pace.interval()) => {}
                () = self.pace.changed.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}

async fn extend(ledger: &Ledger) {
    let mut by_queue: HashMap<Arc<str>, (Arc<SqsQueue>, Vec<u64>)> = HashMap::new();
    for (number, queue) in ledger.due() {
        by_queue.entry(queue.name.clone()).or_insert_with(|| (queue, Vec::new())).1.push(number);
    }
    let mut batches = Vec::new();
    for (queue, numbers) in by_queue.into_values() {
        batches.extend(numbers.chunks(BATCH).map(|batch| (queue.clone(), batch.to_vec())));
    }
    stream::iter(batches)
        .for_each_concurrent(REQUESTS, |(queue, batch)| async move { extend_batch(ledger, &queue, &batch).await })
        .await;
}

async fn extend_batch(ledger: &Ledger, queue: &SqsQueue, numbers: &[u64]) {
    let held = ledger.begin_extending(numbers);
    let Some((_, first)) = held.first() else { return };
    let limit = (first.visibility / PART).clamp(SHORTEST_LOOK, LIMIT);
    let messages: Vec<(&str, i32)> =
        held.iter().map(|(_, receipt)| (receipt.handle.as_str(), whole(extension(receipt)))).collect();
    let failures = hide(queue, &messages, limit).await;
    if let Err(error) = &failures {
        // There is time for another attempt.
        tracing::warn!("{error}");
    }
    for (index, (number, receipt)) in held.iter().enumerate() {
        let failure = failures.as_ref().map(|failures| failures.iter().find(|failure| failure.index == index));
        let outcome = match failure {
            Ok(None) => Extension::Done,
            Ok(Some(failure)) if is_stale(&failure.code) => Extension::Lapsed,
            _ => Extension::Later,
        };
        let is_held = ledger.extended(*number, outcome);
        if let (Ok(Some(Failure { reason, .. })), Extension::Lapsed, true) = (failure, outcome, is_held) {
            let name = &queue.name;
            tracing::warn!("a message of {} in queue '{name}' may be delivered a second time: {reason}", receipt.task);
        }
    }
}

/// For how long it can be hidden from now on. Where that is over, SQS says so.
fn extension(receipt: &Receipt) -> Duration {
    let second = Duration::from_secs(1);
    receipt.visibility.min(LONGEST.saturating_sub(receipt.since.elapsed() + second)).max(second)
}
