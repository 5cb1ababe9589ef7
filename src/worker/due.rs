//! What the dispatcher does by the clock: requests whose time has come, and tokens of rate limits, and
//! autoscale.

use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use crate::worker::{dispatcher::Dispatcher, eta::FromShelf, refuse};

/// Requests in the pools' hands, beyond those that the window allows, at which one that is due has to wait: whatever is due
/// at the same time, only so much of it is in memory.
const STARTED: usize = 4096;
/// The clock is looked at again after this long: it may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Dispatcher {
    /// How long there is nothing to do by the clock; none while there will be nothing.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let eta = self.eta.next(self.has_room()).map(|eta| eta.duration_since(SystemTime::now()).unwrap_or_default());
        let rate = self.rates.next().map(|at| at.saturating_duration_since(Instant::now()));
        let scale = self.autoscaler.as_ref().map(|scaler| scaler.next_look().saturating_duration_since(Instant::now()));
        eta.into_iter().chain(rate).chain(scale).min()
    }

    /// Starts what is due, and has what will be due soon read again.
    pub(super) fn start_due(&mut self) {
        let now = SystemTime::now();
        while self.has_room() {
            let Some((request, widens)) = self.eta.pop_due(now) else { break };
            // One from an earlier connection never widened this one's window.
            if widens {
                self.qos.decrement();
            }
            self.throttle(request);
        }
        self.eta.read_ahead(now, &self.services.reports);
        while let Some(request) = self.rates.pop_ready(Instant::now()) {
            self.start(request);
        }
        let now = Instant::now();
        if self.autoscaler.as_ref().is_some_and(|autoscaler| autoscaler.next_look() <= now) {
            self.autoscale(now);
        }
    }

    /// Takes requests back that have been read again. Those that the broker has taken back meanwhile are not ours any more.
    pub(super) fn put_whole(&mut self, read: FromShelf) {
        let mut gone = 0;
        for again in self.eta.take_off(read) {
            let Some(delivery) = again.delivery else {
                gone += 1;
                if again.widens {
                    self.qos.decrement();
                }
                continue;
            };
            self.numbers += 1;
            match self.receiver.receive(self.numbers, delivery) {
                Ok(request) => self.eta.keep(request.eta.unwrap_or(SystemTime::UNIX_EPOCH), request, again.widens),
                // It was recognised once; whatever has changed since, it does not wait any more.
                Err(refusal) => {
                    if again.widens {
                        self.qos.decrement();
                    }
                    refuse::refuse(*refusal, &self.services, &self.executions);
                }
            }
        }
        if gone > 0 {
            warn!(target: "celery.worker.strategy",
                "{gone} task(s) that waited for their ETA are not held for this worker any more: they are not run here");
        }
    }

    fn has_room(&self) -> bool {
        self.state.len() < self.qos.base() as usize + STARTED
    }
}

/// Sleeps that long, or until the clock should be looked at again.
pub(super) async fn wait_until(due: Option<Duration>) {
    if let Some(due) = due {
        tokio::time::sleep(due.min(LONGEST_SLEEP)).await;
    }
}
