//! [`BootSteps`]: the boot steps that an app adds to the worker and to its consumer, started and stopped at Celery's moments.
//!
//! They are Python's and run in the steward (`python/celery_rs/steps.py`); Celery's own steps are this worker itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use tracing::error;

use crate::{
    broker::{BrokerError, Connection},
    pool::Steward,
    serialization::{Map, Value, map},
    worker::{main_signals::errand, session::SessionHook},
};

/// The app's own steps. One that cannot be started ends the worker, as it ends Celery's.
#[derive(Debug, Clone)]
pub struct BootSteps {
    steward: Steward,
    started: Arc<AtomicBool>,
}

impl BootSteps {
    /// Steps that have not been started.
    pub fn new(steward: Steward) -> Self {
        Self { steward, started: Arc::default() }
    }

    /// To join each connection before anything is consumed: starts the worker's steps, once.
    pub fn of_worker(&self) -> Arc<dyn SessionHook> {
        Arc::new(WorkerSteps(self.clone()))
    }

    /// To join each connection once it consumes: starts the consumer's steps, or starts them over.
    pub fn of_consumer(&self) -> Arc<dyn SessionHook> {
        Arc::new(ConsumerSteps(self.clone()))
    }

    /// Has all of them stopped, or terminated by a cold stop; nobody waits for it.
    pub fn stop(&self, terminate: bool) {
        if self.started.load(Ordering::Acquire) {
            self.steward.tell(errand("stop_steps", map([("terminate", Value::Bool(terminate))]), None));
        }
    }

    async fn start(&self, steps: &str) -> Result<(), BrokerError> {
        match self.steward.establish(errand(steps, Map::new(), None)).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                error!(target: "celery.worker", critical = true, "Unrecoverable error: {failure}");
                Err(BrokerError::unusable(format!("a boot step of the app could not be started: {failure}")))
            }
        }
    }
}

struct WorkerSteps(BootSteps);

impl SessionHook for WorkerSteps {
    fn on_session<'a>(&'a self, _: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.0.started.load(Ordering::Acquire) {
                return Ok(());
            }
            self.0.start("start_worker_steps").await?;
            self.0.started.store(true, Ordering::Release);
            Ok(())
        })
    }
}

struct ConsumerSteps(BootSteps);

impl SessionHook for ConsumerSteps {
    fn on_session<'a>(&'a self, _: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.0.start("start_consumer_steps"))
    }
}
