//! [`Reading`]: the worker's numbers at one time.

use std::sync::Arc;

use crate::{
    health::{checks::Subject, processor},
    pool::Census,
    task::{Runner, TaskDefinition},
    worker::{Holdings, LinkPhase, memory},
};

/// What one scrape is told.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) info: [(&'static str, String); 4],
    /// Tasks of which at least one message was received, by name.
    pub(super) tasks: Vec<Arc<TaskDefinition>>,
    pub(super) unregistered: u64,
    pub(super) refused: u64,
    /// None while the worker stops.
    pub(super) holdings: Option<Holdings>,
    pub(super) settling: u64,
    pub(super) store_retries: u64,
    pub(super) is_connected: bool,
    pub(super) reconnects: u64,
    pub(super) events_dropped: u64,
    /// Native seats; none where no native task is registered.
    pub(super) native_seats: Option<u64>,
    /// Python seats, and how it stands with the children.
    pub(super) pool: Option<(u64, Census)>,
    /// Bytes in RAM: this process, then each child.
    pub(super) resident: Option<u64>,
    pub(super) children: Vec<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl Reading {
    /// Reads them.
    pub(super) fn of(subject: &Subject, holdings: Option<Holdings>) -> Self {
        let metrics = &subject.metrics;
        let mut tasks: Vec<_> =
            subject.registry.iter().filter(|task| task.metrics.received.get() > 0).cloned().collect();
        tasks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let has_native = subject.registry.iter().any(|task| matches!(task.runner, Runner::Native(_)));
        let pids = subject.pool.as_ref().map(|pool| pool.pids()).unwrap_or_default();
        Self {
            info: [
                ("hostname", subject.hostname.clone()),
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
                ("celery_version", subject.celery_version.clone()),
                ("pool", subject.pool_name.clone()),
            ],
            tasks,
            unregistered: metrics.unregistered.get(),
            refused: metrics.refused.get(),
            holdings,
            settling: metrics.settling() as u64,
            store_retries: subject.backend.retries(),
            is_connected: metrics.link().phase == LinkPhase::Up,
            reconnects: metrics.reconnects.get(),
            events_dropped: subject.events.dropped(),
            native_seats: has_native.then_some(subject.native_seats as u64),
            pool: subject.pool.as_ref().map(|pool| (pool.size() as u64, pool.census())),
            resident: memory::resident(std::process::id()),
            children: pids.into_iter().filter_map(|pid| memory::resident(pid.cast_unsigned())).collect(),
            cpu_seconds: processor::cpu_seconds(),
        }
    }
}
