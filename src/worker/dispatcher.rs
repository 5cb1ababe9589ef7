//! The dispatcher: chooses an event, updates its state, acts on the answer.
//!
//! Sole owner of what the worker holds: reserved and active requests, ETA queue, rate limits, revoked ids, prefetch
//! window. It never awaits the network; what does is spawned, and reports back.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::{
    broker::{Connection, Deliveries, Delivery, Unacked},
    event::WorkerStats,
    protocol::{
        Queue,
        time::{isoformat, parse_iso},
    },
    task::Runner,
    worker::{
        autoscale::Autoscaler,
        command::Command,
        due,
        eta::EtaQueue,
        execute::{self, Signal},
        executions::Executions,
        qos::Qos,
        rate_limit::RateLimits,
        receive::Receiver,
        refuse,
        request::Request,
        revoked::Revoked,
        services::{Report, Services},
        session::SessionEvent,
        shutdown::{Shutdown, StopReason},
        state::{Entry, State},
        strategy::{self, DiscardReason, Verdict},
    },
};

/// Requests that may be on their way to the result backend beyond those that the window allows: a slow backend slows
/// the taking of new ones down, instead of filling the memory.
const ENDING: usize = 256;

/// Deliveries or reports handled before the loop looks at anything else.
const BATCH: usize = 256;

/// The loop's state. Made by [`Worker::run`](super::Worker::run), which also reads what is left of it afterwards.
pub struct Dispatcher {
    pub(super) services: Arc<Services>,
    pub(super) receiver: Receiver,
    pub(super) state: State,
    pub(super) eta: EtaQueue,
    pub(super) rates: RateLimits,
    pub(super) revoked: Revoked,
    pub(super) qos: Qos,
    /// Executions under way; awaited at the end.
    pub(super) executions: Executions,
    /// Read by the heart.
    stats: WorkerStats,
    processed: u64,
    /// Read by the session at each connect.
    pub(super) queues: watch::Sender<Vec<Queue>>,
    /// Python seats, from which the prefetch window is computed; changed by `pool_grow`, `pool_shrink` and autoscale.
    pub(super) seats: usize,
    /// With `--autoscale`.
    pub(super) autoscaler: Option<Autoscaler>,
    /// Set by a remote `shutdown`.
    pub(super) asked: Option<Shutdown>,
    live: Option<Live>,
    pub(super) numbers: u64,
    /// The first number that the current connection has given.
    first_of_session: u64,
}

/// The current connection.
struct Live {
    connection: Arc<dyn Connection>,
    deliveries: Deliveries,
    /// Where what waits for its time can be read again.
    unacked: Option<Arc<dyn Unacked>>,
}

/// The loop's ears; the other ends are held by the session, the executions, the handle and whoever stops the worker.
pub struct Inbox {
    /// From [`Session`](super::session::Session).
    pub session: mpsc::Receiver<SessionEvent>,
    /// From every execution.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// From [`WorkerHandle`](super::WorkerHandle)s.
    pub commands: mpsc::Receiver<Command>,
    /// From the command line's signals, or whoever runs the worker.
    pub shutdown: watch::Receiver<Option<Shutdown>>,
    /// From the pool, when it cannot go on.
    pub pool_failed: BoxFuture<'static, String>,
}

impl Dispatcher {
    /// A dispatcher with nothing in hand.
    pub fn new(
        services: Arc<Services>,
        receiver: Receiver,
        stats: WorkerStats,
        queues: watch::Sender<Vec<Queue>>,
    ) -> Self {
        let options = &services.options;
        let seats = options.concurrency;
        let qos = Qos::new(first_window(options), options.eta_task_limit);
        let autoscaler = options.autoscale.map(|range| Autoscaler::new(range, Instant::now()));
        let mut revoked = Revoked::new(options.revokes);
        if let Some(state) = &options.state {
            revoked.restore(&state.revoked, Instant::now());
        }
        Self {
            services,
            receiver,
            state: State::default(),
            eta: EtaQueue::default(),
            rates: RateLimits::default(),
            revoked,
            qos,
            executions: Executions::new(),
            stats,
            processed: 0,
            queues,
            seats,
            autoscaler,
            asked: None,
            live: None,
            numbers: 0,
            first_of_session: 1,
        }
    }

    /// Runs until asked to stop or the broker is given up.
    pub async fn run(&mut self, inbox: &mut Inbox) -> StopReason {
        let mut reports = Vec::with_capacity(BATCH);
        loop {
            let most = self.qos.base() as usize + ENDING;
            self.tell_prefetch();
            let due = self.next_due();
            tokio::select! {
                biased;
                Ok(asked) = inbox.shutdown.wait_for(Option::is_some) => {
                    return StopReason::Asked(asked.unwrap_or(Shutdown::Warm));
                }
                reason = &mut inbox.pool_failed => return StopReason::Pool(reason),
                Some(command) = inbox.commands.recv() => {
                    self.obey(command);
                    if let Some(asked) = self.asked {
                        return StopReason::Asked(asked);
                    }
                }
                _ = inbox.reports.recv_many(&mut reports, BATCH) => self.note(&mut reports),
                () = due::wait_until(due), if due.is_some() => self.start_due(),
                event = inbox.session.recv() => {
                    // A session that ended without a word would leave a worker that never works again.
                    let Some(event) = event else { return StopReason::Broker("the session has ended".to_owned()) };
                    if let Some(reason) = self.on_session(event) {
                        return reason;
                    }
                }
                batch = next_batch(&mut self.live), if self.state.len() < most => batch.into_iter().for_each(|delivery| self.take(delivery)),
            }
        }
    }

