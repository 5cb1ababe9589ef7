//! [`Keeper`]: the task of a ledger that keeps hidden what is held, however long its task takes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::sqs::{
    error::is_stale,
    ledger::Ledger,
    queue::SqsQueue,
    receipt::{Extension, Receipt},
    request::{BATCH, LIMIT, REQUESTS, hide, whole},
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
        // One task per queue: who waits for one keeps no other waiting.
        let mut rounds = JoinSet::new();
        while !self.stop.is_cancelled() {
            let mut by_queue: HashMap<Arc<str>, (Arc<SqsQueue>, Vec<u64>)> = HashMap::new();
            for (number, queue) in self.ledger.due() {
                by_queue.entry(queue.name.clone()).or_insert_with(|| (queue, Vec::new())).1.push(number);
            }
            for (queue, numbers) in by_queue.into_values() {
                rounds.spawn(extend(self.ledger.clone(), queue, numbers));
            }
            tokio::select! {
                () = sleep(self.pace.interval()) => {}
                () = self.pace.changed.notified() => {}
                () = self.stop.cancelled() => {}
            }
            while rounds.try_join_next().is_some() {}
        }
    }
}

async fn extend(ledger: Arc<Ledger>, queue: Arc<SqsQueue>, numbers: Vec<u64>) {
    let batches: Vec<_> = numbers.chunks(BATCH).map(|batch| ledger.begin_extending(batch)).collect();
    stream::iter(batches).for_each_concurrent(REQUESTS, |batch| extend_batch(&ledger, &queue, batch)).await;
}

async fn extend_batch(ledger: &Ledger, queue: &SqsQueue, batch: Vec<(u64, Receipt)>) {
    let (over, held): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, receipt)| extension(receipt).is_zero());
    for (number, receipt) in over {
        lapse(ledger, number, &receipt, "SQS hides no message for longer than twelve hours");
    }
    let Some((_, first)) = held.first() else { return };
    let limit = (first.visibility / PART).clamp(SHORTEST_LOOK, LIMIT);
    let messages: Vec<(&str, i32)> =
        held.iter().map(|(_, receipt)| (receipt.handle.as_str(), whole(extension(receipt)))).collect();
    let failures = match hide(queue, &messages, limit).await {
        Ok(failures) => failures,
        Err(error) => {
            // There is time for another attempt.
            tracing::warn!("{error}");
            for (number, receipt) in &held {
                ledger.extended(*number, &receipt.handle, Extension::Later);
            }
            return;
        }
    };
    for (index, (number, receipt)) in held.iter().enumerate() {
        match failures.iter().find(|failure| failure.index == index) {
            None => {
                ledger.extended(*number, &receipt.handle, Extension::For(extension(receipt)));
            }
            Some(failure) if is_stale(&failure.code) => lapse(ledger, *number, receipt, &failure.reason),
            Some(_) => {
                ledger.extended(*number, &receipt.handle, Extension::Later);
            }
        }
    }
}

fn lapse(ledger: &Ledger, number: u64, receipt: &Receipt, reason: &str) {
    if ledger.extended(number, &receipt.handle, Extension::Lapsed) {
        let Receipt { task, queue, .. } = receipt;
        tracing::warn!("a message of {task} in queue '{}' may be delivered a second time: {reason}", queue.name);
    }
}

/// For how long it can be hidden from now on; whole seconds, none if that is over.
fn extension(receipt: &Receipt) -> Duration {
    let left = LONGEST.saturating_sub(receipt.since.elapsed() + Duration::from_secs(1));
    Duration::from_secs(receipt.visibility.min(left).as_secs())
}
