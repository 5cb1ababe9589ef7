//! The session: connect, declare, consume, and all over again when the connection is lost.
//!
//! It owns the connection and its backoff. What arrives is the dispatcher's, which it tells about every connect and
//! loss; what else wants to happen on a fresh connection (remote control, mingle, gossip) is a [`SessionHook`].

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    broker::{
        Backoff, BrokerError, BrokerErrorKind, Brokers, Connection, Deliveries, Failover, NextAttempt, ReadWrite,
        Transport,
    },
    protocol::Queue,
    worker::{
        main_signals::MainSignals,
        metrics::{LinkPhase, WorkerMetrics},
        options::ConnectionPolicy,
    },
};

/// Something that joins each fresh connection: remote control, mingle, gossip.
pub trait SessionHook: Send + Sync {
    /// Called once per connection, and again where the broker could not do it [for now](BrokerErrorKind::Passing). Another
    /// error counts as the loss of the connection.
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>>;
}

/// What joins each connection, and when; in order.
#[derive(Default)]
pub struct Hooks {
    /// Before anything else (heartbeat, mingle).
    pub before: Vec<Arc<dyn SessionHook>>,
    /// Once the queues are declared, but not consumed yet (delayed delivery).
    pub declared: Vec<Arc<dyn SessionHook>>,
    /// Once they are consumed (control, gossip).
    pub after: Vec<Arc<dyn SessionHook>>,
}

/// What the session tells the dispatcher.
pub enum SessionEvent {
    /// Consuming; deliveries come through the receiver until the connection is lost.
    Up(Arc<dyn Connection>, Deliveries),
    /// The connection is gone; another attempt is made as soon as the window to begin with is told.
    Down(oneshot::Sender<u32>),
    /// No further attempt will be made.
    GaveUp(BrokerError),
}

/// Everything a session needs; consumed by [`Session::run`].
pub struct Session {
    /// Where to consume and to publish.
    pub brokers: Brokers,
    /// When to try again.
    pub policy: ConnectionPolicy,
    /// What to consume; changed by `add_consumer` and `cancel_consumer`, read at each connect.
    pub queues: watch::Receiver<Vec<Queue>>,
    /// Node name, for the log.
    pub hostname: String,
    /// The window to begin with; the dispatcher changes it later, and gives another one for each further connection.
    pub prefetch: u32,
    /// Whether a connection is to take nothing before the dispatcher has told it how much (`worker_disable_prefetch`).
    pub begins_paused: bool,
    /// The driver that prefetches although it was told not to (`worker_disable_prefetch`).
    pub eager: Option<&'static str>,
    /// What joins each connection.
    pub hooks: Hooks,
    /// Read by publishers.
    pub current: watch::Sender<Option<Arc<dyn Connection>>>,
    /// Read by the dispatcher.
    pub events: mpsc::Sender<SessionEvent>,
    /// Cancelled when no new connection is wanted.
    pub stop: CancellationToken,
    /// Told when the worker is ready.
    pub signals: MainSignals,
    /// Told how it stands with the connection.
    pub metrics: Arc<WorkerMetrics>,
}

impl Session {
    /// Runs until stopped or out of retries. The connection itself is left open for the dispatcher to close.
    pub async fn run(mut self) {
        let mut restarts = RestartGuard::default();
        // Whether a connection was ever made, and whether one was ever consumed from.
        let (mut established, mut was_ready) = (false, false);
        while !self.stop.is_cancelled() {
            restarts.step().await;
            let Some(outcome) = self.stoppable(self.connect(established)).await else { return };
            let joined = match outcome {
                Ok(reader) => self.join_writer(reader).await,
                Err(failure) => Err(failure),
            };
            let connection = match joined {
                Ok(Some(connection)) => connection,
                Ok(None) => return,
                Err(failure) => return self.give_up(failure).await,
            };
            established = true;
            self.metrics.set_link(LinkPhase::Opening);
            let Some(begun) = self.stoppable(self.begin(&connection)).await else { return };
            let failure = match begun {
                Ok(()) => {
                    self.metrics.set_link(LinkPhase::Up);
                    if !was_ready {
                        self.signals.ready();
                        info!(target: "celery.apps.worker", "{} ready.", self.hostname);
                    }
                    was_ready = true;
                    self.stoppable(connection.closed()).await
                }
                Err(failure) => {
                    // Nobody else knows that this one is over: it would go on, and keep what it holds from the next.
                    connection.abandon().await;
                    Some(failure)
                }
            };
            let Some(failure) = failure else { return };
            self.current.send_replace(None);
            self.metrics.set_link(LinkPhase::Connecting);
            self.metrics.reconnects.add();
            if !self.may_retry(&failure) {
                return self.give_up(failure).await;
            }
            warn!(target: "celery.worker.consumer.consumer",
                "consumer: Connection to broker lost. Trying to re-establish the connection... ({failure})");
            drop(connection);
            let (answer, prefetch) = oneshot::channel();
            if self.events.send(SessionEvent::Down(answer)).await.is_err() {
                return;
            }
            let Some(Ok(prefetch)) = self.stoppable(prefetch).await else { return };
            self.prefetch = prefetch;
        }
    }

