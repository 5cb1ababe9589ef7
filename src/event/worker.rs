//! The worker events: online, heartbeat, offline (`celery/worker/heartbeat.py`).

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{
    event::EventDispatcher,
    serialization::{Map, Value},
};

/// What a heartbeat tells. Written by the worker's dispatcher, read here.
#[derive(Debug, Clone, Default)]
pub struct WorkerStats {
    active: Arc<AtomicUsize>,
    processed: Arc<AtomicU64>,
}

impl WorkerStats {
    /// Notes how many tasks run now and how many were ever accepted.
    pub fn set(&self, active: usize, processed: u64) {
        self.active.store(active, Ordering::Relaxed);
        self.processed.store(processed, Ordering::Relaxed);
    }

    /// How many tasks run.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }
}

impl EventDispatcher {
    /// Sends `worker-online`, `worker-heartbeat` or `worker-offline`; `freq` is the heartbeat's, in seconds.
    pub fn heartbeat(&self, kind: &'static str, freq: f64, stats: &WorkerStats, software_version: &str) {
        let mut fields = Map::with_capacity(7);
        fields.insert("freq".to_owned(), freq.into());
        fields.insert("active".to_owned(), count(stats.active.load(Ordering::Relaxed) as u64));
        fields.insert("processed".to_owned(), count(stats.processed.load(Ordering::Relaxed)));
        fields.insert("loadavg".to_owned(), Value::List(loadavg().map(Value::Float).to_vec()));
        fields.insert("sw_ident".to_owned(), "py-celery".into());
        fields.insert("sw_ver".to_owned(), software_version.into());
        fields.insert("sw_sys".to_owned(), "Linux".into());
        self.worker(kind, fields);
    }
}

fn count(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// The load averages of the last 1, 5 and 15 minutes, rounded up to two decimals as Celery does; zeros where the
/// system does not say.
pub fn loadavg() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut fields = text.split(' ').map(|field| field.parse::<f64>().unwrap_or(0.0));
    [(); 3].map(|()| (fields.next().unwrap_or(0.0) * 100.0).ceil() / 100.0)
}
