//! [`Plan`]: all of a worker that its settings may spoil, made before anything of it is started.
//!
//! A worker stops at the first part that cannot be made; `celery-rs doctor` tells of all of them.

use std::sync::Arc;

use crate::{
    app::{AppError, Booted, beat::Described, transports::brokers},
    backend::{self, BackendError, BackendOptions, ResultBackend},
    broker::{Brokers, CredentialProvider, Publish},
    gossip::GossipOptions,
    ipc::Manifest,
    producer::ProducerSettings,
    protocol::time::TimeZone,
    worker::{QuorumQueues, WorkerOptions, completion::BySteward},
};

/// Celery's own backend of databases, by its class path.
const DATABASE_BACKEND: &str = "celery.backends.database.DatabaseBackend";

/// Part by part.
pub(super) struct Plan {
    pub(super) brokers: Result<Brokers, AppError>,
    /// None without such queues.
    pub(super) quorum_queues: Result<Option<QuorumQueues>, AppError>,
    pub(super) options: Result<WorkerOptions, AppError>,
    pub(super) results: Result<Results, AppError>,
    pub(super) producer: Result<ProducerSettings, AppError>,
    /// None with `--without-gossip`.
    pub(super) gossip: Result<Option<GossipOptions>, AppError>,
    /// None without `-B`.
    pub(super) beat: Result<Option<Described>, AppError>,
}

/// Who stores results.
pub(super) enum Results {
    /// This process.
    Ours(Arc<dyn ResultBackend>),
    /// The app's own backend: in the children what they have seen, and in the steward what they have not.
    Pythons(BackendError),
}

impl Results {
    /// The backend of this process, and whether it is Python's.
    ///
    /// # Errors
    /// When only Python could store results, and there is none.
    pub(super) fn backend(
        self,
        by_steward: Option<Arc<BySteward>>,
    ) -> Result<(Arc<dyn ResultBackend>, bool), AppError> {
        match (self, by_steward) {
            (Self::Ours(backend), _) => Ok((backend, false)),
            (Self::Pythons(_), Some(by_steward)) => Ok((by_steward, true)),
            (Self::Pythons(error), None) => Err(error.into()),
        }
    }
}

impl Booted {
    /// Needs a Tokio runtime: a backend of this process begins to connect.
    pub(super) fn plan(&self, publisher: &Arc<dyn Publish>) -> Plan {
        let timezone =
            || Ok::<_, AppError>(TimeZone::parse(self.settings.timezone.as_deref(), self.settings.enable_utc)?);
        Plan {
            brokers: brokers(&self.settings.broker, self.has_static_prefetch(), self.credential_provider()),
            quorum_queues: self.quorum_queues(),
            options: timezone().and_then(|timezone| self.worker_options(timezone)),
            results: self.results(publisher.clone()),
            producer: timezone().and_then(|timezone| self.producer_settings(timezone)),
            gossip: self.gossip_options(),
            beat: self.described_beat(),
        }
    }

    /// None without Python.
    fn credential_provider(&self) -> Option<Arc<dyn CredentialProvider>> {
        self.manifest.as_ref().map(|_| Arc::new(self.credentials.clone()) as Arc<dyn CredentialProvider>)
    }

    fn results(&self, publisher: Arc<dyn Publish>) -> Result<Results, AppError> {
        // An app may write to a Redis of ours in a way of its own, or hang code on SQLAlchemy's engine.
        let is_the_apps = |manifest: &&Manifest| {
            !manifest.relays_results
                && (!manifest.backend.starts_with("celery.") || manifest.backend == DATABASE_BACKEND)
        };
        if let Some(manifest) = self.manifest.as_ref().filter(is_the_apps) {
            let reason = format!("{} is the app's own: results are stored by the Python side", manifest.backend);
            return Ok(Results::Pythons(BackendError::Unsupported(reason)));
        }
        let options = BackendOptions::from_settings(&self.settings, minor(self.celery_version()));
        let url = self.settings.result.backend.as_deref();
        match options.and_then(|options| backend::open(url, options, publisher)) {
            Err(error @ BackendError::Unsupported(_)) if self.manifest.is_some() => Ok(Results::Pythons(error)),
            opened => Ok(Results::Ours(opened?)),
        }
    }
}

/// The first two numbers of a version.
fn minor(version: &str) -> (u16, u16) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