    async fn stoppable<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.stop.cancelled() => None,
        }
    }

    /// To the broker to consume from.
    async fn connect(&self, again: bool) -> Result<Arc<dyn Connection>, BrokerError> {
        let (reader, uri) = self.connect_to(&self.brokers.read, again).await?;
        info!(target: "celery.worker.consumer.connection", "Connected to {uri}");
        Ok(reader)
    }

    /// And then to the one to publish to if that is another one, as Celery's steps do. None: it is time to stop, and the
    /// dispatcher has the reader alone, to settle what is held.
    async fn join_writer(&self, reader: Arc<dyn Connection>) -> Result<Option<Arc<dyn Connection>>, BrokerError> {
        let Some(write) = &self.brokers.write else { return Ok(Some(reader)) };
        // By then Celery does not count it as the first attempt of a start any more.
        match self.stoppable(self.connect_to(write, true)).await {
            Some(Ok((writer, _))) => Ok(Some(Arc::new(ReadWrite::new(reader, writer)))),
            Some(Err(failure)) => {
                reader.abandon().await;
                Err(failure)
            }
            None => {
                let deliveries = reader.deliveries();
                // As in `begin`.
                let _ = self.events.send(SessionEvent::Up(reader, deliveries)).await;
                Ok(None)
            }
        }
    }

    /// Goes over the failover list, waiting only after as many attempts as it has brokers. Also tells which one has answered.
    async fn connect_to(
        &self,
        transports: &[Arc<dyn Transport>],
        again: bool,
    ) -> Result<(Arc<dyn Connection>, String), BrokerError> {
        let mut failover = Failover::new(transports, self.policy.failover, self.policy.max_retries);
        loop {
            self.metrics.set_link(LinkPhase::Connecting);
            let Some(transport) = failover.current() else {
                return Err(BrokerError::unusable("there is no broker to connect to"));
            };
            let failure = match transport.connect().await {
                Ok(connection) => return Ok((connection, transport.uri())),
                Err(failure) => failure,
            };
            if failure.kind() == BrokerErrorKind::Unusable {
                return Err(failure);
            }
            if !self.retries_connecting(again) {
                log_retry_disabled(!again && self.policy.retry_on_startup.is_some(), !again);
                return Err(failure);
            }
            let next = match failover.failed() {
                NextAttempt::None => return Err(failure),
                NextAttempt::Failover => None,
                NextAttempt::After(wait) => Some(wait),
            };
            let retries = (failover.rounds(), self.policy.max_retries);
            log_cannot_connect(&transport.uri(), &failure, next, retries);
            if let Some(wait) = next {
                self.metrics.set_link(LinkPhase::Waiting(wait));
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn retries_connecting(&self, again: bool) -> bool {
        if again { self.policy.retry } else { self.policy.retry_on_startup.unwrap_or(self.policy.retry) }
    }

    fn may_retry(&self, failure: &BrokerError) -> bool {
        match failure.kind() {
            BrokerErrorKind::Unusable => false,
            BrokerErrorKind::Refused => self.policy.channel_error_retry,
            BrokerErrorKind::ConnectionLost | BrokerErrorKind::Passing if self.retries_connecting(true) => true,
            BrokerErrorKind::ConnectionLost | BrokerErrorKind::Passing => {
                log_retry_disabled(false, false);
                false
            }
        }
    }

    async fn begin(&self, connection: &Arc<dyn Connection>) -> Result<(), BrokerError> {
        self.current.send_replace(Some(connection.clone()));
        for hook in &self.hooks.before {
            patiently(|| hook.on_session(connection)).await?;
        }
        let queues = self.queues.borrow().clone();
        for queue in &queues {
            if !queue.no_declare {
                patiently(|| connection.declare(queue)).await?;
            }
        }
        for hook in &self.hooks.declared {
            patiently(|| hook.on_session(connection)).await?;
        }
        connection.set_prefetch(self.prefetch);
        connection.set_paused(self.begins_paused);
        if let Some(driver) = self.eager {
            warn!(target: "celery.worker.consumer.tasks",
                "worker_disable_prefetch is only supported for Redis brokers. Current broker transport: {driver}. \
                 Ignoring disable_prefetch setting.");
        }
        let up = SessionEvent::Up(connection.clone(), connection.deliveries());
        // A closed channel means that the dispatcher has ended, and `stop` is about to be seen.
        let _ = self.events.send(up).await;
        for queue in &queues {
            connection.consume(queue).await?;
        }
        for hook in &self.hooks.after {
            patiently(|| hook.on_session(connection)).await?;
        }
        Ok(())
    }

    async fn give_up(&self, failure: BrokerError) {
        self.metrics.set_link(LinkPhase::Over);
        self.current.send_replace(None);
        debug!(target: "celery.worker.consumer.consumer", "giving up: {failure}");
        // As in `begin`: nobody left to tell is no error.
        let _ = self.events.send(SessionEvent::GaveUp(failure)).await;
    }
}

/// Does it again as long as the broker cannot do it now. On the same connection, so that what is held does not grow old.
async fn patiently<'a>(step: impl Fn() -> BoxFuture<'a, Result<(), BrokerError>>) -> Result<(), BrokerError> {
    let mut backoff = Backoff::new(None);
    loop {
        let outcome = step().await;
        let passing = outcome.as_ref().err().filter(|failure| failure.kind() == BrokerErrorKind::Passing);
        let Some((failure, wait)) = passing.zip(backoff.next()) else { return outcome };
        error!(target: "celery.worker.consumer.consumer",
            "consumer: {failure}\nTrying again in {:.2} seconds...", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}

fn log_cannot_connect(uri: &str, failure: &BrokerError, wait: Option<Duration>, retries: (u32, Option<u32>)) {
    let next = match wait {
        None => "Will retry using next failover.".to_owned(),
        Some(wait) => {
            let max = retries.1.map_or_else(|| "None".to_owned(), |max| max.to_string());
            format!("Trying again in {:.2} seconds... ({}/{max})", wait.as_secs_f64(), retries.0)
        }
    };
    error!(target: "celery.worker.consumer.consumer", "consumer: Cannot connect to {uri}: {failure}.\n{next}\n");
}

fn log_retry_disabled(on_startup_setting: bool, at_startup: bool) {
    let (verb, setting) = match (at_startup, on_startup_setting) {
        (true, true) => ("establish", "broker_connection_retry_on_startup"),
        (true, false) => ("establish", "broker_connection_retry"),
        (false, _) => ("re-establish", "broker_connection_retry"),
    };
    error!(target: "celery.worker.consumer.consumer", critical = true,
        "Retrying to {verb} a connection to the message broker after a connection loss has been disabled \
         (app.conf.{setting}=False). Shutting down...");
}

/// Celery's guard against restarting in a tight loop: more than five within a second earn a second's pause.
#[derive(Default)]
struct RestartGuard {
    recent: std::collections::VecDeque<tokio::time::Instant>,
}

impl RestartGuard {
    const MAX: usize = 5;
    const WINDOW: Duration = Duration::from_secs(1);

    async fn step(&mut self) {
        let now = tokio::time::Instant::now();
        while self.recent.front().is_some_and(|at| now - *at > Self::WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        if self.recent.len() > Self::MAX + 1 {
            error!(target: "celery.worker.consumer.consumer", critical = true, "Frequent restarts detected");
            tokio::time::sleep(Self::WINDOW).await;
        }
    }
}
