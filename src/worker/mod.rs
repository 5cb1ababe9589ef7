//! The worker: takes deliveries, has them executed, settles them.
//!
//! One [`Dispatcher`] owns what is held; one [`Session`] owns the connection; every request is a story of its own in
//! [`execute`]. Neighbours (remote control, mingle, gossip) are not known here: they come as [`SessionHook`]s and talk
//! through a [`WorkerHandle`].

mod autoscale;
mod boot_steps;
mod command;
pub mod completion;
mod dispatcher;
mod disposition;
mod due;
mod eta;
mod execute;
mod executions;
mod heart;
mod main_signals;
pub mod memory;
mod metrics;
mod options;
mod orders;
mod packed;
mod publisher;
mod qos;
mod quorum_queues;
mod rate_limit;
mod receive;
mod refuse;
mod request;
mod revoked;
mod sent;
mod services;
mod session;
mod shelf;
mod shutdown;
mod snapshot;
mod state;
mod strategy;
mod validate;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    backend::ResultBackend,
    broker::{Brokers, Connection, Transport},
    event::{EventDispatcher, EventPump, WorkerStats},
    ipc::SavedState,
    pool::{NativePool, Pool},
    producer::Producer,
    protocol::Queue,
    task::{Registry, States},
};

use completion::Completion;
use dispatcher::Inbox;
use heart::Heart;
use receive::Receiver;
use services::Services;
use session::Session;

pub use autoscale::AutoscaleRange;
pub use boot_steps::BootSteps;
pub use command::{Command, WorkerHandle};
pub use dispatcher::Dispatcher;
pub use main_signals::{MainSignal, MainSignals};
pub use metrics::{Link, LinkPhase, Settling, WorkerMetrics};
pub use options::{ConnectionPolicy, RevokedLimits, SoftShutdown, WorkerOptions};
pub use orders::PoolBusy;
pub use publisher::SessionPublisher;
pub use quorum_queues::QuorumQueues;
pub use session::{Hooks, SessionHook};
pub use shutdown::{Shutdown, StopReason};
pub use snapshot::{AutoscaleInfo, Holdings, Scheduled, TaskInfo};

/// How long the last events and results may take to leave once all tasks have ended.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the writing of the state database may take.
const SAVING: Duration = Duration::from_secs(10);

/// The wires between the session and those who publish; made first, because backend and producer hang on them.
pub struct Wires {
    current: watch::Sender<Option<Arc<dyn Connection>>>,
    stop: CancellationToken,
    metrics: Arc<WorkerMetrics>,
}

impl Default for Wires {
    fn default() -> Self {
        Self { current: watch::channel(None).0, stop: CancellationToken::new(), metrics: Arc::default() }
    }
}

impl Wires {
    /// A publisher over whatever connection is current.
    pub fn publisher(&self) -> Arc<SessionPublisher> {
        Arc::new(SessionPublisher::new(self.current.subscribe(), self.stop.clone()))
    }

    /// Cancelled when the worker begins to stop, for whatever reason.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// What is counted of the worker.
    pub fn metrics(&self) -> Arc<WorkerMetrics> {
        self.metrics.clone()
    }
}

/// Everything a worker is made of.
pub struct Assembly {
    /// Settings.
    pub options: WorkerOptions,
    /// The tasks.
    pub registry: Arc<Registry>,
    /// Where to consume and to publish.
    pub brokers: Brokers,
    /// The wires that backend and producer already hang on.
    pub wires: Wires,
    /// Where results go.
    pub backend: Arc<dyn ResultBackend>,
    /// What follows an end that no child has stored.
    pub completion: Completion,
    /// For what native tasks send.
    pub producer: Producer,
    /// What native tasks share.
    pub states: Arc<States>,
    /// Python seats, if any.
    pub pool: Option<Arc<dyn Pool>>,
    /// Resolves when those seats are gone for good, with the reason; never without a pool.
    pub pool_failed: BoxFuture<'static, String>,
    /// Events, and what publishes them.
    pub events: (EventDispatcher, EventPump),
    /// The signals of Celery's main process, for those who listen.
    pub signals: MainSignals,
    /// What the app adds to Celery's boot steps, if anything.
    pub boot_steps: Option<BootSteps>,
    /// Seconds between heartbeats; none sends none.
    pub heartbeat: Option<Duration>,
    /// Celery's version, for heartbeats.
    pub software_version: String,
    /// What joins each connection; more by [`Worker::add_hook`].
    pub hooks: Hooks,
}

/// A worker that has not started yet.
pub struct Worker {
    assembly: Assembly,
    commands: (mpsc::Sender<Command>, mpsc::Receiver<Command>),
    queues: watch::Sender<Vec<Queue>>,
}

impl Worker {
    /// Puts the parts together.
    pub fn new(assembly: Assembly) -> Self {
        let queues = watch::channel(assembly.options.queues.clone()).0;
        Self { assembly, commands: mpsc::channel(64), queues }
    }