    /// Takes note of what the session has said last.
    pub fn hear_session(&mut self, inbox: &mut Inbox) {
        while let Ok(event) = inbox.session.try_recv() {
            self.on_session(event);
        }
    }

    /// Gives back everything that has not begun and takes nothing more.
    pub fn drain(&mut self) {
        self.eta.clear();
        self.rates.clear();
        if let Some(pool) = &self.services.pool {
            // The receiver only says when all children are gone; the executions say so too, one by one.
            drop(pool.stop(None));
        }
        // What waits for a Python seat is answered by the pool, which knows what has begun.
        let is_native = |entry: &Entry| matches!(entry.definition.runner, Runner::Native(_));
        self.signal_all(|entry| entry.accepted.is_none() && is_native(entry), &Signal::Withdraw);
    }

    /// Ends what is still active, as far as it can be ended.
    pub fn cancel_active(&self) {
        self.signal_all(|_| true, &Signal::Cancel);
    }

    /// How many tasks run, to look at while this is busy.
    pub fn stats(&self) -> WorkerStats {
        self.stats.clone()
    }

    /// Handles reports until nothing is left in the pools' hands.
    pub async fn drain_reports(&mut self, inbox: &mut Inbox) {
        let mut reports = Vec::with_capacity(BATCH);
        while !self.state.is_empty() {
            inbox.reports.recv_many(&mut reports, BATCH).await;
            self.note(&mut reports);
        }
    }

    /// The connection, while there is one.
    pub fn connection(&self) -> Option<Arc<dyn Connection>> {
        self.live.as_ref().map(|live| live.connection.clone())
    }

    fn signal_all(&self, which: impl Fn(&Entry) -> bool, signal: &Signal) {
        for (_, entry) in self.state.entries().filter(|(_, entry)| which(entry)) {
            // A full or closed channel belongs to an execution that is ending anyway.
            let _ = entry.signal.try_send(signal.clone());
        }
    }

    // === deliveries ===

    fn take(&mut self, delivery: Delivery) {
        self.numbers += 1;
        match self.receiver.receive(self.numbers, delivery) {
            Ok(request) => self.judge(request),
            Err(refusal) => refuse::refuse(*refusal, &self.services, &self.executions),
        }
    }

    fn judge(&mut self, request: Request) {
        request.count_received();
        info!(target: "celery.worker.strategy", task_id = request.id(), task_name = request.name(),
            "Task {request} received");
        match strategy::decide(&request, &self.revoked, SystemTime::now()) {
            Verdict::Discard(reason) => self.discard(request, reason),
            Verdict::Later(eta) => {
                self.announce(&request);
                self.qos.increment();
                let unacked = self.live.as_ref().and_then(|live| live.unacked.as_ref());
                self.eta.insert(eta, request, unacked, SystemTime::now());
            }
            Verdict::Now => {
                self.announce(&request);
                self.throttle(request);
            }
        }
    }

    fn announce(&self, request: &Request) {
        let Services { events, options, signals, .. } = &*self.services;
        signals.received(request);
        if events.task_events() && request.definition.options.send_events {
            // With the message's own offset, or in the app's time zone if it has none.
            let worded = |text: &Option<String>| {
                let time = parse_iso(text.as_deref()?).ok()?;
                Some(if time.offset().is_some() { time.isoformat() } else { isoformat(time.into(), &options.timezone) })
            };
            events.received(&request.headers, worded(&request.headers.eta), worded(&request.headers.expires));
        }
    }

    pub(super) fn throttle(&mut self, request: Request) {
        let ready = match request.definition.options.rate_limit {
            Some(limit) if !self.services.options.disable_rate_limits => {
                self.rates.admit(request, limit, Instant::now())
            }
            _ => Some(request),
        };
        if let Some(request) = ready {
            self.start(request);
        }
    }

    pub(super) fn start(&mut self, request: Request) {
        if let Some(reason) = strategy::discard(&request, &self.revoked, SystemTime::now()) {
            return self.discard(request, reason);
        }
        let (signal, signals) = mpsc::channel(4);
        self.state.reserve(request.number, Entry::new(&request, signal));
        if let Some(autoscaler) = &mut self.autoscaler {
            let now = Instant::now();
            autoscaler.received(now);
            self.autoscale(now);
        }
        self.executions.spawn(execute::execute(request, self.services.clone(), signals));
    }

    fn discard(&mut self, request: Request, reason: DiscardReason) {
        self.executions.spawn(execute::discard(request, reason, self.services.clone()));
    }

    // === reports and commands ===

