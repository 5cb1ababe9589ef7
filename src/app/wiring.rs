//! From a [`Booted`] app to a [`Worker`]: the one place where all rooms meet.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    app::{AppError, Booted, EmbeddedBeat, embedded_beat::beside, health, plan::Plan, quorum::has_quorum_queue},
    backend::ResultBackend,
    broker::Publish,
    config::routes::Routes,
    control::PythonCommands,
    event::{Clock, EventDispatcher, EventOptions},
    ipc::PoolKind,
    pool::{
        Pool, TimeLimits,
        prefork::{PreforkOptions, PreforkPool},
    },
    producer::{Producer, ProducerSettings},
    protocol::{ExchangeType, repr::repr, time::TimeZone},
    serialization::AcceptContent,
    worker::{
        Assembly, BootSteps, ConnectionPolicy, Hooks, MainSignals, SessionHook, Shutdown, SoftShutdown, StopReason,
        Wires, Worker, WorkerOptions,
        completion::{BackendChords, BySteward, Completion, CompletionSettings, Errbacks, PythonJoin},
    },
};

/// Celery's version that a worker without a Python app speaks.
const CELERY_VERSION: &str = "5.7.0";
/// `--heartbeat-interval`.
const HEARTBEAT: Duration = Duration::from_secs(2);

impl Booted {
    /// Works until told to stop.
    pub async fn run(self, shutdown: watch::Receiver<Option<Shutdown>>) -> Result<StopReason, AppError> {
        let (worker, beat) = self.assemble()?;
        let asked = shutdown.clone();
        Ok(beside(beat, asked, worker.run(shutdown)).await)
    }

    /// Makes the worker, and with `-B` the beat that shares its connection: its pools are started, its broker is not yet
    /// connected.
    ///
    /// # Errors
    /// Settings that cannot be honoured, a transport or backend that only Python has.
    pub fn assemble(self) -> Result<(Worker, Option<EmbeddedBeat>), AppError> {
        let wires = Wires::default();
        let publisher: Arc<dyn Publish> = wires.publisher();
        let plan = self.plan(&publisher);
        self.put_together(wires, publisher, plan)
    }

    /// By a plan. `publisher` is of these wires.
    pub(super) fn put_together(
        mut self,
        wires: Wires,
        publisher: Arc<dyn Publish>,
        plan: Plan,
    ) -> Result<(Worker, Option<EmbeddedBeat>), AppError> {
        let health = self.health_server()?;
        let Plan { brokers, quorum_queues, options, results, producer, gossip, beat } = plan;
        let (brokers, options, results, producer, gossip) = (brokers?, options?, results?, producer?, gossip?);
        let quorum_queues = quorum_queues?.map(|hook| Arc::new(hook) as Arc<dyn SessionHook>);
        let hooks = Hooks { declared: quorum_queues.into_iter().collect(), ..Hooks::default() };
        let pool = self.pool(&options);
        let beat = self.embedded_beat(beat?, publisher.clone(), pool.as_ref())?;
        let signals = self.signals(pool.as_deref());
        let by_steward = self.by_steward(&signals);
        let boot_steps = self.boot_steps(&signals);
        let (backend, python_backend) = results.backend(by_steward.clone())?;
        let no_broker = || AppError::refused("broker_url names no broker", "set it");
        let can = brokers.reads_from().ok_or_else(no_broker)?;
        let written = brokers.writes_to().ok_or_else(no_broker)?;
        let events = EventDispatcher::new(self.event_options(written.driver), self.clock(), publisher.clone());
        let producer = Producer::new(
            publisher,
            producer,
            Some(Arc::new(BackendChords(backend.clone()))),
            Some(Arc::new(events.0.clone())),
        );
        let completion = self.completion(backend.clone(), producer.clone(), &options, by_steward, python_backend);
        let pool_failed = pool_failure(pool.clone());
        let pool = pool.map(|pool| pool as Arc<dyn Pool>);
        let (door, inside) = (self.door.clone(), (pool.clone(), wires.stopping()));
        let python_commands = self.python_commands(&signals);
        let neighbours = self.neighbours(&options, can, python_commands, gossip, &events.0, &producer);
        let subject =
            health.is_some().then(|| self.health_subject(&options, &wires, &events.0, backend.clone(), pool.clone()));
        let mut worker = Worker::new(Assembly {
            heartbeat: (!self.args.without_heartbeat).then(|| self.args.heartbeat_interval.unwrap_or(HEARTBEAT)),
            software_version: self.celery_version().to_owned(),
            options,
            registry: self.registry,
            brokers,
            wires,
            backend,
            completion,
            producer,
            states: self.app.states(),
            pool,
            pool_failed,
            signals,
            boot_steps: boot_steps.clone(),
            events,
            hooks,
        });
        neighbours.join(&mut worker);
        if let Some(steps) = boot_steps {
            worker.add_hook(steps.of_worker(), true);
            worker.add_hook(steps.of_consumer(), false);
        }
        door.open(worker.handle(), inside.0, inside.1);
        worker.add_hook(Arc::new(door), false);
        if let (Some(server), Some(subject)) = (health, subject) {
            health::serve(server, subject, worker.handle());
        }
        Ok((worker, beat))
    }

