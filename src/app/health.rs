//! `--health-addr`: what the server of probes and metrics looks at.

use std::sync::Arc;

use crate::{
    app::{AppError, Booted},
    backend::ResultBackend,
    event::EventDispatcher,
    health::{Checks, HealthServer, Subject},
    pool::Pool,
    worker::{Wires, WorkerHandle, WorkerOptions},
};

impl Booted {
    /// The server that was asked for, bound: what cannot be bound keeps the worker from starting.
    pub(super) fn health_server(&self) -> Result<Option<HealthServer>, AppError> {
        let Some(addr) = &self.args.health_addr else { return Ok(None) };
        let server = HealthServer::bind(addr);
        server.map(Some).map_err(|error| AppError::unsupported(format!("--health-addr {addr}: {error}")))
    }

    /// What it is to look at.
    pub(super) fn health_subject(
        &self,
        options: &WorkerOptions,
        wires: &Wires,
        events: &EventDispatcher,
        backend: Arc<dyn ResultBackend>,
        pool: Option<Arc<dyn Pool>>,
    ) -> Subject {
        Subject {
            hostname: options.hostname.clone(),
            celery_version: self.celery_version().to_owned(),
            pool_name: self.settings.worker.pool.name().to_owned(),
            metrics: wires.metrics(),
            registry: self.registry.clone(),
            events: events.clone(),
            backend,
            pool,
            native_seats: options.native_seats,
            stopping: wires.stopping(),
            connection_timeout: self.settings.broker.connection_timeout,
        }
    }
}

/// Answers probes until the worker has ended.
pub(super) fn serve(server: HealthServer, subject: Subject, handle: WorkerHandle) {
    tracing::info!(target: "celery.worker.health", "Health and metrics on http://{}", server.address());
    tokio::spawn(server.serve(Arc::new(Checks::new(subject, handle))));
}