    /// The door to the running worker.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(self.commands.0.clone())
    }

    /// Adds something that joins each connection: `before` consuming, or after.
    pub fn add_hook(&mut self, hook: Arc<dyn SessionHook>, before: bool) {
        let hooks = &mut self.assembly.hooks;
        if before { hooks.before.push(hook) } else { hooks.after.push(hook) }
    }

    /// Works until told to stop, or until the broker is given up; then finishes or gives back what is held.
    pub async fn run(self, shutdown: watch::Receiver<Option<Shutdown>>) -> StopReason {
        let Assembly {
            mut options,
            registry,
            brokers,
            wires,
            backend,
            completion,
            producer,
            states,
            pool,
            pool_failed,
            events: (events, pump),
            signals,
            boot_steps,
            heartbeat,
            software_version,
            mut hooks,
        } = self.assembly;
        let pump = tokio::spawn(pump.run());
        let (session_sender, session_events) = mpsc::channel(4);
        let (reports_sender, reports) = mpsc::unbounded_channel();
        let stats = WorkerStats::default();
        let heart_stop = CancellationToken::new();
        let heart = heartbeat.map(|freq| {
            let heart = Heart::new(events.clone(), signals.clone(), stats.clone(), freq, software_version);
            let heart = Arc::new(heart.stopped_by(heart_stop.clone()));
            hooks.before.insert(0, heart.clone());
            tokio::spawn(heart.beat())
        });
        let transports = brokers.read.clone();
        let session = Session {
            eager: eager_driver(&mut options, &brokers),
            begins_paused: options.disable_prefetch,
            brokers,
            policy: options.connection.clone(),
            queues: self.queues.subscribe(),
            hostname: options.hostname.clone(),
            prefetch: dispatcher::first_window(&options),
            hooks,
            current: wires.current,
            events: session_sender,
            stop: wires.stop.clone(),
            signals: signals.clone(),
            metrics: wires.metrics.clone(),
        };
        let mut session = tokio::spawn(session.run());
        let services = Arc::new(Services {
            native: NativePool::new(options.native_seats),
            pid: std::process::id(),
            hostname: options.hostname.as_str().into(),
            states_sink: Arc::new(completion.clone()),
            producer,
            states,
            pool,
            backend,
            completion,
            events,
            signals,
            metrics: wires.metrics,
            options,
            reports: reports_sender,
        });
        let receiver = Receiver { registry, accept: services.options.accept.clone() };
        let mut dispatcher = Dispatcher::new(services.clone(), receiver, stats, self.queues);
        let mut inbox = Inbox { session: session_events, reports, commands: self.commands.1, shutdown, pool_failed };
        let reason = dispatcher.run(&mut inbox).await;
        wires.stop.cancel();
        // It ends by itself once told; a connection that it has just made is still to be heard of, and to be closed.
        let _ = tokio::time::timeout(FAREWELL, &mut session).await;
        dispatcher.hear_session(&mut inbox);
        finish(&mut dispatcher, &mut inbox, &reason).await;
        still(heart, &heart_stop).await;
        put_away(dispatcher, &services, &transports).await;
        session.abort();
        pump.abort();
        dismiss(&services.signals, boot_steps, &mut inbox, &reason).await;
        reason
    }
}

/// The driver that cannot do without prefetch although it is told to; the worker does not try then.
fn eager_driver(options: &mut WorkerOptions, brokers: &Brokers) -> Option<&'static str> {
    let mut able = brokers.read.iter().map(|transport| transport.capabilities());
    let eager = able.find(|can| options.disable_prefetch && !can.disable_prefetch)?;
    options.disable_prefetch = false;
    Some(eager.driver)
}

async fn still(heart: Option<tokio::task::JoinHandle<()>>, stop: &CancellationToken) {
    stop.cancel();
    if let Some(heart) = heart {
        // It ends by itself once told; a panic in it must not keep the rest from being put away.
        let _ = heart.await;
    }
}

/// Gives back what has not begun and waits for what has; a colder word shortens the wait.
async fn finish(dispatcher: &mut Dispatcher, inbox: &mut Inbox, reason: &StopReason) {
    if let Some(connection) = dispatcher.connection() {
        match tokio::time::timeout(FAREWELL, connection.stop_consuming()).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => warn!(target: "celery.worker.consumer.tasks", "cannot stop consuming: {failure}"),
            Err(_) => {
                warn!(target: "celery.worker.consumer.tasks", "the broker does not answer: cannot stop consuming")
            }
        }
    }
    dispatcher.drain();
    let mut cold = inbox.shutdown.clone();
    let asked_cold = matches!(reason, StopReason::Asked(asked) if *asked >= Shutdown::Cold);
    let (services, stats) = (dispatcher.services.clone(), dispatcher.stats());
    let soft = &services.options.soft_shutdown;
    let told_cold = async {
        if !asked_cold {
            told(&mut cold, Shutdown::Cold).await;
        }
        wait_softly(soft, stats.active(), &mut cold).await;
    };
    tokio::pin!(told_cold);
    dispatcher.executions.close();
    let executions = dispatcher.executions.clone();
    let drained = async {
        dispatcher.drain_reports(inbox).await;
        executions.wait().await;
    };
    let cut_short = tokio::select! {
        biased;
        () = &mut told_cold => true,
        () = drained => false,
    };
    if cut_short {
        cut(dispatcher, inbox).await;
    } else if asked_cold && soft.on_idle {
        told_cold.await;
    }
}

