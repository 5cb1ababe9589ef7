//! [`InMemory`]: an app's native tasks at work in this process, over a broker and a result backend in memory. For tests of tasks.
//!
//! It is the whole worker, with the real messages, but for its neighbours: no remote control, no events. It is no way to run
//! tasks in earnest: what is in memory ends with the process.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::plan::{Plan, Results};
use crate::{
    app::{App, AppError},
    backend::{Format, ResultBackend, memory::MemoryBackend},
    broker::{Brokers, MemoryBroker, MemoryTransport, Publish},
    config::WorkerArgs,
    producer::{Apply, Producer},
    protocol::{ResultMeta, Signature},
    worker::{Shutdown, StopReason, Wires, completion::BackendChords},
};

/// Between two looks at a result.
const PAUSE: Duration = Duration::from_millis(1);

/// A worker of native tasks, and its client. To drop it ends it at once.
pub struct InMemory {
    producer: Producer,
    backend: Arc<MemoryBackend>,
    stop: watch::Sender<Option<Shutdown>>,
    worker: JoinHandle<StopReason>,
}

impl App {
    /// Has a worker of this app's native tasks run in memory, with Celery's default settings. Needs a Tokio runtime. Resolves once it
    /// consumes.
    ///
    /// # Errors
    /// An app without tasks, one whose tasks cannot be registered.
    pub async fn in_memory(self) -> Result<InMemory, AppError> {
        if self.tasks().next().is_none() {
            return Err(AppError::unsupported("an app without native tasks has nothing to run in memory"));
        }
        let args = WorkerArgs {
            hostname: "memory@localhost".to_owned(),
            without_gossip: true,
            without_mingle: true,
            without_heartbeat: true,
            ..WorkerArgs::default()
        };
        let booted = self.boot(args, &[], &()).await?;
        let wires = Wires::default();
        let publisher: Arc<dyn Publish> = wires.publisher();
        let backend = Arc::new(MemoryBackend::new(Format::default()));
        let plan = Plan {
            brokers: Ok(Brokers { read: vec![Arc::new(MemoryTransport::new(MemoryBroker::new()))], write: None }),
            results: Ok(Results::Ours(backend.clone())),
            ..booted.plan(&publisher)
        };
        let settings = plan.producer?;
        let producer =
            Producer::new(publisher.clone(), settings.clone(), Some(Arc::new(BackendChords(backend.clone()))), None);
        let door = booted.door.clone();
        let (worker, _) = booted.put_together(wires, publisher, Plan { producer: Ok(settings), ..plan })?;
        let (stop, asked) = watch::channel(None);
        let worker = tokio::spawn(worker.run(asked));
        door.ready().await;
        Ok(InMemory { producer, backend, stop, worker })
    }
}

impl InMemory {
    /// Sends a task, a group, a chain or a chord, and waits for its result: of a chain's last task, of a chord's body.
    ///
    /// # Errors
    /// What cannot be made a message.
    pub async fn run(&self, signature: Signature) -> Result<ResultMeta, AppError> {
        let sent = self.producer.send(signature, Apply::default()).await;
        let sent = sent.map_err(|error| AppError::unsupported(error.to_string()))?;
        self.result(&sent.id).await
    }

    /// Waits for the end of a task that somebody has sent, another task for instance.
    ///
    /// # Errors
    /// A result that cannot be read.
    pub async fn result(&self, id: &str) -> Result<ResultMeta, AppError> {
        loop {
            if let Some(document) = self.backend.fetch(id).await? {
                let meta = self.backend.format().decode(&document)?;
                if meta.state.is_ready() {
                    return Ok(meta);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A warm shutdown; resolves when what runs has ended. None if the worker has broken off.
    pub async fn stop(mut self) -> Option<StopReason> {
        self.stop.send_replace(Some(Shutdown::Warm));
        (&mut self.worker).await.ok()
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.worker.abort();
    }
}
