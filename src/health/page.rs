//! The page that Prometheus reads: names, help and labels of every metric.
//!
//! Labels have bounded values: tasks that are registered here, and one name for all others.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

use crate::{
    health::reading::Reading,
    task::{
        TaskMetrics,
        metrics::{EndState, Histogram},
    },
};

/// What the page is, as HTTP says it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// In the place of the names of tasks that are not registered here.
const UNREGISTERED: &str = "(unregistered)";

/// The page.
pub(super) fn render(reading: Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut page = String::new();
    prometheus_text::encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        let about = "The worker: node name, versions of celery-rs and of Celery, pool";
        page.0.encode_descriptor("celery_worker", about, None, MetricType::Info)?.encode_info(&self.info)?;
        self.tasks(&mut page)?;
        self.held(&mut page)?;
        self.pool(&mut page)?;
        page.gauge("celery_broker_connected", "Whether the worker consumes", u64::from(self.is_connected))?;
        page.counter("celery_broker_reconnects", "Connections to the broker that were lost", self.reconnects)?;
        page.counter("celery_events_dropped", "Events that could not be sent in time", self.events_dropped)?;
        self.memory(&mut page)
    }
}

impl Reading {
    fn tasks(&self, page: &mut Page) -> fmt::Result {
        let counts = [
            ("celery_tasks_received", "Task messages taken from the broker", self.unregistered),
            ("celery_tasks_started", "Tasks that have begun", 0),
        ];
        for (place, (name, help, unregistered)) in counts.into_iter().enumerate() {
            let mut family = page.family(name, help, MetricType::Counter)?;
            for task in &self.tasks {
                let metrics = &task.metrics;
                let count = if place == 0 { &metrics.received } else { &metrics.started };
                count_of(&mut family, &[("task", &*task.name)], count.get())?;
            }
            if unregistered > 0 {
                count_of(&mut family, &[("task", UNREGISTERED)], unregistered)?;
            }
        }
        let help = "Tasks that have ended, by their state";
        let mut family = page.family("celery_tasks_finished", help, MetricType::Counter)?;
        for task in &self.tasks {
            for state in EndState::ALL {
                let count = task.metrics.finished(state).get();
                if count > 0 || state == EndState::Success {
                    count_of(&mut family, &[("task", &*task.name), ("state", state.as_str())], count)?;
                }
            }
        }
        if self.unregistered > 0 {
            count_of(&mut family, &[("task", UNREGISTERED), ("state", EndState::Failure.as_str())], self.unregistered)?;
        }
        self.times(page, "celery_task_run_seconds", "From beginning to end", |metrics| &metrics.run)?;
        let help = "From its receipt by this worker, or its ETA, to its beginning";
        self.times(page, "celery_task_wait_seconds", help, |metrics| &metrics.wait)?;
        page.counter("celery_messages_refused", "Messages that are no task that could be read", self.refused)
    }

    fn times(&self, page: &mut Page, name: &str, help: &str, which: fn(&TaskMetrics) -> &Histogram) -> fmt::Result {
        let mut family = page.family(name, help, MetricType::Histogram)?;
        for task in &self.tasks {
            let read = which(&task.metrics).read();
            let labels = [("task", &*task.name)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)?;
        }
        Ok(())
    }

    fn held(&self, page: &mut Page) -> fmt::Result {
        let help = "Attempts to store results that failed and were made again";
        page.counter("celery_result_store_retries", help, self.store_retries)?;
        page.gauge("celery_tasks_settling", "Tasks that have ended and are not settled yet", self.settling)?;
        let Some(held) = self.holdings else { return Ok(()) };
        page.gauge("celery_tasks_active", "Tasks that run", held.active as u64)?;
        page.gauge("celery_tasks_reserved", "Tasks that wait for a seat of the pool", held.reserved as u64)?;
        page.gauge("celery_tasks_scheduled", "Tasks that wait for their ETA", held.scheduled as u64)?;
        page.gauge("celery_tasks_rate_limited", "Tasks that wait for their rate limit", held.rate_limited as u64)?;
        let help = "Messages that may be held; 0 is any number";
        page.gauge("celery_prefetch_count", help, u64::from(held.prefetch_count))
    }

    fn pool(&self, page: &mut Page) -> fmt::Result {
        let python = self.pool.map(|(seats, _)| ("python", seats, self.holdings.map(|held| held.active_python)));
        let native = self
            .native_seats
            .map(|seats| ("native", seats, self.holdings.map(|held| held.active.saturating_sub(held.active_python))));
        let runners = [python, native];
        let mut family = page.family("celery_pool_seats", "Tasks that can run at a time", MetricType::Gauge)?;
        for (runner, seats, _) in runners.into_iter().flatten() {
            family.encode_family(&[("runner", runner)])?.encode_gauge(&seats)?;
        }
        let mut family =
            page.family("celery_pool_seats_busy", "Tasks that run, by who runs them", MetricType::Gauge)?;
        for (runner, _, busy) in runners.into_iter().flatten() {
            if let Some(busy) = busy {
                family.encode_family(&[("runner", runner)])?.encode_gauge(&(busy as u64))?;
            }
        }
        let Some((_, census)) = self.pool else { return Ok(()) };
        page.gauge("celery_pool_children", "Children that take tasks or run one", census.up as u64)?;
        let help = "Children that are gone: left when they were to, or died";
        let mut family = page.family("celery_pool_child_exits", help, MetricType::Counter)?;
        count_of(&mut family, &[("end", "left")], census.left)?;
        count_of(&mut family, &[("end", "died")], census.died)?;
        page.counter("celery_pool_zygote_restarts", "Zygotes that were replaced", census.zygotes_replaced)
    }

    fn memory(&self, page: &mut Page) -> fmt::Result {
        if let Some(bytes) = self.resident {
            page.gauge("process_resident_memory_bytes", "Memory of the worker's own process", bytes)?;
        }
        if let Some(seconds) = self.cpu_seconds {
            let help = "Processor time of the worker's own process";
            let mut family = page.family("process_cpu_seconds", help, MetricType::Counter)?;
            family.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
        }
        if self.pool.is_some() {
            let help = "Memory of all children together; what they share counts in each";
            page.gauge("celery_children_resident_memory_bytes", help, self.children.iter().sum())?;
            let most = self.children.iter().copied().max().unwrap_or_default();
            page.gauge("celery_children_resident_memory_max_bytes", "Memory of the largest child", most)?;
        }
        Ok(())
    }
}

/// A page being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }
}

fn count_of<const N: usize>(family: &mut MetricEncoder, labels: &[(&str, &str); N], value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}