    /// Where the state database has left off.
    fn clock(&self) -> Clock {
        let clock = Clock::default();
        if let Some(state) = self.manifest.as_ref().and_then(|manifest| manifest.state.as_ref()) {
            clock.adjust(state.clock.saturating_sub(1));
        }
        clock
    }

    pub(super) fn celery_version(&self) -> &str {
        self.manifest.as_ref().map_or(CELERY_VERSION, |manifest| &manifest.celery_version)
    }

    fn boot_steps(&self, signals: &MainSignals) -> Option<BootSteps> {
        let (steward, manifest) = (signals.steward()?, self.manifest.as_ref()?);
        (!manifest.bootsteps.is_empty()).then(|| BootSteps::new(steward.clone()))
    }

    /// The remote control commands that the app has registered.
    fn python_commands(&self, signals: &MainSignals) -> Option<PythonCommands> {
        let (steward, manifest) = (signals.steward()?, self.manifest.as_ref()?);
        Some(PythonCommands::new(steward.clone(), manifest.control_commands.iter().cloned()))
    }

    /// What of an end only the app's own Python can do.
    fn by_steward(&self, signals: &MainSignals) -> Option<Arc<BySteward>> {
        let (steward, manifest) = (signals.steward()?, self.manifest.as_ref()?);
        let new_style = manifest.tasks.iter().filter(|task| task.new_style_errback).map(|task| task.name.clone());
        Some(Arc::new(BySteward::new(steward.clone(), &manifest.backend, new_style)))
    }

    fn completion(
        &self,
        backend: Arc<dyn ResultBackend>,
        producer: Producer,
        options: &WorkerOptions,
        by_steward: Option<Arc<BySteward>>,
        python_backend: bool,
    ) -> Completion {
        let settings = CompletionSettings {
            extended: self.settings.result.extended,
            timezone: options.timezone,
            accept: options.accept.clone(),
            python_backend,
        };
        let errbacks = by_steward.clone().map(|python| python as Arc<dyn Errbacks>);
        let joins = by_steward.map(|python| python as Arc<dyn PythonJoin>);
        Completion::new(backend, producer, settings, errbacks, joins)
    }

    pub(super) fn producer_settings(&self, timezone: TimeZone) -> Result<ProducerSettings, AppError> {
        let task = &self.settings.task;
        Ok(ProducerSettings {
            protocol: task.protocol,
            serializer: task.serializer.clone(),
            compression: task.compression.clone(),
            default_queue: task.default_queue.clone(),
            default_exchange: task.default_exchange.clone(),
            default_routing_key: task.default_routing_key.clone(),
            delivery_mode: task.default_delivery_mode,
            queues: self.queues.clone(),
            routes: Routes::from_value(&self.settings.layers.value("task_routes").0)?,
            timezone,
            inherit_parent_priority: self.settings.layers.value("task_inherit_parent_priority").0.is_truthy(),
            send_sent_event: task.send_sent_event,
            native_delayed_delivery: has_quorum_queue(&self.settings.broker.write_urls, &self.queues),
            origin: self.origin(),
            oid: uuid::Uuid::new_v4().to_string(),
            exec_options: self.exec_options(),
        })
    }

    fn event_options(&self, driver: &str) -> EventOptions {
        let task_events = self.resolved.truth("task_events").unwrap_or(self.settings.worker.send_task_events);
        EventOptions {
            hostname: self.hostname().to_owned(),
            exchange: self.settings.event.exchange.clone(),
            exchange_type: event_exchange_type(driver),
            serializer: self.settings.event.serializer.clone(),
            task_events,
            enabled: task_events || !self.args.without_heartbeat || !self.args.without_gossip,
            origin: self.origin(),
        }
    }

    /// An anonymous node name (`celery/utils/nodenames.py`), for what this process publishes by itself.
    fn origin(&self) -> String {
        let host = self.hostname().split_once('@').map_or(self.hostname(), |(_, host)| host);
        format!("gen{}@{host}", std::process::id())
    }

