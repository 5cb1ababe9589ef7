//! [`TaskOptions`]: what a task's decorator, the settings or a native registration say about it.

use std::time::Duration;

use crate::{
    config::TaskSettings,
    serialization::{Map, Value},
    task::RateLimit,
};

/// Options of a task, each with Celery's default (`celery/app/task.py`).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOptions {
    /// Acknowledge after the execution instead of before it. Default false.
    pub acks_late: bool,
    /// With late acks: acknowledge failures too. Default true.
    pub acks_on_failure: bool,
    /// With late acks: acknowledge after a hard time limit too. Default true.
    pub acks_on_timeout: bool,
    /// With late acks: requeue when the child was lost. Default false.
    pub reject_on_worker_lost: bool,
    /// Publish a retry when the child was lost. Default false.
    pub retry_on_worker_lost: bool,
    /// Store no result. Default false.
    pub ignore_result: bool,
    /// Store failures nevertheless. Default false.
    pub store_errors_even_if_ignored: bool,
    /// Store `STARTED`. Default false.
    pub track_started: bool,
    /// Send events. Default true.
    pub send_events: bool,
    /// At most so many per second, on this worker.
    pub rate_limit: Option<RateLimit>,
    /// Hard time limit.
    pub time_limit: Option<Duration>,
    /// Soft time limit.
    pub soft_time_limit: Option<Duration>,
    /// None is for ever. Default 3.
    pub max_retries: Option<u32>,
    /// Default 180 seconds.
    pub default_retry_delay: Duration,
    /// Serializer of what the task sends on; none is the app's.
    pub serializer: Option<String>,
    /// Routing options for retries: `queue`, `exchange`, `routing_key`, `priority`, `expires`, ...
    pub publish: Map,
    /// Whether something of a Python task's own hangs on its ends: hooks, a class of requests.
    pub hooked: bool,
    /// Whether a Python task's results go elsewhere than the app's.
    pub own_backend: bool,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            acks_late: false,
            acks_on_failure: true,
            acks_on_timeout: true,
            reject_on_worker_lost: false,
            retry_on_worker_lost: false,
            ignore_result: false,
            store_errors_even_if_ignored: false,
            track_started: false,
            send_events: true,
            rate_limit: None,
            time_limit: None,
            soft_time_limit: None,
            max_retries: Some(3),
            default_retry_delay: Duration::from_secs(180),
            serializer: None,
            publish: Map::new(),
            hooked: false,
            own_backend: false,
        }
    }
}

impl TaskOptions {
    /// What the settings say of a task that says nothing itself (`Task.from_config`).
    pub fn from_settings(settings: &TaskSettings) -> Self {
        let mut publish = Map::new();
        if let Some(priority) = settings.default_priority {
            publish.insert("priority".to_owned(), priority.into());
        }
        Self {
            acks_late: settings.acks_late,
            acks_on_failure: settings.acks_on_failure,
            acks_on_timeout: settings.acks_on_timeout,
            reject_on_worker_lost: settings.reject_on_worker_lost,
            retry_on_worker_lost: settings.retry_on_worker_lost,
            ignore_result: settings.ignore_result,
            store_errors_even_if_ignored: settings.store_errors_even_if_ignored,
            track_started: settings.track_started,
            rate_limit: settings.default_rate_limit.map(|per_second| RateLimit { per_second }),
            time_limit: settings.time_limit,
            soft_time_limit: settings.soft_time_limit,
            publish,
            ..Self::default()
        }
    }

    /// The options of `Task._get_exec_options` that are set: what a message for this task says unless its sender says
    /// otherwise (`celery/app/task.py:extract_exec_options`), with `ignore_result`.
    pub fn exec_options(&self) -> Map {
        let mut options = self.publish.clone();
        let seconds = |limit: Option<Duration>| limit.map(self::seconds);
        for (name, value) in [
            ("serializer", self.serializer.clone().map(Value::from)),
            ("time_limit", seconds(self.time_limit)),
            ("soft_time_limit", seconds(self.soft_time_limit)),
        ] {
            if let Some(value) = value {
                options.insert(name.to_owned(), value);
            }
        }
        options.insert("ignore_result".to_owned(), Value::Bool(self.ignore_result));
        options
    }
}

/// Whole seconds stay integers, as Python's decorators write them.
fn seconds(limit: Duration) -> Value {
    match limit.subsec_nanos() {
        0 => Value::Int(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)),
        _ => Value::Float(limit.as_secs_f64()),
    }
}
