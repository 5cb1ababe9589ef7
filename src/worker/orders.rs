//! What the worker can be told while it runs: by remote control, in the dispatcher's own time.

use std::time::Instant;

use tracing::{debug, error, info};

use crate::{
    pool::TimeLimits,
    protocol::Queue,
    serialization::{Map, Value},
    task::RateLimit,
    worker::{
        autoscale::Scale,
        dispatcher::{Dispatcher, base_prefetch},
        execute::Signal,
        shutdown::Shutdown,
        state::Entry,
        strategy::DiscardReason,
    },
};
use std::sync::Arc;

/// There are not enough idle children to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Can't shrink pool. All processes busy!")]
pub struct PoolBusy;

impl Dispatcher {
    /// Revokes tasks by id; what waits for a seat is discarded at once. Gives back the ids that are not active here.
    pub fn revoke(&mut self, ids: &[String]) -> Vec<String> {
        self.merge_revoked(ids);
        let revoke = Signal::Revoke(DiscardReason::Revoked);
        self.signal_where(|entry| is_one_of(entry, ids) && entry.accepted.is_none(), &revoke);
        let is_active = |id: &String| self.state.entries().any(|(_, e)| e.accepted.is_some() && *e.headers.id == **id);
        ids.iter().filter(|id| !is_active(id)).cloned().collect()
    }

    /// Notes ids that another worker has revoked.
    pub fn merge_revoked(&mut self, ids: &[String]) {
        let now = Instant::now();
        ids.iter().for_each(|id| self.revoked.insert(id.as_str(), now));
    }

    /// Revokes every task that has one of these values under one of these stamps; what waits for a seat is discarded at
    /// once.
    pub fn revoke_stamps(&mut self, stamps: &Map) {
        for (name, values) in stamps {
            self.revoked.insert_stamp(name, one_or_all(values));
        }
        for (_, entry) in self.state.entries().filter(|(_, entry)| entry.accepted.is_none()) {
            if let Some(stamp) = self.revoked.matching_stamp(&entry.headers) {
                // A full or closed channel belongs to an execution that is ending anyway.
                let _ = entry.signal.try_send(Signal::Revoke(DiscardReason::RevokedByHeader(stamp)));
            }
        }
    }

    /// Ends tasks by id with a signal. Gives back the ids that were found.
    pub fn terminate(&mut self, ids: &[String], signum: i32) -> Vec<String> {
        let held: Vec<String> = ids.iter().filter(|id| self.is_held(id)).cloned().collect();
        for id in &held {
            info!(target: "celery.worker.control", "Terminating {id} ({signum})");
        }
        self.signal_where(|entry| is_one_of(entry, &held), &Signal::Terminate(signum));
        held
    }

    /// Ends active tasks by stamp. Gives back which values of which stamps were met.
    pub fn terminate_stamped(&mut self, stamps: &Map, signum: i32) -> Map {
        let mut met = Map::new();
        for (_, entry) in self.state.entries().filter(|(_, entry)| entry.accepted.is_some()) {
            for (name, values) in matching(entry, stamps) {
                let known = met.entry(name).or_insert_with(|| Value::List(Vec::new()));
                if let Value::List(known) = known {
                    known.extend(values.into_iter().filter(|value| !known.contains(value)).collect::<Vec<_>>());
                }
                // A full or closed channel belongs to an execution that is ending anyway.
                let _ = entry.signal.try_send(Signal::Terminate(signum));
            }
        }
        met
    }

    /// Changes a task's rate limit on this worker; false when the task is not known.
    pub fn limit_rate(&mut self, task: &str, limit: Option<RateLimit>) -> bool {
        if !Arc::make_mut(&mut self.receiver.registry).change(task, |options| options.rate_limit = limit) {
            return false;
        }
        for request in self.rates.change(task, limit, Instant::now()) {
            self.start(request);
        }
        true
    }

    /// Changes a task's time limits on this worker; false when the task is not known.
    pub fn limit_time(&mut self, task: &str, limits: TimeLimits) -> bool {
        Arc::make_mut(&mut self.receiver.registry).change(task, |options| {
            (options.time_limit, options.soft_time_limit) = (limits.hard, limits.soft);
        })
    }

    /// More Python seats.
    pub fn grow(&mut self, by: usize) {
        self.resize(self.seats.saturating_add(by), i32::try_from(by).unwrap_or(i32::MAX));
    }

    /// Fewer Python seats: as many as are idle, at most.
    ///
    /// # Errors
    /// When fewer than that are idle; those are gone then, as with Celery.
    pub fn shrink(&mut self, by: usize) -> Result<(), PoolBusy> {
        let gone = by.min(self.seats.saturating_sub(self.state.active_python()));
        self.resize(self.seats - gone, -i32::try_from(gone).unwrap_or(i32::MAX));
        if gone < by { Err(PoolBusy) } else { Ok(()) }
    }

    /// Changes the range of `--autoscale`, and grows or shrinks into it at once. Gives back the new `(max, min)`; none
    /// without autoscale.
    pub fn set_autoscale(&mut self, max: Option<usize>, min: Option<usize>) -> Option<(usize, usize)> {
        let range = self.autoscaler.as_ref()?.range();
        if let Some(max) = max.filter(|max| *max < self.seats) {
            self.scale(Scale::Down(self.seats - max));
        }
        if let Some(min) = min.filter(|min| *min > self.seats) {
            self.scale(Scale::Up(min - self.seats));
        }
        let (max, min) = (max.unwrap_or(range.max), min.unwrap_or(range.min));
        if let Some(autoscaler) = &mut self.autoscaler {
            autoscaler.set_range(max, min);
        }
        self.resize_window();
        Some((max, min))
    }

