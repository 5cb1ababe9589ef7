//! [`Settings`]: the configuration as meant, checked and typed once, at start.

mod broker;
mod control;
mod result;
mod task;
mod worker;

#[cfg(test)]
mod tests;

pub use broker::{BrokerSettings, FailoverStrategy};
pub use control::{ControlSettings, EventSettings};
pub use result::{DatabaseResultSettings, RedisResultSettings, ResultSettings};
pub use task::{PublishRetryPolicy, TaskSettings};
pub use worker::WorkerSettings;

use crate::config::{Concurrency, ConfigError, Layers, Refusal, reader::Reader};

/// Every setting that the worker's own process acts on. Each group says what its settings mean.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `broker_*`.
    pub broker: BrokerSettings,
    /// `task_*`.
    pub task: TaskSettings,
    /// `worker_*`.
    pub worker: WorkerSettings,
    /// `result_*` and `redis_*`.
    pub result: ResultSettings,
    /// `control_*`.
    pub control: ControlSettings,
    /// `event_*`.
    pub event: EventSettings,
    /// `accept_content`. Default `["json"]`.
    pub accept_content: Vec<String>,
    /// `timezone`. None is UTC, or local time without `enable_utc`.
    pub timezone: Option<String>,
    /// `enable_utc`. Default true.
    pub enable_utc: bool,
    /// All that was said, by the names of `app.conf`; for `inspect conf` and for settings read by few.
    pub layers: Layers,
}

impl Settings {
    /// Settings from their layers.
    ///
    /// # Errors
    /// When a value has the wrong type or means nothing; the error names the setting and who set it, never the value.
    pub fn resolve(layers: Layers) -> Result<Self, ConfigError> {
        let reader = Reader(&layers);
        Ok(Self {
            broker: BrokerSettings::read(&reader)?,
            task: TaskSettings::read(&reader)?,
            worker: WorkerSettings::read(&reader)?,
            result: ResultSettings::read(&reader)?,
            control: ControlSettings::read(&reader)?,
            event: EventSettings::read(&reader)?,
            accept_content: reader.texts("accept_content")?,
            timezone: reader.maybe_text("timezone")?.filter(|name| !name.is_empty()),
            enable_utc: reader.truth("enable_utc"),
            layers,
        })
    }

    /// Each setting that was set and that the worker does not honour, for the log at start.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals = self.layers.refusals();
        let (concurrency, layer) = self.layers.value("worker_concurrency");
        if concurrency.as_str().is_some_and(|text| Concurrency::parse(text).is_none()) {
            let reason = "is not a valid integer or 'auto'; falling back to the number of CPUs";
            let line = format!("setting worker_concurrency ({layer}) {reason}");
            refusals.push(Refusal::new(line, "write a number or 'auto'"));
        }
        refusals
    }
}
