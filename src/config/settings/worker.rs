//! `worker_*`: the process, its pool and its log.

use std::time::Duration;

use crate::{
    config::{Concurrency, ConfigError, LogLevel, Pool, reader::Reader},
    serialization::Value,
};

/// The worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Seats of the pool.
    pub concurrency: Concurrency,
    /// Kind of pool. Default prefork.
    pub pool: Pool,
    /// Messages reserved per seat; zero is without limit. Default 4.
    pub prefetch_multiplier: u32,
    /// Take only what can run at once (Redis). Default false.
    pub disable_prefetch: bool,
    /// Most tasks held for their ETA: a cap on the prefetch count.
    pub eta_task_limit: Option<u32>,
    /// Reduce prefetch after a reconnect while tasks run. Default true.
    pub enable_prefetch_count_reduction: bool,
    /// Per-consumer QoS when a queue is a quorum queue. Default true.
    pub detect_quorum_queues: bool,
    /// Whether `pool_restart` is allowed. Default false.
    pub pool_restarts: bool,
    /// How long a child may take to come up. Default 4 seconds.
    pub proc_alive_timeout: Duration,
    /// Tasks after which a child is replaced.
    pub max_tasks_per_child: Option<u32>,
    /// KiB of resident memory after which a child is replaced.
    pub max_memory_per_child: Option<u32>,
    /// Ignore rate limits. Default false.
    pub disable_rate_limits: bool,
    /// Skip redelivered tasks that have succeeded. Default false.
    pub deduplicate_successful_tasks: bool,
    /// Cancel late-ack tasks when the connection is lost. Default false.
    pub cancel_long_running_tasks_on_connection_loss: bool,
    /// How long a cold shutdown waits for running tasks. Default zero.
    pub soft_shutdown_timeout: Duration,
    /// Whether it also waits when nothing runs. Default false.
    pub enable_soft_shutdown_on_idle: bool,
    /// File that keeps revoked tasks; not yet expanded.
    pub state_db: Option<String>,
    /// Answer remote control. Default true.
    pub enable_remote_control: bool,
    /// Send task events. Default false.
    pub send_task_events: bool,
    /// A queue of the worker's own. Default false.
    pub direct: bool,
    /// Format of log lines, in `%` style.
    pub log_format: String,
    /// strftime format of `asctime`; none is Python's own.
    pub log_datefmt: Option<String>,
    /// Colours; none asks the terminal.
    pub log_color: Option<bool>,
    /// Send stdout and stderr of tasks to the log. Default true.
    pub redirect_stdouts: bool,
    /// Their level. Default WARNING.
    pub redirect_stdouts_level: LogLevel,
    /// `worker_logfile`, where `-f` is not given.
    pub logfile: Option<String>,
    /// `worker_pidfile`, where `--pidfile` is not given.
    pub pidfile: Option<String>,
}

impl WorkerSettings {
    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        Ok(Self {
            concurrency: concurrency(reader),
            pool: pool(reader)?,
            prefetch_multiplier: reader.maybe_count("worker_prefetch_multiplier")?.unwrap_or(0),
            disable_prefetch: reader.truth("worker_disable_prefetch"),
            eta_task_limit: reader.maybe_count("worker_eta_task_limit")?.filter(|n| *n > 0),
            enable_prefetch_count_reduction: reader.truth("worker_enable_prefetch_count_reduction"),
            detect_quorum_queues: reader.truth("worker_detect_quorum_queues"),
            pool_restarts: reader.truth("worker_pool_restarts"),
            proc_alive_timeout: reader.seconds("worker_proc_alive_timeout")?,
            max_tasks_per_child: reader.maybe_count("worker_max_tasks_per_child")?.filter(|n| *n > 0),
            max_memory_per_child: reader.maybe_count("worker_max_memory_per_child")?.filter(|n| *n > 0),
            disable_rate_limits: reader.truth("worker_disable_rate_limits"),
            deduplicate_successful_tasks: reader.truth("worker_deduplicate_successful_tasks"),
            cancel_long_running_tasks_on_connection_loss: reader
                .truth("worker_cancel_long_running_tasks_on_connection_loss"),
            soft_shutdown_timeout: reader.seconds("worker_soft_shutdown_timeout")?,
            enable_soft_shutdown_on_idle: reader.truth("worker_enable_soft_shutdown_on_idle"),
            state_db: reader.maybe_text("worker_state_db")?.filter(|path| !path.is_empty()),
            enable_remote_control: reader.truth("worker_enable_remote_control"),
            send_task_events: reader.truth("worker_send_task_events"),
            direct: reader.truth("worker_direct"),
            log_format: reader.text("worker_log_format")?,
            log_datefmt: reader.maybe_text("worker_log_datefmt")?,
            log_color: reader.maybe_truth("worker_log_color"),
            redirect_stdouts: reader.truth("worker_redirect_stdouts"),
            redirect_stdouts_level: redirect_level(reader)?,
            logfile: reader.maybe_text("worker_logfile")?.filter(|path| !path.is_empty()),
            pidfile: reader.maybe_text("worker_pidfile")?.filter(|path| !path.is_empty()),
        })
    }
}

/// Celery falls back to the number of CPUs when the setting makes no sense.
fn concurrency(reader: &Reader) -> Concurrency {
    match reader.value("worker_concurrency") {
        Value::Int(number) => Concurrency::number(u32::try_from(number).unwrap_or(0)),
        Value::Str(text) => Concurrency::parse(&text).unwrap_or_default(),
        _ => Concurrency::Cpus,
    }
}

fn pool(reader: &Reader) -> Result<Pool, ConfigError> {
    Ok(reader
        .maybe_text("worker_pool")?
        .filter(|name| !name.is_empty())
        .map_or(Pool::Prefork, |name| Pool::parse(&name)))
}

fn redirect_level(reader: &Reader) -> Result<LogLevel, ConfigError> {
    let setting = "worker_redirect_stdouts_level";
    match reader.value(setting) {
        Value::Int(n) => Ok(LogLevel::from_number(n)),
        _ => LogLevel::parse(&reader.text(setting)?).ok_or_else(|| reader.invalid(setting, "must be a level's name")),
    }
}