    /// More or fewer children, if autoscale is on and there is reason.
    pub(super) fn autoscale(&mut self, now: Instant) {
        let (qty, seats) = (self.state.reserved_python(), self.seats);
        if let Some(scale) = self.autoscaler.as_mut().and_then(|autoscaler| autoscaler.decide(qty, seats, now)) {
            self.scale(scale);
        }
    }

    fn scale(&mut self, scale: Scale) {
        match scale {
            Scale::Up(by) => {
                info!(target: "celery.worker.autoscale", "Scaling up {by} processes.");
                self.grow(by);
            }
            Scale::Down(by) => {
                info!(target: "celery.worker.autoscale", "Scaling down {by} processes.");
                if self.shrink(by).is_err() {
                    debug!(target: "celery.worker.autoscale", "Autoscaler won't scale down: all processes busy.");
                }
            }
        }
    }

    /// Fewer seats, even if all are busy: greenlets that are too many end with their tasks.
    pub fn shrink_when_free(&mut self, by: usize) {
        self.resize(self.seats.saturating_sub(by), -i32::try_from(by).unwrap_or(i32::MAX));
    }

    /// Consumes one more queue, on this connection and all later ones. Nothing happens if it is consumed already.
    pub fn add_queue(&mut self, queue: Queue) {
        if self.queues.borrow().iter().any(|known| known.name == queue.name) {
            return;
        }
        self.queues.send_modify(|queues| queues.push(queue.clone()));
        let Some(connection) = self.connection() else { return };
        self.executions.spawn(async move {
            let declared = if queue.no_declare { Ok(()) } else { connection.declare(&queue).await };
            let consumed = match declared {
                Ok(()) => connection.consume(&queue).await,
                Err(refused) => Err(refused),
            };
            match consumed {
                Ok(()) => info!(target: "celery.worker.consumer.consumer", "Started consuming from {}", queue.name),
                Err(failure) => {
                    error!(target: "celery.worker.consumer.consumer", "cannot consume from {}: {failure}", queue.name);
                }
            }
        });
    }

    /// Consumes a queue no longer, on this connection and all later ones.
    pub fn cancel_queue(&mut self, name: String) {
        info!(target: "celery.worker.consumer.consumer", "Canceling queue {name}");
        self.queues.send_modify(|queues| queues.retain(|queue| queue.name != name));
        let Some(connection) = self.connection() else { return };
        self.executions.spawn(async move {
            if let Err(failure) = connection.cancel(&name).await {
                error!(target: "celery.worker.consumer.consumer", "cannot stop consuming from {name}: {failure}");
            }
        });
    }

    /// Ends the worker as a SIGTERM does.
    pub fn shut_down(&mut self) {
        self.asked = Some(Shutdown::Warm);
    }

    fn resize(&mut self, seats: usize, by: i32) {
        self.seats = seats;
        if let Some(pool) = &self.services.pool {
            pool.resize(by);
        }
        self.resize_window();
    }

    /// The prefetch window follows the seats, or, with autoscale, what they may become.
    pub(super) fn resize_window(&mut self) {
        let seats = self.most_seats();
        // A window that was never limited stays so; one of no seats would be taken for unlimited.
        if self.services.options.prefetch_multiplier > 0 && seats > 0 {
            self.qos.resize(base_prefetch(&self.services.options, seats));
        }
    }

    /// As many Python seats as there are, or, with autoscale, as there may be.
    pub(super) fn most_seats(&self) -> usize {
        self.autoscaler.as_ref().map_or(self.seats, |autoscaler| autoscaler.range().max.max(1))
    }

    fn is_held(&self, id: &str) -> bool {
        self.state.entries().any(|(_, entry)| *entry.headers.id == *id) || self.eta.contains(id)
    }

    fn signal_where(&self, which: impl Fn(&Entry) -> bool, signal: &Signal) {
        for (_, entry) in self.state.entries().filter(|(_, entry)| which(entry)) {
            // A full or closed channel belongs to an execution that is ending anyway.
            let _ = entry.signal.try_send(signal.clone());
        }
    }
}

fn is_one_of(entry: &Entry, ids: &[String]) -> bool {
    ids.iter().any(|id| **id == *entry.headers.id)
}

fn one_or_all(values: &Value) -> Vec<Value> {
    values.as_list().map_or_else(|| vec![values.clone()], <[Value]>::to_vec)
}

/// The stamps of a request that are among these, with the values in common.
fn matching(entry: &Entry, stamps: &Map) -> Vec<(String, Vec<Value>)> {
    let Some(own) = entry.headers.stamps.as_map() else { return Vec::new() };
    let common = stamps.iter().filter_map(|(name, wanted)| {
        let (own, wanted) = (one_or_all(own.get(name)?), one_or_all(wanted));
        let met: Vec<Value> = own.into_iter().filter(|value| wanted.contains(value)).collect();
        (!met.is_empty()).then(|| (name.clone(), met))
    });
    common.collect()
}
