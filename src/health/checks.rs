//! [`Checks`]: whether the worker lives, is ready, has started; and its numbers.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    backend::ResultBackend,
    event::EventDispatcher,
    health::{
        page,
        progress::{Progress, Turn},
        reading::Reading,
    },
    pool::Pool,
    task::Registry,
    worker::{Holdings, Link, LinkPhase, WorkerHandle, WorkerMetrics},
};

/// How long a loop of the worker may take to answer. They answer in microseconds unless they are stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far an attempt to connect, or the pause before it, may be over its time.
const OVERDUE: Duration = Duration::from_secs(60);
/// How long joining the other workers, declaring and beginning to consume may take.
const OPENING: Duration = Duration::from_secs(120);

/// The worker that is looked at.
pub struct Subject {
    /// Node name.
    pub hostname: String,
    /// Celery's version that it speaks.
    pub celery_version: String,
    /// Name of the pool, `prefork`.
    pub pool_name: String,
    /// What it counts.
    pub metrics: Arc<WorkerMetrics>,
    /// The tasks, with what is counted of each.
    pub registry: Arc<Registry>,
    /// Its events.
    pub events: EventDispatcher,
    /// Where results go.
    pub backend: Arc<dyn ResultBackend>,
    /// Python seats, if any.
    pub pool: Option<Arc<dyn Pool>>,
    /// Native seats.
    pub native_seats: usize,
    /// Cancelled when it begins to stop.
    pub stopping: CancellationToken,
    /// `broker_connection_timeout`: how long one attempt may take.
    pub connection_timeout: Duration,
}

/// Judges one worker.
pub struct Checks {
    subject: Subject,
    handle: WorkerHandle,
    /// Of the tasks that have ended, as probes have seen it.
    progress: Mutex<Progress>,
    has_started: AtomicBool,
}

/// What a probe is told: each check, and what is wrong with it, if anything.
pub(super) type Verdict = Vec<(&'static str, Result<(), String>)>;

impl Checks {
    /// Checks of this worker, which is asked through its handle.
    pub fn new(subject: Subject, handle: WorkerHandle) -> Self {
        let progress = Mutex::new(Progress::new(Instant::now()));
        Self { subject, handle, progress, has_started: AtomicBool::new(false) }
    }

    /// Resolves when the worker has ended.
    pub(super) async fn ended(&self) {
        self.handle.ended().await;
    }

    /// Whether the consumer makes progress. A worker that stops waits for its tasks, which may take as long as they like.
    pub(super) async fn live(&self) -> Verdict {
        if self.subject.stopping.is_cancelled() {
            return vec![("stopping", Ok(()))];
        }
        let (dispatcher, pool) = tokio::join!(self.dispatcher(), self.pool());
        vec![
            ("dispatcher", dispatcher.map(drop)),
            ("pool", pool),
            ("broker", overdue(self.subject.metrics.link(), self.subject.connection_timeout, Instant::now())),
            ("results", self.results()),
        ]
    }

    /// Whether tasks are taken and would be run.
    pub(super) fn ready(&self) -> Verdict {
        let stopping = self.subject.stopping.is_cancelled();
        vec![
            ("stopping", if stopping { Err("it takes no more tasks".to_owned()) } else { Ok(()) }),
            ("broker", self.consumes()),
            ("pool", self.has_children()),
        ]
    }

    /// Whether it has ever been as far.
    pub(super) fn started(&self) -> Verdict {
        if self.has_started.load(Ordering::Relaxed) {
            return vec![("started", Ok(()))];
        }
        let verdict = vec![("broker", self.consumes()), ("pool", self.has_children())];
        if verdict.iter().all(|(_, check)| check.is_ok()) {
            self.has_started.store(true, Ordering::Relaxed);
        }
        verdict
    }

    /// The page for Prometheus.
    pub(super) async fn metrics(&self) -> Result<String, std::fmt::Error> {
        let holdings = self.dispatcher().await.ok();
        page::render(Reading::of(&self.subject, holdings))
    }

    async fn dispatcher(&self) -> Result<Holdings, String> {
        if self.subject.stopping.is_cancelled() {
            return Err("it stops".to_owned());
        }
        let answer = tokio::time::timeout(PATIENCE, self.handle.ask(|worker| worker.holdings())).await;
        match answer {
            Ok(Some(holdings)) => Ok(holdings),
            Ok(None) => Err("it has ended".to_owned()),
            Err(_) => Err(silent()),
        }
    }

    async fn pool(&self) -> Result<(), String> {
        let Some(pool) = &self.subject.pool else { return Ok(()) };
        match tokio::time::timeout(PATIENCE, pool.writes()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("it has ended".to_owned()),
            Err(_) => Err(silent()),
        }
    }

    fn results(&self) -> Result<(), String> {
        let metrics = &self.subject.metrics;
        let turn = Turn {
            settling: metrics.settling(),
            moved: metrics.settled.get() + self.subject.backend.retries(),
            is_up: metrics.link().phase == LinkPhase::Up,
        };
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).judge(turn, Instant::now())
    }

    fn consumes(&self) -> Result<(), String> {
        match self.subject.metrics.link().phase {
            LinkPhase::Up => Ok(()),
            LinkPhase::Connecting | LinkPhase::Waiting(_) => Err("there is no connection".to_owned()),
            LinkPhase::Opening => Err("it does not consume yet".to_owned()),
            LinkPhase::Over => Err("it is given up".to_owned()),
        }
    }

    fn has_children(&self) -> Result<(), String> {
        match &self.subject.pool {
            // With autoscale there may be meant to be none.
            Some(pool) if pool.size() > 0 && pool.census().up == 0 => Err("no child is up".to_owned()),
            _ => Ok(()),
        }
    }
}

