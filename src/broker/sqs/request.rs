//! Requests about messages that were received, ten at a time and each with a limit of time.

use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use tokio::time::timeout;

use crate::broker::sqs::{
    error::{SqsError, Trouble},
    queue::SqsQueue,
};

/// SQS takes this many in one request.
pub(super) const BATCH: usize = 10;
/// Requests at once.
pub(super) const REQUESTS: usize = 16;
/// How long one may take, with all attempts of Amazon's client. A poll may take longer.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// An entry of a batch that failed, by its place in it.
pub(super) struct Failure {
    pub index: usize,
    pub code: String,
    pub reason: String,
}

/// Hides each message of a queue for so many seconds from now; 0 gives it back at once.
pub(super) async fn hide(
    queue: &SqsQueue,
    messages: &[(&str, i32)],
    limit: Duration,
) -> Result<Vec<Failure>, SqsError> {
    let entries = messages.iter().enumerate().map(|(index, (handle, seconds))| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder();
        entry.id(index.to_string()).receipt_handle(*handle).visibility_timeout(*seconds).build()
    });
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(&error))?;
    let request = queue.client.change_message_visibility_batch().queue_url(&queue.url).set_entries(Some(entries));
    let what = format!("messages of queue '{}' cannot be hidden or given back", queue.name);
    let answer = timeout(limit, request.send()).await.map_err(|_| SqsError::late(&what))?;
    answer.map(|answer| failures(answer.failed)).map_err(|error| SqsError::of(&what, &error))
}

/// Deletes messages of a queue.
pub(super) async fn delete(queue: &SqsQueue, handles: &[&str]) -> Result<Vec<Failure>, SqsError> {
    let entries = handles.iter().enumerate().map(|(index, handle)| {
        DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(*handle).build()
    });
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(&error))?;
    let request = queue.client.delete_message_batch().queue_url(&queue.url).set_entries(Some(entries));
    let what = format!("messages of queue '{}' cannot be acknowledged", queue.name);
    let answer = timeout(LIMIT, request.send()).await.map_err(|_| SqsError::late(&what))?;
    answer.map(|answer| failures(answer.failed)).map_err(|error| SqsError::of(&what, &error))
}

/// Whole seconds.
pub(super) fn whole(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

fn failures(entries: Vec<BatchResultErrorEntry>) -> Vec<Failure> {
    let read = |entry: BatchResultErrorEntry| {
        let reason = entry.message.unwrap_or_else(|| entry.code.clone());
        Some(Failure { index: entry.id.parse().ok()?, code: entry.code, reason })
    };
    entries.into_iter().filter_map(read).collect()
}

fn unbuilt(error: &dyn std::error::Error) -> SqsError {
    SqsError::new(Trouble::Refused, error.to_string())
}
