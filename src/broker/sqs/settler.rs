//! [`Settler`]: the task of a connection that tells SQS what has become of messages, ten at a time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use futures::{StreamExt, stream};
use tokio::{sync::Mutex, time::sleep};

use crate::broker::{
    BrokerError, BrokerErrorKind, Settlement,
    sqs::{
        error::{broker_error, lost},
        ledger::{Ledger, Receipt, Settled},
        link::Link,
        queue::SqsQueue,
    },
};

/// SQS takes this many in one request.
pub(super) const BATCH: usize = 10;
/// Requests at once.
const REQUESTS: usize = 16;
/// How long to rest where SQS could not do some of it.
const REST: Duration = Duration::from_secs(1);

/// What a settlement means for SQS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Delete,
    Hide(i32),
    /// Its own policy will take care of it.
    Nothing,
}

/// Settles what the ledger says.
pub(super) struct Settler {
    pub ledger: Arc<Ledger>,
    pub link: Arc<Link>,
    /// How long a message stays away that goes back to its queue: kombu's `wait_time_seconds`.
    pub requeue_after: Duration,
    /// Held while settlements are on their way: a connection closes after them.
    pub turn: Mutex<()>,
}

impl Settler {
    /// Runs until the connection ends.
    pub async fn run(self: Arc<Self>) {
        while self.link.reason().is_none() {
            if self.settle().await == 0 {
                tokio::select! {
                    () = self.ledger.woken.notified() => {}
                    () = self.link.ended() => {}
                }
            }
        }
    }

    /// Settles what waits now; how many settlements there were. What could not be sent waits on.
    pub async fn settle(&self) -> usize {
        let _turn = self.turn.lock().await;
        let settled = self.ledger.drain(BATCH * REQUESTS);
        let count = settled.len();
        let mut failed: Vec<Settled> = stream::iter(self.batches(settled).await)
            .map(|(action, batch)| self.send(action, batch))
            .buffer_unordered(REQUESTS)
            .flat_map(stream::iter)
            .collect()
            .await;
        if !failed.is_empty() {
            failed.sort_by_key(|settled| settled.number);
            self.ledger.put_back(failed);
            sleep(REST).await;
        }
        count
    }

    async fn batches(&self, settled: Vec<Settled>) -> Vec<(Action, Vec<Settled>)> {
        let mut groups: HashMap<(Arc<str>, Action), Vec<Settled>> = HashMap::new();
        for one in settled {
            let action = self.action(&one).await;
            groups.entry((one.receipt.queue.name.clone(), action)).or_default().push(one);
        }
        let mut batches = Vec::new();
        for ((_, action), mut group) in groups {
            while group.len() > BATCH {
                let rest = group.split_off(BATCH);
                batches.push((action, std::mem::replace(&mut group, rest)));
            }
            batches.push((action, group));
        }
        batches
    }

    async fn action(&self, settled: &Settled) -> Action {
        let Receipt { queue, task, received, .. } = &settled.receipt;
        let backoff = queue.predefined.as_ref().and_then(|queue| queue.backoff(task, *received));
        match (settled.settlement, backoff) {
            (Settlement::Ack, _) => Action::Delete,
            (_, Some(Some(away))) => Action::Hide(whole(away)),
            (Settlement::Requeue, _) => Action::Hide(whole(self.requeue_after)),
            (Settlement::Drop, Some(None)) => Action::Nothing,
            (Settlement::Drop, None) if queue.has_redrive_policy().await => Action::Nothing,
            (Settlement::Drop, None) => Action::Delete,
        }
    }

    /// What is to be tried again.
    async fn send(&self, action: Action, batch: Vec<Settled>) -> Vec<Settled> {
        let Some(queue) = batch.first().map(|settled| settled.receipt.queue.clone()) else { return batch };
        let handles: Vec<&str> = batch.iter().map(|settled| settled.receipt.handle.as_str()).collect();
        let sent = match action {
            Action::Delete => delete(&queue, &handles).await,
            Action::Hide(seconds) => hide(&queue, &handles, seconds).await,
            Action::Nothing => Ok(Vec::new()),
        };
        match sent {
            Ok(failures) => {
                let again: Vec<usize> = failures.iter().filter_map(|failure| self.retried(&queue, failure)).collect();
                let numbered = batch.into_iter().enumerate();
                numbered.filter(|(index, _)| again.contains(index)).map(|(_, settled)| settled).collect()
            }
            Err(error) if error.kind() == BrokerErrorKind::ConnectionLost => {
                self.link.end(lost(&error));
                batch
            }
            Err(error) => {
                tracing::error!("{} message(s) will be delivered again: {error}", batch.len());
                Vec::new()
            }
        }
    }

    /// The index of an entry that is to be sent again.
    fn retried(&self, queue: &SqsQueue, failure: &BatchResultErrorEntry) -> Option<usize> {
        let reason = failure.message.as_deref().unwrap_or(&failure.code);
        if failure.sender_fault {
            tracing::warn!("a message of queue '{}' is no longer ours to settle: {reason}", queue.name);
            return None;
        }
        failure.id.parse().ok()
    }
}

/// Hides messages of a queue for so many seconds from now; 0 gives them back at once. Entries that failed have their index as
/// their id.
pub(super) async fn hide(
    queue: &SqsQueue,
    handles: &[&str],
    seconds: i32,
) -> Result<Vec<BatchResultErrorEntry>, BrokerError> {
    let entry = |(index, handle): (usize, &&str)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder();
        entry.id(index.to_string()).receipt_handle(*handle).visibility_timeout(seconds).build()
    };
    let entries: Result<Vec<_>, _> = handles.iter().enumerate().map(entry).collect();
    let entries = entries.map_err(|error| BrokerError::refused(error.to_string()))?;
    let request = queue.client.change_message_visibility_batch().queue_url(&queue.url).set_entries(Some(entries));
    let answer = request.send().await;
    let what = || format!("messages of queue '{}' cannot be hidden or given back", queue.name);
    answer.map(|answer| answer.failed).map_err(|error| broker_error(&what(), &error))
}

async fn delete(queue: &SqsQueue, handles: &[&str]) -> Result<Vec<BatchResultErrorEntry>, BrokerError> {
    let entry = |(index, handle): (usize, &&str)| {
        DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(*handle).build()
    };
    let entries: Result<Vec<_>, _> = handles.iter().enumerate().map(entry).collect();
    let entries = entries.map_err(|error| BrokerError::refused(error.to_string()))?;
    let answer = queue.client.delete_message_batch().queue_url(&queue.url).set_entries(Some(entries)).send().await;
    let what = || format!("messages of queue '{}' cannot be acknowledged", queue.name);
    answer.map(|answer| answer.failed).map_err(|error| broker_error(&what(), &error))
}

/// Gives back what was received and nobody will run; how many messages. What cannot be given back comes back by itself.
pub(super) async fn give_back(receipts: Vec<Receipt>) -> usize {
    let mut by_queue: HashMap<Arc<str>, Vec<Receipt>> = HashMap::new();
    for receipt in receipts {
        by_queue.entry(receipt.queue.name.clone()).or_default().push(receipt);
    }
    let mut given = 0;
    for receipts in by_queue.into_values() {
        for batch in receipts.chunks(BATCH) {
            let handles: Vec<&str> = batch.iter().map(|receipt| receipt.handle.as_str()).collect();
            match hide(&batch[0].queue, &handles, 0).await {
                Ok(failures) => given += batch.len() - failures.len(),
                Err(error) => tracing::warn!("{} message(s) come back by themselves: {error}", batch.len()),
            }
        }
    }
    given
}

pub(super) fn whole(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}