    fn note(&mut self, reports: &mut Vec<Report>) {
        for report in reports.drain(..) {
            match report {
                Report::Accepted(number, accepted) => {
                    self.processed += 1;
                    self.state.accept(number, accepted);
                }
                Report::Ended(number) => {
                    self.state.forget(number);
                    self.restore_prefetch(number);
                }
                Report::FromShelf(read) => self.put_whole(read),
                Report::Expired(id) => self.revoked.insert(id, Instant::now()),
            }
        }
        self.stats.set(self.state.active(), self.processed);
    }

    fn obey(&mut self, command: Command) {
        command.apply(self);
    }

    // === connections ===

    fn on_session(&mut self, event: SessionEvent) -> Option<StopReason> {
        match event {
            SessionEvent::Up(connection, deliveries) => {
                self.qos.reset();
                self.eta.begin_session();
                self.first_of_session = self.numbers + 1;
                let unacked = connection.unacked();
                self.live = Some(Live { connection, deliveries, unacked });
                None
            }
            SessionEvent::Down(window) => {
                self.lose_session();
                self.reduce_prefetch();
                // The session may have been stopped meanwhile.
                let _ = window.send(self.qos.base());
                None
            }
            SessionEvent::GaveUp(failure) => Some(StopReason::Broker(failure.to_string())),
        }
    }

    /// What the old connection brought and has not begun is dropped where the broker hands it out again by itself. On
    /// Redis it stays noted in `unacked` under our tags, which outlive the connection: there it is kept.
    fn lose_session(&mut self) {
        let Some(live) = self.live.take() else { return };
        if live.connection.tags_survive() {
            return;
        }
        self.eta.clear();
        self.rates.clear();
        self.signal_all(|entry| entry.accepted.is_none(), &Signal::Withdraw);
        if self.services.options.cancel_on_connection_loss {
            let is_lost = |entry: &Entry| entry.accepted.is_some() && entry.definition.options.acks_late;
            for (_, entry) in self.state.entries().filter(|(_, entry)| is_lost(entry)) {
                warn!(target: "celery.worker.consumer.consumer",
                    "Task {}[{}] cannot be acknowledged after a connection loss since late acknowledgement is enabled for it.\n\
                     Terminating it instead.\n", entry.headers.display_name(), entry.headers.id);
            }
            self.signal_all(is_lost, &Signal::Cancel);
        }
    }

    fn reduce_prefetch(&mut self) {
        let options = &self.services.options;
        if !options.reduce_prefetch {
            return;
        }
        // Celery's #9512.
        if options.static_prefetch {
            info!(target: "celery.worker.consumer.consumer",
                "Skipping prefetch count reduction after connection restart because per-consumer QoS (apply_global=False) \
                 is in effect and broker-side prefetch updates would not reach the running consumer.");
            return;
        }
        let active = self.state.active();
        if let Some(reduced) = self.qos.reduce(active, options.prefetch_multiplier) {
            info!(target: "celery.worker.consumer.consumer",
                "Temporarily reducing the prefetch count to {reduced} to avoid over-fetching since {active} tasks are currently \
                 being processed.\nThe prefetch count will be gradually restored to {} as the tasks complete processing.",
                self.qos.whole());
        }
    }

    /// One that the current connection brought has ended.
    fn restore_prefetch(&mut self, number: u64) {
        if number < self.first_of_session {
            return;
        }
        if let Some(whole) = self.qos.restore(self.services.options.prefetch_multiplier) {
            info!(target: "celery.worker.consumer.consumer",
                "Resuming normal operations following a restart.\n\
                 Prefetch count has been restored to the maximum of {whole}");
        }
    }

    fn tell_prefetch(&mut self) {
        let Some(live) = &self.live else { return };
        let mut window = Some(self.qos.value());
        if self.services.options.disable_prefetch {
            // One that is acknowledged when it begins counts as settled as soon as it is given to a pool: it must not be
            // replaced before it has ended.
            let held = self.state.len();
            let unsettled = held - self.state.early() + self.rates.len();
            window = self.qos.without_prefetch(unsettled, self.most_seats().saturating_sub(held));
        }
        if let Some(count) = window.and_then(|window| self.qos.changed(window)) {
            live.connection.set_prefetch(count);
        }
        if self.services.options.disable_prefetch {
            live.connection.set_paused(window.is_none());
        }
    }
}

/// What can be running or about to: the pools' seats times the multiplier.
pub(super) fn base_prefetch(options: &super::options::WorkerOptions, seats: usize) -> u32 {
    u32::try_from(seats).unwrap_or(u32::MAX).saturating_mul(options.prefetch_multiplier)
}

/// The window of a worker that starts: with autoscale, for as many children as there may be.
pub(super) fn first_window(options: &super::options::WorkerOptions) -> u32 {
    base_prefetch(options, options.autoscale.map_or(options.concurrency, |range| range.max.max(1)))
}

/// The next deliveries. When their stream has ended there is nothing to hear until the session says what became of the
/// connection.
async fn next_batch(live: &mut Option<Live>) -> Vec<Delivery> {
    let Some(live) = live else { return std::future::pending().await };
    match live.deliveries.recv().await {
        Some(batch) => batch,
        None => std::future::pending().await,
    }
}
