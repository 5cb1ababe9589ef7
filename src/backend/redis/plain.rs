//! Writing for servers that allow no scripts: Celery's own `GET` and `MULTI`, many at a time.

use std::{collections::HashSet, mem};

use bytes::Bytes;
use fred::{
    interfaces::{KeysInterface, PubsubInterface, TransactionInterface},
    types::{Expiration, Key},
};

use crate::{
    backend::{
        BackendError,
        document::Format,
        redis::{
            link::{Link, Trouble},
            writer::Write,
        },
    },
    protocol::TaskState,
};

/// Writes a part of the batch and leaves the rest; nothing is settled when it fails.
pub(super) async fn attempt(link: &Link, format: &Format, batch: &mut Vec<Write>) -> Result<(), Trouble> {
    let client = link.client().await?;
    let count = distinct(batch);
    let pipeline = client.pipeline();
    for write in &batch[..count] {
        pipeline.get::<(), _>(write.key.clone()).await.map_err(|e| link.trouble(e))?;
    }
    // One reply per key, even for a single one.
    let current = pipeline.try_all::<Option<Bytes>>().await;
    let mut verdicts = Vec::with_capacity(count);
    for current in current {
        verdicts.push(verdict(format, current.map_err(|e| link.trouble(e))?));
    }
    let transaction = client.multi();
    for write in batch[..count].iter().zip(&verdicts).filter_map(|(write, v)| matches!(v, Ok(true)).then_some(write)) {
        let expires = (write.ttl > 0).then_some(Expiration::EX(write.ttl as i64));
        let (key, document) = (write.key.clone(), write.document.clone());
        transaction.set::<(), _, _>(key, document, expires, None, false).await.map_err(|e| link.trouble(e))?;
        let channel = write.key.as_str_lossy().into_owned();
        transaction.publish::<(), _, _>(channel, write.document.clone()).await.map_err(|e| link.trouble(e))?;
    }
    if verdicts.iter().any(|v| matches!(v, Ok(true))) {
        transaction.exec::<fred::types::Value>(true).await.map_err(|e| link.trouble(e))?;
    }
    let rest = batch.split_off(count);
    for (write, verdict) in mem::replace(batch, rest).into_iter().zip(verdicts) {
        write.settle(verdict.map(|_| ()));
    }
    Ok(())
}

/// Whether a document may be written over what is there.
fn verdict(format: &Format, current: Option<Bytes>) -> Result<bool, BackendError> {
    let Some(current) = current else { return Ok(true) };
    let state = format.status_of(&current).map_err(|e| BackendError::Unreadable(e.to_string()))?;
    Ok(state != TaskState::Success)
}

/// How many writes come before the first key repeats: a later state of a task must see the earlier one.
fn distinct(batch: &[Write]) -> usize {
    let mut seen: HashSet<&Key> = HashSet::new();
    batch.iter().take_while(|write| seen.insert(&write.key)).count()
}
