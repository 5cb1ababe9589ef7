//! [`Heart`]: tells the world that this worker lives, on each connection from its beginning to its end
//! (`celery/worker/heartbeat.py`).

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{sync::watch, time::Instant};
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
    /// The connection that it beats for; read by [`Heart::beat`].
    connection: watch::Sender<Option<Arc<dyn Connection>>>,
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
        let (connection, freq) = (watch::channel(None).0, sensible(freq));
        Self { events, signals, stats, freq, software_version, connection, stop: CancellationToken::new() }
    }

    /// The same, until `stop`.
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Beats while there is a connection, until stopped. What is said at the end of a connection is heard by way of the
    /// next one.
    pub async fn beat(self: Arc<Self>) {
        let mut connections = self.connection.subscribe();
        loop {
            let connection = tokio::select! {
                Ok(()) = connections.changed() => connections.borrow_and_update().clone(),
                () = self.stop.cancelled() => return,
            };
            let Some(connection) = connection else { continue };
            self.beat_for(&*connection).await;
            self.send("worker-offline");
        }
    }

    /// Until the connection is lost, or stopped.
    async fn beat_for(&self, connection: &dyn Connection) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.freq, self.freq);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = connection.closed();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.send("worker-heartbeat"),
                _ = &mut ended => return,
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn send(&self, kind: &'static str) {
        self.signals.heartbeat();
        self.events.heartbeat(kind, self.freq.as_secs_f64(), &self.stats, &self.software_version);
    }
}

impl SessionHook for Heart {
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.send("worker-online");
        self.connection.send_replace(Some(connection.clone()));
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
            let freq = sensible(freq);
            let mut ticks = tokio::time::interval_at(Instant::now() + freq, freq);
            let _ = futures::poll!(Box::pin(ticks.tick()));
        }
        assert_eq!(sensible(Duration::ZERO), FREQ);
    }
}
