//! [`Settler`]: the task of a ledger that tells SQS what has become of messages.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    Settlement,
    sqs::{
        error::{SqsError, Trouble, is_stale},
        ledger::{End, Ended, Ledger, Receipt},
        queue::SqsQueue,
        request::{BATCH, Failure, LIMIT, REQUESTS, delete, hide, whole},
    },
};

/// What an end means for SQS.
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
    /// How long a message stays away that goes back to its queue: kombu's `wait_time_seconds`.
    pub requeue_after: Duration,
    /// Nobody does any more.
    pub stop: CancellationToken,
}

impl Settler {
    /// Runs as long as somebody uses the transport.
    pub async fn run(self) {
        while !self.stop.is_cancelled() {
            let ended = self.ledger.drain(BATCH * REQUESTS);
            if ended.is_empty() {
                tokio::select! {
                    () = self.ledger.woken.notified() => {}
                    () = until(self.ledger.next_attempt()) => {}
                    () = self.stop.cancelled() => {}
                }
            } else {
                self.settle(ended).await;
            }
        }
    }

    /// What cannot be settled now waits on.
    async fn settle(&self, ended: Vec<Ended>) {
        let mut failed: Vec<Ended> = stream::iter(self.batches(ended).await)
            .map(|(action, batch)| send(&self.ledger, action, batch))
            .buffer_unordered(REQUESTS)
            .flat_map(stream::iter)
            .collect()
            .await;
        if !failed.is_empty() {
            failed.sort_by_key(|ended| ended.number);
            self.ledger.put_back(failed);
        }
    }

    async fn batches(&self, ended: Vec<Ended>) -> Vec<(Action, Vec<Ended>)> {
        let mut groups: HashMap<(Arc<str>, Action), Vec<Ended>> = HashMap::new();
        for one in ended {
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

    async fn action(&self, ended: &Ended) -> Action {
        let Receipt { queue, task, received, .. } = &ended.receipt;
        let settlement = match ended.end {
            End::Released => return Action::Hide(0),
            End::Settled(settlement) => settlement,
        };
        let backoff = queue.predefined.as_ref().and_then(|queue| queue.backoff(task, *received));
        match (settlement, backoff) {
            (Settlement::Ack, _) => Action::Delete,
            (_, Some(Some(away))) => Action::Hide(whole(away)),
            (Settlement::Requeue, _) => Action::Hide(whole(self.requeue_after)),
            (Settlement::Drop, Some(None)) => Action::Nothing,
            (Settlement::Drop, None) if queue.has_redrive_policy().await => Action::Nothing,
            (Settlement::Drop, None) => Action::Delete,
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What is to be tried again.
async fn send(ledger: &Ledger, action: Action, batch: Vec<Ended>) -> Vec<Ended> {
    let Some(queue) = batch.first().map(|ended| ended.receipt.queue.clone()) else { return batch };
    let again = match request(&queue, action, &batch).await {
        Ok(failures) => failures.iter().filter_map(|failure| tried_again(&queue, failure)).collect(),
        Err(error) if matches!(error.trouble, Trouble::Gone | Trouble::Refused) => {
            tracing::error!("what became of {} message(s) cannot be told: {error}", batch.len());
            Vec::new()
        }
        Err(error) => {
            tracing::warn!("{error}; it is tried again");
            (0..batch.len()).collect()
        }
    };
    let (again, done): (Vec<_>, Vec<_>) = batch.into_iter().enumerate().partition(|(index, _)| again.contains(index));
    ledger.done(&done.into_iter().map(|(_, ended)| ended).collect::<Vec<_>>());
    again.into_iter().map(|(_, ended)| ended).collect()
}

async fn request(queue: &SqsQueue, action: Action, batch: &[Ended]) -> Result<Vec<Failure>, SqsError> {
    let handles = batch.iter().map(|ended| ended.receipt.handle.as_str());
    match action {
        Action::Delete => delete(queue, &handles.collect::<Vec<_>>()).await,
        Action::Hide(seconds) => hide(queue, &handles.map(|handle| (handle, seconds)).collect::<Vec<_>>(), LIMIT).await,
        Action::Nothing => Ok(Vec::new()),
    }
}

fn tried_again(queue: &SqsQueue, failure: &Failure) -> Option<usize> {
    if is_stale(&failure.code) {
        tracing::warn!("a message of queue '{}' is no longer ours to settle: {}", queue.name, failure.reason);
        return None;
    }
    tracing::warn!("a message of queue '{}' cannot be settled yet: {}", queue.name, failure.reason);
    Some(failure.index)
}
