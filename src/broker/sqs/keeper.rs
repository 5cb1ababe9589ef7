//! [`Keeper`]: the task of a connection that keeps hidden what is held, however long its task takes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::broker::sqs::{
    ledger::{Ledger, Receipt},
    link::Link,
    settler::{BATCH, hide, whole},
};

/// How often to look, at least and at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// What is due is looked for this many times within the shortest visibility timeout. It is due after half of that.
const LOOKS: u32 = 8;

/// Extends visibility timeouts until the connection ends.
pub(super) struct Keeper {
    pub ledger: Arc<Ledger>,
    pub link: Arc<Link>,
    pub pace: Arc<Pace>,
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
        while self.link.reason().is_none() {
            self.extend(self.ledger.due()).await;
            tokio::select! {
                () = sleep(self.pace.interval()) => {}
                () = self.pace.changed.notified() => {}
                () = self.link.ended() => {}
            }
        }
    }

    async fn extend(&self, due: Vec<(u64, Receipt)>) {
        let mut by_queue: HashMap<Arc<str>, Vec<(u64, Receipt)>> = HashMap::new();
        for one in due {
            by_queue.entry(one.1.queue.name.clone()).or_default().push(one);
        }
        for held in by_queue.into_values() {
            for batch in held.chunks(BATCH) {
                self.extend_batch(batch).await;
            }
        }
    }

    async fn extend_batch(&self, batch: &[(u64, Receipt)]) {
        let (queue, seconds) = (&batch[0].1.queue, whole(batch[0].1.visibility));
        let handles: Vec<&str> = batch.iter().map(|(_, receipt)| receipt.handle.as_str()).collect();
        let failures = match hide(queue, &handles, seconds).await {
            Ok(failures) => failures,
            // There is time for another attempt.
            Err(error) => return tracing::warn!("{error}"),
        };
        let failed: HashMap<usize, _> =
            failures.iter().filter_map(|failure| Some((failure.id.parse().ok()?, failure))).collect();
        for (index, (number, receipt)) in batch.iter().enumerate() {
            match failed.get(&index) {
                None => self.ledger.extended(*number),
                Some(failure) if failure.sender_fault => {
                    self.ledger.lapsed(*number);
                    let reason = failure.message.as_deref().unwrap_or(&failure.code);
                    let Receipt { task, queue, .. } = receipt;
                    tracing::warn!(
                        "a message of {task} in queue '{}' may be delivered a second time: {reason}",
                        queue.name
                    );
                }
                Some(_) => {}
            }
        }
    }
}
