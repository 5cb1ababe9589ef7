//! [`Writer`]: everyone's rows in few transactions. Knows no database.
//!
//! One transaction is on its way at a time, so that the states of a task arrive in their order whatever is tried again.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::backend::{
    AlwaysRetry, BackendError,
    database::{
        retry::Patience,
        session::{Session, TaskRow, Trouble},
    },
};

/// Rows in one transaction.
const MAX_ROWS: usize = 256;
/// Bytes of results in one transaction, unless one alone is larger.
const MAX_BYTES: usize = 4 << 20;

/// Where rows are handed in. The writing task ends when this is dropped and everything is written.
pub(super) struct Writer {
    queue: mpsc::UnboundedSender<Order>,
    closing: CancellationToken,
    /// Counted by the writing task.
    retries: Arc<AtomicU64>,
}

enum Order {
    Write(Box<Write>),
    /// Settled when everything before it is.
    Flush(oneshot::Sender<()>),
}

/// A row on its way.
struct Write {
    row: TaskRow,
    done: oneshot::Sender<Result<(), BackendError>>,
}

impl Writer {
    /// Starts the writing task; with `prepares` it connects at once.
    pub(super) fn spawn(
        session: Box<dyn Session>,
        policy: AlwaysRetry,
        prepares: bool,
        closing: CancellationToken,
    ) -> Self {
        let (queue, orders) = mpsc::unbounded_channel();
        let retries = Arc::<AtomicU64>::default();
        let task = WriterTask { session, policy, closing: closing.clone(), retries: retries.clone() };
        tokio::spawn(task.run(orders, prepares));
        Self { queue, closing, retries }
    }

    /// Resolves when the row is stored, or its task has a success that nothing replaces.
    pub(super) async fn store(&self, row: TaskRow) -> Result<(), BackendError> {
        let (done, settled) = oneshot::channel();
        let closed = || BackendError::Unreachable("the result backend is closed".to_owned());
        if self.closing.is_cancelled() {
            return Err(closed());
        }
        self.queue.send(Order::Write(Box::new(Write { row, done }))).map_err(|_| closed())?;
        settled.await.map_err(|_| closed())?
    }

    /// How often writing had to be tried again.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Resolves when everything handed in so far is settled.
    pub(super) async fn flush(&self) {
        let (done, settled) = oneshot::channel();
        if self.queue.send(Order::Flush(done)).is_ok() {
            let _ = settled.await;
        }
    }
}

struct WriterTask {
    session: Box<dyn Session>,
    policy: AlwaysRetry,
    closing: CancellationToken,
    retries: Arc<AtomicU64>,
}

impl WriterTask {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, prepares: bool) {
        if prepares && let Err(Trouble::Passing(reason) | Trouble::Refused(reason)) = self.session.prepare().await {
            // As with Celery, a worker starts without its result backend; the first result tries again.
            tracing::error!(target: "celery.backends.database", "The result database cannot be used yet: {reason}");
        }
        let mut taken = Vec::new();
        while orders.recv_many(&mut taken, MAX_ROWS).await > 0 {
            let (mut writes, mut flushes) = (Vec::new(), Vec::new());
            for order in taken.drain(..) {
                match order {
                    Order::Write(write) => writes.push(*write),
                    Order::Flush(done) => flushes.push(done),
                }
            }
            for batch in batches(writes) {
                self.write(batch).await;
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
        self.session.close().await;
    }

    async fn write(&mut self, batch: Vec<Write>) {
        let (rows, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|write| (write.row, write.done)).unzip();
        let outcome = self.attempt(&rows).await;
        if rows.len() > 1 && matches!(outcome, Err(BackendError::Refused(_))) {
            // The one that is refused shall not take the others with it.
            for (row, done) in rows.into_iter().zip(waiting) {
                let _ = done.send(self.attempt(&[row]).await);
            }
            return;
        }
        for done in waiting {
            // Nobody may wait any more: the caller was cancelled.
            let _ = done.send(outcome.clone());
        }
    }

    async fn attempt(&mut self, rows: &[TaskRow]) -> Result<(), BackendError> {
        let mut patience: Option<Patience<'_>> = None;
        loop {
            match self.session.write(rows).await {
                Err(Trouble::Passing(reason)) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    let patience = patience
                        .get_or_insert_with(|| Patience::for_write("_store_result", self.policy, &self.closing));
                    patience.wait(&reason).await?;
                }
                written => return Ok(written?),
            }
        }
    }
}

/// Splits what was taken off the queue: a later state of a task comes after the earlier one.
fn batches(taken: Vec<Write>) -> Vec<Vec<Write>> {
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let (mut bytes, mut seen) = (usize::MAX, HashSet::new());
    for write in taken {
        let size = write.row.row.result.as_ref().map_or(0, bytes::Bytes::len);
        bytes = bytes.saturating_add(size);
        if bytes > MAX_BYTES || !seen.insert(write.row.task_id.clone()) {
            bytes = size;
            seen = HashSet::from([write.row.task_id.clone()]);
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(write);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::row::Row;

    fn write(task_id: &str, size: usize) -> Write {
        let row = Row { result: Some(vec![0; size].into()), ..Row::default() };
        Write { row: TaskRow { task_id: task_id.to_owned(), row }, done: oneshot::channel().0 }
    }

    #[test]
    fn a_batch_has_no_task_twice_and_is_not_too_large() {
        let sizes = |writes: Vec<Write>| batches(writes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec![write("a", 1), write("b", 1), write("a", 1), write("b", 1)]), [2, 2]);
        assert_eq!(sizes(vec![write("a", MAX_BYTES + 1), write("b", 1), write("c", MAX_BYTES)]), [1, 1, 1]);
    }
}
