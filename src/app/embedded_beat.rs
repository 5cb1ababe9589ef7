//! [`EmbeddedBeat`]: what `-B` runs beside a worker.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    beat::Beat,
    pool::prefork::PreforkPool,
    worker::{Shutdown, StopReason},
};

/// Seconds between the end of a process that nobody has told to end and the next one.
const AGAIN: Duration = Duration::from_secs(2);

/// Who runs the schedule of a worker with `-B`.
pub enum EmbeddedBeat {
    /// This process.
    Ours(Box<Beat>),
    /// Celery's own beat, in a process that the pool's zygote forks.
    Celerys {
        /// Whose zygote.
        pool: Arc<PreforkPool>,
        /// Why, as half a sentence.
        reason: String,
    },
}

impl EmbeddedBeat {
    /// Runs until it is stopped. What keeps it from running is told in the log, and the worker goes on.
    async fn run(self, stop: CancellationToken) {
        match self {
            Self::Ours(beat) => {
                if let Err(error) = beat.run(stop).await {
                    tracing::error!(target: "celery.beat", critical = true, "beat raised exception: {error}");
                }
            }
            Self::Celerys { pool, reason } => {
                tracing::info!(target: "celery.beat", "Celery's own beat runs in a process of its own, since {reason}");
                in_a_process(&pool, &stop).await;
            }
        }
    }
}

/// One process after the other: a beat that has died would be missed by nobody.
async fn in_a_process(pool: &PreforkPool, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let process = match pool.beat() {
            Ok(process) => process,
            Err(error) => return tracing::error!(target: "celery.beat", "beat cannot be started: {error}"),
        };
        tokio::select! {
            () = stop.cancelled() => return process.stop().await,
            () = process.ended() => {}
        }
        if tokio::time::timeout(AGAIN, stop.cancelled()).await.is_err() {
            tracing::error!(target: "celery.beat", "beat has ended; starting another one");
        }
    }
}

/// Runs a worker, and a beat beside it until the worker is told to stop or has ended.
pub(super) async fn beside(
    beat: Option<EmbeddedBeat>,
    mut asked: watch::Receiver<Option<Shutdown>>,
    worker: impl Future<Output = StopReason>,
) -> StopReason {
    let Some(beat) = beat else { return worker.await };
    let stop = CancellationToken::new();
    let running = tokio::spawn(beat.run(stop.clone()));
    let stopped = async {
        if asked.wait_for(Option::is_some).await.is_ok() {
            tracing::info!(target: "celery.beat", "beat: Shutting down...");
            stop.cancel();
        }
        std::future::pending().await
    };
    let reason = tokio::select! {
        reason = worker => reason,
        never = stopped => never,
    };
    stop.cancel();
    if let Err(error) = running.await {
        tracing::error!(target: "celery.beat", "beat broke off: {error}");
    }
    reason
}