/// The soft shutdown, where there is one: gives what runs that much time before the cold one.
async fn wait_softly(soft: &SoftShutdown, active: usize, asked: &mut watch::Receiver<Option<Shutdown>>) {
    if soft.timeout.is_zero() || (active == 0 && !soft.on_idle) {
        return;
    }
    warn!(target: "celery.worker.worker", "Initiating Soft Shutdown, terminating in {} seconds", soft.seconds);
    // A more urgent word and the end of the time lead to the same.
    let _ = tokio::time::timeout(soft.timeout, told(asked, Shutdown::Hurried)).await;
}

/// Tells the steward that the worker has stopped, and lets it finish what it was told; a cold stop shortens that, and is
/// not told of, as in Celery.
async fn dismiss(signals: &MainSignals, steps: Option<BootSteps>, inbox: &mut Inbox, reason: &StopReason) {
    let Some(steward) = signals.steward() else { return };
    let is_cold = matches!(reason, StopReason::Asked(asked) if *asked >= Shutdown::Cold);
    if let Some(steps) = steps {
        steps.stop(is_cold);
    }
    if !is_cold {
        signals.shutdown();
    }
    let hurried = async {
        told(&mut inbox.shutdown, Shutdown::Cold).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = steward.stop() => {}
        () = hurried => {
            warn!(target: "celery.worker", "the steward does not leave: it is killed");
            steward.kill();
        }
    }
}

/// Resolves when that much is asked, or more.
async fn told(shutdown: &mut watch::Receiver<Option<Shutdown>>, least: Shutdown) {
    if shutdown.wait_for(|asked| *asked >= Some(least)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends what is active: children that do not heed the signal are killed, results that cannot be stored are given up.
async fn cut(dispatcher: &mut Dispatcher, inbox: &mut Inbox) {
    let services = dispatcher.services.clone();
    let executions = dispatcher.executions.clone();
    dispatcher.cancel_active();
    if let Some(pool) = &services.pool {
        // The executions hear of the end of every job.
        drop(pool.stop(Some(FAREWELL)));
    }
    let drained = async {
        dispatcher.drain_reports(inbox).await;
        executions.wait().await;
    };
    tokio::pin!(drained);
    if tokio::time::timeout(2 * FAREWELL, &mut drained).await.is_err() {
        warn!(target: "celery.worker", "giving up the results that cannot be stored");
        let given_up = async {
            services.backend.close().await;
            drained.await;
        };
        // Those that do not even notice are dropped with the process, unsettled.
        let _ = tokio::time::timeout(FAREWELL, given_up).await;
    }
}

/// Has the state database written, and says so if it could not be.
async fn save(pool: &dyn Pool, state: SavedState) {
    let failure = match tokio::time::timeout(SAVING, pool.save(state)).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(failure))) => failure,
        Ok(Err(_)) => "the pool has ended".to_owned(),
        Err(_) => format!("it was not written within {} seconds", SAVING.as_secs()),
    };
    error!(target: "celery.worker", "revoked tasks are not kept over the restart: {failure}");
}

/// Sends what is still queued and disconnects.
async fn put_away(dispatcher: Dispatcher, services: &Services, transports: &[Arc<dyn Transport>]) {
    if tokio::time::timeout(FAREWELL, services.events.flush()).await.is_err() {
        warn!(target: "celery.events.dispatcher", "the last events could not be sent");
    }
    if let Some(pool) = &services.pool {
        if let Some(state) = dispatcher.state_to_save() {
            save(&**pool, state).await;
        }
        // An error means that the pool has ended already.
        let _ = pool.stop(None).await;
    }
    if tokio::time::timeout(FAREWELL, services.backend.close()).await.is_err() {
        warn!(target: "celery.worker", "the result backend does not answer: its connection is dropped");
    }
    let Some(connection) = dispatcher.connection() else {
        futures::future::join_all(transports.iter().map(|transport| transport.finish())).await;
        return;
    };
    // It ends by itself where the broker does not answer, and may take its time where there is much to give back.
    if let Err(failure) = connection.close().await {
        warn!(target: "celery.worker.consumer.connection", "closing the connection: {failure}");
    }
}