fn silent() -> String {
    format!("it does not answer within {} seconds", PATIENCE.as_secs())
}

/// Whether the session takes longer for something than it can.
fn overdue(link: Link, connection_timeout: Duration, now: Instant) -> Result<(), String> {
    let may_take = match link.phase {
        LinkPhase::Up => return Ok(()),
        LinkPhase::Over => return Err("it is given up".to_owned()),
        LinkPhase::Connecting => connection_timeout.saturating_add(OVERDUE),
        LinkPhase::Waiting(pause) => pause.saturating_add(OVERDUE),
        LinkPhase::Opening => OPENING,
    };
    let taken = now.saturating_duration_since(link.since);
    if taken <= may_take {
        return Ok(());
    }
    let what = match link.phase {
        LinkPhase::Opening => "beginning to consume",
        LinkPhase::Waiting(_) => "the pause before the next attempt to connect",
        _ => "an attempt to connect",
    };
    Err(format!("{what} takes {} seconds", taken.as_secs()))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        backend::DisabledBackend,
        event::{Clock, EventOptions},
        pool::fake::FakePool,
        protocol::ExchangeType,
        worker::{Command, Wires},
    };

    /// Checks of a worker whose dispatcher is played by whoever holds the receiver.
    fn checks() -> (Checks, mpsc::Receiver<Command>, Wires) {
        let (commands, heard) = mpsc::channel(1);
        let wires = Wires::default();
        let options = EventOptions {
            hostname: "w@h".to_owned(),
            exchange: "celeryev".to_owned(),
            exchange_type: ExchangeType::Topic,
            serializer: "json".to_owned(),
            task_events: false,
            enabled: false,
            origin: "gen1@h".to_owned(),
        };
        let (pool, _) = FakePool::new(1);
        let subject = Subject {
            hostname: "w@h".to_owned(),
            celery_version: "5.7.0".to_owned(),
            pool_name: "prefork".to_owned(),
            metrics: wires.metrics(),
            registry: Arc::default(),
            events: EventDispatcher::new(options, Clock::default(), wires.publisher()).0,
            backend: Arc::new(DisabledBackend::default()),
            pool: Some(Arc::new(pool)),
            native_seats: 1,
            stopping: wires.stopping(),
            connection_timeout: Duration::from_secs(4),
        };
        (Checks::new(subject, WorkerHandle::new(commands)), heard, wires)
    }

    fn faults(verdict: Verdict) -> Vec<&'static str> {
        verdict.into_iter().filter(|(_, check)| check.is_err()).map(|(name, _)| name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_no_life() {
        let (checks, heard, wires) = checks();
        assert_eq!(faults(checks.live().await), ["dispatcher"]);
        drop(heard);
        assert_eq!(faults(checks.live().await), ["dispatcher"]);
        wires.stopping().cancel();
        assert!(faults(checks.live().await).is_empty(), "what stops may take its time");
    }

    #[tokio::test]
    async fn ready_is_what_consumes_and_has_children() {
        let (checks, _heard, wires) = checks();
        assert_eq!(faults(checks.ready()), ["broker", "pool"]);
        assert_eq!(faults(checks.started()), ["broker", "pool"]);
        wires.metrics().set_link(LinkPhase::Up);
        assert_eq!(faults(checks.ready()), ["pool"]);
        wires.stopping().cancel();
        assert_eq!(faults(checks.ready()), ["stopping", "pool"]);
    }

    #[test]
    fn a_session_is_dead_when_it_takes_longer_than_it_can() {
        let since = Instant::now();
        let (timeout, second) = (Duration::from_secs(4), Duration::from_secs(1));
        let judge = |phase, after| overdue(Link { phase, since }, timeout, since + after).is_ok();
        let pause = Duration::from_secs(32);
        assert!(judge(LinkPhase::Up, OPENING * 1000));
        assert!(judge(LinkPhase::Connecting, timeout + OVERDUE));
        assert!(!judge(LinkPhase::Connecting, timeout + OVERDUE + second));
        assert!(judge(LinkPhase::Waiting(pause), pause + OVERDUE));
        assert!(!judge(LinkPhase::Waiting(pause), pause + OVERDUE + second));
        assert!(judge(LinkPhase::Opening, OPENING));
        assert!(!judge(LinkPhase::Opening, OPENING + second));
        assert!(!judge(LinkPhase::Over, Duration::ZERO));
    }
}