    pub(super) fn worker_options(&self, timezone: TimeZone) -> Result<WorkerOptions, AppError> {
        let (broker, worker) = (&self.settings.broker, &self.settings.worker);
        let (concurrency, autoscale) = (self.concurrency(), self.autoscale);
        Ok(WorkerOptions {
            hostname: self.hostname().to_owned(),
            queues: self.queues.consume_from().cloned().collect(),
            concurrency: autoscale.map_or(concurrency, |range| range.min),
            autoscale,
            native_seats: autoscale.map_or(concurrency, |range| range.max.max(1)),
            prefetch_multiplier: worker.prefetch_multiplier,
            eta_task_limit: worker.eta_task_limit,
            disable_prefetch: worker.disable_prefetch,
            accept: AcceptContent::new(&self.settings.accept_content)?
                .with_registered_types(self.manifest.as_ref().is_some_and(|manifest| manifest.registers_types)),
            timezone,
            limits: self.limits(),
            connection: ConnectionPolicy {
                retry: broker.connection_retry,
                retry_on_startup: Some(broker.connection_retry_on_startup),
                max_retries: broker.connection_max_retries,
                failover: broker.failover_strategy,
                channel_error_retry: broker.channel_error_retry,
            },
            soft_shutdown: SoftShutdown {
                timeout: worker.soft_shutdown_timeout,
                on_idle: worker.enable_soft_shutdown_on_idle,
                seconds: repr(&self.settings.layers.value("worker_soft_shutdown_timeout").0),
            },
            cancel_on_connection_loss: worker.cancel_long_running_tasks_on_connection_loss,
            reduce_prefetch: worker.enable_prefetch_count_reduction,
            static_prefetch: self.has_static_prefetch(),
            deduplicate: worker.deduplicate_successful_tasks,
            disable_rate_limits: worker.disable_rate_limits,
            revokes: self.revokes,
            state: self.manifest.as_ref().and_then(|manifest| manifest.state.clone()),
        })
    }

    pub(super) fn pool_kind(&self) -> PoolKind {
        match self.resolved.text("pool") {
            Some("threads") => PoolKind::Threads,
            Some("solo") => PoolKind::Solo,
            Some("gevent") => PoolKind::Gevent,
            Some("eventlet") => PoolKind::Eventlet,
            _ => PoolKind::Prefork,
        }
    }

    pub(super) fn whole_number(&self, name: &str) -> Option<u64> {
        self.resolved.number(name).filter(|number| *number >= 1.0).map(|number| number as u64)
    }

    fn concurrency(&self) -> usize {
        match self.resolved.number("concurrency") {
            Some(seats) if seats >= 1.0 => seats as usize,
            _ => self.settings.worker.concurrency.seats(&self.settings.worker.pool) as usize,
        }
    }

    /// `--time-limit` and `--soft-time-limit`, or the settings: for tasks without limits of their own.
    fn limits(&self) -> TimeLimits {
        let resolved = |name, setting: Option<Duration>| {
            let limit = self.resolved.number(name).filter(|limit| *limit > 0.0);
            limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok()).or(setting)
        };
        TimeLimits {
            hard: resolved("time_limit", self.settings.task.time_limit),
            soft: resolved("soft_time_limit", self.settings.task.soft_time_limit),
        }
    }

    /// The signals of Celery's main process, in the steward that the pool's zygote forks.
    fn signals(&self, pool: Option<&PreforkPool>) -> MainSignals {
        let (Some(pool), Some(manifest)) = (pool, &self.manifest) else { return MainSignals::default() };
        let signals = MainSignals::new(pool.steward(), manifest.signals.iter().map(String::as_str));
        self.announcer.speak_through(signals.clone());
        self.credentials.ask_through(pool.steward());
        signals
    }

    fn pool(&mut self, options: &WorkerOptions) -> Option<Arc<PreforkPool>> {
        let (zygote, command) = self.zygote.take()?;
        let mut pool = PreforkOptions::new(command, self.pool_kind(), options.concurrency);
        // Celery's other pools do not look at them: theirs is the main process.
        if pool.kind == PoolKind::Prefork {
            pool.max_tasks_per_child = self.whole_number("max_tasks_per_child");
            pool.max_memory_per_child = self.whole_number("max_memory_per_child");
        }
        pool.keeps_state = options.state.is_some();
        pool.proc_alive_timeout = self.settings.worker.proc_alive_timeout;
        Some(PreforkPool::staffed(zygote, pool))
    }
}

/// Of the exchange of events, where this is the driver (`celery/events/event.py:get_exchange`).
pub(super) fn event_exchange_type(driver: &str) -> ExchangeType {
    if driver == "redis" { ExchangeType::Fanout } else { ExchangeType::Topic }
}

/// Resolves when the pool cannot go on.
fn pool_failure(pool: Option<Arc<PreforkPool>>) -> BoxFuture<'static, String> {
    match pool {
        Some(pool) => Box::pin(async move { pool.failed().await.to_string() }),
        None => Box::pin(std::future::pending()),
    }
}
