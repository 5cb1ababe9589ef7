//! [`Door`]: what Unix signals and a service manager may ask of the worker while it runs.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{BrokerError, Connection},
    pool::Pool,
    worker::{SessionHook, TaskInfo, WorkerHandle},
};

/// How long a worker that is busy otherwise, or on its way out, is waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// Cheap to clone. Nobody is at home until the worker is assembled.
#[derive(Clone, Default)]
pub struct Door {
    inside: Arc<OnceLock<Inside>>,
    /// Whether it has consumed.
    ready: watch::Sender<bool>,
}

struct Inside {
    handle: WorkerHandle,
    pool: Option<Arc<dyn Pool>>,
    /// Cancelled when the worker begins to stop, for whatever reason.
    stopping: CancellationToken,
}

/// What runs.
#[derive(Debug, Clone, Default)]
pub struct Running {
    /// None where the worker does not say any more, because it is on its way out.
    pub tasks: Option<Vec<RunningTask>>,
    /// Process ids of the children.
    pub children: Vec<i32>,
}

/// A task that runs.
#[derive(Debug, Clone)]
pub struct RunningTask {
    /// `name[id]`.
    pub task: String,
    /// The process it runs in.
    pub pid: i32,
    /// For how long.
    pub since: Duration,
}

impl Door {
    /// Resolves once the worker has begun to consume for the first time; never for one that does not get that far.
    pub async fn ready(&self) {
        if self.ready.subscribe().wait_for(|ready| *ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when the worker begins to stop, once it has been ready.
    pub async fn stopping(&self) {
        self.ready().await;
        match self.inside.get() {
            Some(inside) => inside.stopping.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether the worker's own loop does its work: one that hangs does not answer at all. One that stops has none any more,
    /// and may take its time.
    pub async fn answers(&self) -> bool {
        let Some(inside) = self.inside.get() else { return false };
        tokio::select! {
            answer = inside.handle.ask(|_| ()) => answer.is_some(),
            () = inside.stopping.cancelled() => true,
        }
    }

    /// What runs now.
    pub async fn running(&self) -> Running {
        let Some(Inside { handle, pool, .. }) = self.inside.get() else { return Running::default() };
        let asked = tokio::time::timeout(ANSWER, handle.ask(|dispatcher| dispatcher.active())).await;
        let tasks = asked.ok().flatten().map(|tasks| tasks.iter().filter_map(running).collect());
        Running { tasks, children: pool.as_ref().map(|pool| pool.pids()).unwrap_or_default() }
    }

    /// Has a child write its Python stacks to stderr.
    pub fn show_stacks(&self, pid: i32) {
        if let Some(Inside { pool: Some(pool), .. }) = self.inside.get() {
            pool.show_stacks(pid);
        }
    }

    /// To be called once.
    pub(super) fn open(&self, handle: WorkerHandle, pool: Option<Arc<dyn Pool>>, stopping: CancellationToken) {
        let _ = self.inside.set(Inside { handle, pool, stopping });
    }
}

impl SessionHook for Door {
    fn on_session<'a>(&'a self, _: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.ready.send_replace(true);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn running(task: &TaskInfo) -> Option<RunningTask> {
    let accepted = task.accepted?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Some(RunningTask {
        task: format!("{}[{}]", task.headers.display_name(), task.headers.id),
        pid: accepted.pid,
        since: Duration::try_from_secs_f64(now - accepted.at).unwrap_or_default(),
    })
}
