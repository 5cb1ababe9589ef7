//! `task_*`: what holds for all tasks, and for the messages that the worker itself sends.

use std::time::Duration;

use crate::config::{ConfigError, rate, reader::Reader};

/// Tasks.
#[derive(Debug, Clone)]
pub struct TaskSettings {
    /// Protocol of outgoing messages: 2, or 1.
    pub protocol: u8,
    /// Serializer of outgoing messages. Default `json`.
    pub serializer: String,
    /// Compression of outgoing messages, if any.
    pub compression: Option<String>,
    /// Default `celery`.
    pub default_queue: String,
    /// `classic` or `quorum`. Default `classic`.
    pub default_queue_type: String,
    /// Exchange of queues that name none; the default queue's name unless set.
    pub default_exchange: String,
    /// Default `direct`.
    pub default_exchange_type: String,
    /// Routing key of queues that have none; the default queue's name unless set.
    pub default_routing_key: String,
    /// 1 transient, 2 persistent. Default 2.
    pub default_delivery_mode: u8,
    /// Priority of outgoing messages, if any.
    pub default_priority: Option<u32>,
    /// `x-max-priority` of queues that have none.
    pub queue_max_priority: Option<u32>,
    /// Make up queues that nobody defined. Default true.
    pub create_missing_queues: bool,
    /// `classic` or `quorum`. Default `classic`.
    pub create_missing_queue_type: String,
    /// Exchange type of queues made up; none is direct.
    pub create_missing_queue_exchange_type: Option<String>,
    /// Publish again after connection errors. Default true.
    pub publish_retry: bool,
    /// How.
    pub publish_retry_policy: PublishRetryPolicy,
    /// Send `task-sent`. Default false.
    pub send_sent_event: bool,
    /// Default false.
    pub acks_late: bool,
    /// Default true.
    pub acks_on_failure: bool,
    /// Default true.
    pub acks_on_timeout: bool,
    /// Default false.
    pub reject_on_worker_lost: bool,
    /// Default false.
    pub retry_on_worker_lost: bool,
    /// Hard time limit, if any.
    pub time_limit: Option<Duration>,
    /// Soft time limit, if any.
    pub soft_time_limit: Option<Duration>,
    /// Default false.
    pub track_started: bool,
    /// Default false.
    pub ignore_result: bool,
    /// Default false.
    pub store_errors_even_if_ignored: bool,
    /// Tasks per second of tasks without a limit of their own.
    pub default_rate_limit: Option<f64>,
}

/// `task_publish_retry_policy`; Celery's defaults are 3 attempts after 0, 0.2 and 0.4 seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishRetryPolicy {
    /// None is for ever.
    pub max_retries: Option<u32>,
    /// First wait.
    pub interval_start: Duration,
    /// Added to each further wait.
    pub interval_step: Duration,
    /// Longest wait.
    pub interval_max: Duration,
}

impl TaskSettings {
    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        let default_queue = reader.text("task_default_queue")?;
        let or_queue = |name| Ok::<_, ConfigError>(reader.maybe_text(name)?.unwrap_or_else(|| default_queue.clone()));
        let acks = reader.truth("task_acks_on_failure_or_timeout");
        Ok(Self {
            protocol: protocol(reader)?,
            serializer: reader.text("task_serializer")?,
            compression: reader.maybe_text("task_compression")?.filter(|name| !name.is_empty()),
            default_queue_type: queue_type(reader, "task_default_queue_type")?,
            default_exchange: or_queue("task_default_exchange")?,
            default_exchange_type: reader.text("task_default_exchange_type")?,
            default_routing_key: or_queue("task_default_routing_key")?,
            default_delivery_mode: delivery_mode(reader)?,
            default_priority: reader.maybe_count("task_default_priority")?,
            queue_max_priority: reader.maybe_count("task_queue_max_priority")?,
            create_missing_queues: reader.truth("task_create_missing_queues"),
            create_missing_queue_type: queue_type(reader, "task_create_missing_queue_type")?,
            create_missing_queue_exchange_type: reader.maybe_text("task_create_missing_queue_exchange_type")?,
            publish_retry: reader.truth("task_publish_retry"),
            publish_retry_policy: PublishRetryPolicy::read(reader)?,
            send_sent_event: reader.truth("task_send_sent_event"),
            acks_late: reader.truth("task_acks_late"),
            acks_on_failure: reader.maybe_truth("task_acks_on_failure").unwrap_or(acks),
            acks_on_timeout: reader.maybe_truth("task_acks_on_timeout").unwrap_or(acks),
            reject_on_worker_lost: reader.truth("task_reject_on_worker_lost"),
            retry_on_worker_lost: reader.truth("task_retry_on_worker_lost"),
            time_limit: reader.maybe_seconds("task_time_limit")?,
            soft_time_limit: reader.maybe_seconds("task_soft_time_limit")?,
            track_started: reader.truth("task_track_started"),
            ignore_result: reader.truth("task_ignore_result"),
            store_errors_even_if_ignored: reader.truth("task_store_errors_even_if_ignored"),
            default_rate_limit: rate::from_value(&reader.value("task_default_rate_limit"))?,
            default_queue,
        })
    }
}

impl PublishRetryPolicy {
    fn read(reader: &Reader) -> Result<Self, ConfigError> {
        let setting = "task_publish_retry_policy";
        let policy = reader.map(setting)?;
        let seconds = |name: &str, default: f64| {
            let number = policy.get(name).and_then(|value| value.as_f64()).unwrap_or(default);
            Duration::try_from_secs_f64(number).map_err(|_| reader.invalid(setting, format!("{name} must be seconds")))
        };
        let max_retries = policy.get("max_retries").map_or(Some(3.0), |value| value.as_f64());
        Ok(Self {
            max_retries: max_retries.filter(|n| n.is_finite()).map(|n| n as u32),
            interval_start: seconds("interval_start", 0.0)?,
            interval_step: seconds("interval_step", 0.2)?,
            interval_max: seconds("interval_max", 1.0)?,
        })
    }
}

fn protocol(reader: &Reader) -> Result<u8, ConfigError> {
    match reader.maybe_integer("task_protocol")? {
        None | Some(2) => Ok(2),
        Some(1) => Ok(1),
        Some(_) => Err(reader.invalid("task_protocol", "must be 1 or 2")),
    }
}

fn queue_type(reader: &Reader, setting: &'static str) -> Result<String, ConfigError> {
    let name = reader.maybe_text(setting)?.unwrap_or_else(|| "classic".to_owned());
    match name.as_str() {
        "classic" | "quorum" => Ok(name),
        _ => Err(reader.invalid(setting, "valid types are 'classic' and 'quorum'")),
    }
}

fn delivery_mode(reader: &Reader) -> Result<u8, ConfigError> {
    let setting = "task_default_delivery_mode";
    match reader.value(setting).as_str() {
        Some("persistent") => return Ok(2),
        Some("transient") => return Ok(1),
        _ => {}
    }
    match reader.maybe_integer(setting)? {
        None | Some(2) => Ok(2),
        Some(1) => Ok(1),
        Some(_) => Err(reader.invalid(setting, "must be 1, 2, transient or persistent")),
    }
}
