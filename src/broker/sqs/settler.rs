//! [`Settler`]: the task of a ledger that tells SQS what has become of messages.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use indexmap::IndexMap;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    Settlement,
    sqs::{
        error::{SqsError, Trouble, is_stale},
        ledger::Ledger,
        queue::SqsQueue,
        receipt::{End, Ended, Receipt},
        request::{BATCH, Failure, LIMIT, REQUESTS, delete, hide, whole},
    },
};

/// What an end means for SQS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Delete,
    /// To be deleted as well, unless SQS itself takes away what nobody wants.
    Reject,
    Hide(i32),
    /// Its own policy will take care of it.
    Nothing,
}

/// Settles what the ledger says.
pub(super) struct Settler {
    pub ledger: Arc<Ledger>,
    /// How long a message stays away that goes back to its queue: kombu's `wait_time_seconds`.
    pub requeue_after: Duration,
    /// Nobody uses the transport any more.
    pub stop: CancellationToken,
}

impl Settler {
    /// Runs as long as somebody uses the transport.
    pub async fn run(self) {
        // One task per queue: who waits for one keeps no other waiting.
        let (mut rounds, mut busy) = (JoinSet::new(), HashSet::new());
        while !self.stop.is_cancelled() {
            for (queue, ended) in by_queue(self.ledger.drain(BATCH * REQUESTS, &busy)) {
                busy.insert(queue.clone());
                let (ledger, batches) = (self.ledger.clone(), self.batches(ended));
                rounds.spawn(async move {
                    settle(&ledger, batches).await;
                    queue
                });
            }
            tokio::select! {
                () = self.ledger.woken.notified() => {}
                () = until(self.ledger.next_attempt(&busy)) => {}
                Some(done) = rounds.join_next() => match done {
                    Ok(queue) => drop(busy.remove(&queue)),
                    // Which one it was is not known. There is nothing in a round that panics.
                    Err(_) => busy.clear(),
                },
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// In the order in which they ended, by what is to be done.
    fn batches(&self, ended: Vec<Ended>) -> Vec<(Action, Vec<Ended>)> {
        let mut groups: IndexMap<Action, Vec<Ended>> = IndexMap::new();
        for one in ended {
            groups.entry(self.action(&one)).or_default().push(one);
        }
        let mut batches = Vec::new();
        for (action, mut group) in groups {
            while group.len() > BATCH {
                let rest = group.split_off(BATCH);
                batches.push((action, std::mem::replace(&mut group, rest)));
            }
            batches.push((action, group));
        }
        batches
    }

    fn action(&self, ended: &Ended) -> Action {
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
            (Settlement::Drop, None) => Action::Reject,
        }
    }
}

fn by_queue(ended: Vec<Ended>) -> HashMap<Arc<str>, Vec<Ended>> {
    let mut queues: HashMap<Arc<str>, Vec<Ended>> = HashMap::new();
    for one in ended {
        queues.entry(one.receipt.queue.name.clone()).or_default().push(one);
    }
    queues
}

/// What cannot be settled now waits on.
async fn settle(ledger: &Ledger, batches: Vec<(Action, Vec<Ended>)>) {
    let mut failed: Vec<Ended> = stream::iter(batches)
        .map(|(action, batch)| send(ledger, action, batch))
        .buffer_unordered(REQUESTS)
        .flat_map(stream::iter)
        .collect()
        .await;
    if !failed.is_empty() {
        failed.sort_by_key(|ended| ended.number);
        ledger.put_back(failed);
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
    ledger.done(done.into_iter().map(|(_, ended)| ended).collect());
    again.into_iter().map(|(_, ended)| ended).collect()
}

async fn request(queue: &SqsQueue, action: Action, batch: &[Ended]) -> Result<Vec<Failure>, SqsError> {
    let handles: Vec<&str> = batch.iter().map(|ended| ended.receipt.handle.as_str()).collect();
    match action {
        Action::Reject if queue.has_redrive_policy().await => Ok(Vec::new()),
        Action::Delete | Action::Reject => delete(queue, &handles).await,
        Action::Hide(seconds) => {
            let messages: Vec<_> = handles.into_iter().map(|handle| (handle, seconds)).collect();
            hide(queue, &messages, LIMIT).await
        }
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
