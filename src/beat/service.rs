//! [`Beat`]: the loop that sends what is due, until it is told to stop (`celery/beat.py:Service`).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::{
    LOGGER,
    entry::Entry,
    humanize::humanize,
    scheduler::{Occurrence, Scheduler, Tick},
    store::Store,
};
use crate::{
    beat::BeatError,
    broker::{BrokerError, BrokerErrorKind},
    producer::{Apply, Producer, ProducerError},
    protocol::repr::repr,
};

/// The schedule is kept at least this often.
const SYNC_EVERY: Duration = Duration::from_secs(180);

/// Pause between two looks at an entry that is due in less than the drift.
const SHORTEST: Duration = Duration::from_millis(1);

/// How long a message that is on its way may take when beat is stopped.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Sends what is due.
pub struct Beat {
    scheduler: Scheduler,
    store: Store,
    producer: Producer,
    /// `beat_sync_every`: after so many tasks; 0 goes by time alone.
    sync_every: u64,
    since_sync: u64,
    last_sync: Option<Instant>,
}

impl Beat {
    /// Ready to run; the schedule is written once, so that what is wrong with its file shows now.
    ///
    /// # Errors
    /// When the schedule file cannot be written.
    pub fn new(scheduler: Scheduler, mut store: Store, producer: Producer, sync_every: u64) -> Result<Self, BeatError> {
        store.sync(scheduler.entries())?;
        let beat = Self { scheduler, store, producer, sync_every, since_sync: 0, last_sync: None };
        Ok(beat)
    }

    /// Runs until it is stopped, and keeps the schedule then.
    ///
    /// # Errors
    /// When there is no broker for as long as the settings say, or the schedule cannot be kept at the end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BeatError> {
        self.announce();
        let beaten = self.beat(&stop).await;
        tracing::debug!(target: LOGGER, "beat: Synchronizing schedule...");
        self.store.sync(self.scheduler.entries())?;
        beaten
    }

    fn announce(&self) {
        let shown = |entry: &Entry| format!("<ScheduleEntry: {} {} {}", entry.name, called(entry), entry.schedule);
        let entries: Vec<String> = self.scheduler.entries().iter().map(shown).collect();
        tracing::debug!(target: LOGGER, "Current schedule:\n{}", entries.join("\n"));
        tracing::info!(target: LOGGER, "beat: Starting...");
        let longest = humanize(self.scheduler.max_interval(), "");
        tracing::debug!(target: LOGGER, "beat: Ticking with max interval->{longest}");
    }

    async fn beat(&mut self, stop: &CancellationToken) -> Result<(), BeatError> {
        while !stop.is_cancelled() {
            match self.scheduler.tick(now()) {
                Tick::Send(occurrence) => {
                    self.apply(&occurrence, stop).await?;
                    self.scheduler.sent(occurrence, now());
                }
                Tick::Wait(seconds) => {
                    if seconds > 0.0 {
                        tracing::debug!(target: LOGGER, "beat: Waking up {}.", humanize(seconds, "in "));
                    }
                    let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default().max(SHORTEST);
                    let _ = tokio::time::timeout(wait, stop.cancelled()).await;
                    self.sync_if_due();
                }
            }
        }
        Ok(())
    }

    async fn apply(&mut self, occurrence: &Occurrence, stop: &CancellationToken) -> Result<(), BeatError> {
        let entry = self.scheduler.entry(occurrence);
        tracing::info!(target: LOGGER, "Scheduler: Sending due task {} ({})", entry.name, entry.task);
        match self.send(entry, stop).await {
            Ok(id) => tracing::debug!(target: LOGGER, "{} sent. id->{id}", entry.task),
            Err(ProducerError::Broker(error)) if error.kind() != BrokerErrorKind::Refused => {
                self.scheduler.unsent(*occurrence);
                return if stop.is_cancelled() { Ok(()) } else { Err(error.into()) };
            }
            Err(source) => {
                let error = BeatError::Sending { name: entry.name.clone(), source };
                tracing::error!(target: LOGGER, "Message Error: {error}");
            }
        }
        self.since_sync += 1;
        self.sync_if_due();
        Ok(())
    }

    /// The task's id. What is on its way when beat is stopped is not waited for where there is no broker.
    async fn send(&self, entry: &Entry, stop: &CancellationToken) -> Result<String, ProducerError> {
        let given_up = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORD).await;
        };
        tokio::select! {
            sent = self.producer.send(entry.signature(), Apply::default()) => sent.map(|sent| sent.id),
            () = given_up => Err(BrokerError::lost("beat was stopped before the broker took the message").into()),
        }
    }

    /// A schedule that cannot be kept now is kept later.
    fn sync_if_due(&mut self) {
        let by_time = self.last_sync.is_none_or(|last| last.elapsed() > SYNC_EVERY);
        if !by_time && (self.sync_every == 0 || self.since_sync < self.sync_every) {
            return;
        }
        tracing::debug!(target: LOGGER, "beat: Synchronizing schedule...");
        if let Err(error) = self.store.sync(self.scheduler.entries()) {
            tracing::error!(target: LOGGER, "beat: {error}");
        }
        (self.last_sync, self.since_sync) = (Some(Instant::now()), 0);
    }
}

/// `task(1, a=2)`.
fn called(entry: &Entry) -> String {
    let args = entry.args.iter().map(repr);
    let kwargs = entry.kwargs.iter().map(|(name, value)| format!("{name}={}", repr(value)));
    format!("{}({})", entry.task, args.chain(kwargs).collect::<Vec<_>>().join(", "))
}

/// Microseconds since the epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
