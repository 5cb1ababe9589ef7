//! [`Heart`]: tells the world that this worker lives, from each connect to the end (`celery/worker/heartbeat.py`).

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{BrokerError, Connection},
    event::{EventDispatcher, WorkerStats},
    worker::{main_signals::MainSignals, session::SessionHook},
};

/// Celery's default.
const FREQ: Duration = Duration::from_secs(2);
/// Beyond which clocks overflow.
const SLOWEST: Duration = Duration::from_secs(u32::MAX as u64);

/// The heartbeat of one worker.
pub struct Heart {
    events: EventDispatcher,
    signals: MainSignals,
    stats: WorkerStats,
    freq: Duration,
    software_version: String,
    stop: CancellationToken,
}

impl Heart {
    /// A heart that beats every `freq`, once [`Heart::beat`] runs; zero is Celery's default of two seconds.
    pub fn new(
        events: EventDispatcher,
        signals: MainSignals,
        stats: WorkerStats,
        freq: Duration,
        software_version: String,
    ) -> Self {
        Self { events, signals, stats, freq: sensible(freq), software_version, stop: CancellationToken::new() }
    }

    /// The same, until `stop`.
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Beats until stopped, then says that the worker is offline.
    pub async fn beat(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.freq);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.send("worker-heartbeat"),
                () = self.stop.cancelled() => return self.send("worker-offline"),
            }
        }
    }

    fn send(&self, kind: &'static str) {
        self.signals.heartbeat();
        self.events.heartbeat(kind, self.freq.as_secs_f64(), &self.stats, &self.software_version);
    }
}

impl SessionHook for Heart {
    fn on_session<'a>(&'a self, _connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.send("worker-online");
        Box::pin(async { Ok(()) })
    }
}

fn sensible(freq: Duration) -> Duration {
    if freq.is_zero() { FREQ } else { freq.min(SLOWEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_frequency_stops_the_heart() {
        for freq in [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)] {
            let mut ticks = tokio::time::interval(sensible(freq));
            ticks.tick().await;
            let _ = futures::poll!(Box::pin(ticks.tick()));
        }
        assert_eq!(sensible(Duration::ZERO), FREQ);
    }
}
