//! [`WorkerOptions`]: what the worker does with what the settings say, as plain data.

use std::time::Duration;

use crate::{
    config::FailoverStrategy,
    ipc::SavedState,
    pool::TimeLimits,
    protocol::{Queue, time::TimeZone},
    serialization::AcceptContent,
    worker::autoscale::AutoscaleRange,
};

/// How one worker is to behave. Made by `app` from the settings; tests make their own.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Node name, `celery@host`.
    pub hostname: String,
    /// The queues to consume, in order.
    pub queues: Vec<Queue>,
    /// Python seats at start, and the number that the prefetch window is computed from.
    pub concurrency: usize,
    /// `--autoscale`: the children become more and fewer within this range, and the window is computed from its maximum.
    pub autoscale: Option<AutoscaleRange>,
    /// Seats of native tasks.
    pub native_seats: usize,
    /// `worker_prefetch_multiplier`: deliveries held per seat; 0 is unlimited. Default 4.
    pub prefetch_multiplier: u32,
    /// `worker_eta_task_limit`: the window never grows beyond it. Default none.
    pub eta_task_limit: Option<u32>,
    /// `worker_disable_prefetch`: take only what can start at once. Of no effect where the transport cannot.
    pub disable_prefetch: bool,
    /// `accept_content`.
    pub accept: AcceptContent,
    /// `timezone` and `enable_utc`.
    pub timezone: TimeZone,
    /// `--time-limit`, `--soft-time-limit` or the settings: for tasks that have none of their own.
    pub limits: TimeLimits,
    /// How to connect, and to connect again.
    pub connection: ConnectionPolicy,
    /// How long a cold shutdown lets active tasks run on.
    pub soft_shutdown: SoftShutdown,
    /// `worker_cancel_long_running_tasks_on_connection_loss`. Default false.
    pub cancel_on_connection_loss: bool,
    /// `worker_enable_prefetch_count_reduction`: after a reconnect the window leaves room for what is still active, and grows
    /// again as tasks end. Default true.
    pub reduce_prefetch: bool,
    /// Whether the broker cannot change the window of a running consumer: quorum queues.
    pub static_prefetch: bool,
    /// `worker_deduplicate_successful_tasks`, where the backend can tell: of native tasks; children have Celery's own
    /// tracer for it. Default false.
    pub deduplicate: bool,
    /// `worker_disable_rate_limits`. Default false.
    pub disable_rate_limits: bool,
    /// Most revoked ids that are kept, and for how long.
    pub revokes: RevokedLimits,
    /// What was kept over a restart, and is to be kept over the next one; none without `--statedb`.
    pub state: Option<SavedState>,
}

/// `worker_soft_shutdown_timeout` and `worker_enable_soft_shutdown_on_idle`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoftShutdown {
    /// Default zero: there is none.
    pub timeout: Duration,
    /// Whether a worker on which nothing runs waits too, and for all of that time. Default false.
    pub on_idle: bool,
    /// The timeout as the app has written it, for the log.
    pub seconds: String,
}

/// How many revoked ids are kept, and for how long (`celery/worker/state.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedLimits {
    /// `CELERY_WORKER_REVOKES_MAX`: the oldest go first; 0 is no limit. Default 50,000.
    pub max: usize,
    /// `CELERY_WORKER_REVOKE_EXPIRES`: looked at once there are `max`; zero is for ever. Default three hours.
    pub expires: Duration,
}

impl Default for RevokedLimits {
    fn default() -> Self {
        Self { max: 50_000, expires: Duration::from_secs(10_800) }
    }
}

/// `broker_connection_retry` and its kin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPolicy {
    /// `broker_connection_retry`: try again after a loss. Default true.
    pub retry: bool,
    /// `broker_connection_retry_on_startup`: none follows `retry`.
    pub retry_on_startup: Option<bool>,
    /// `broker_connection_max_retries`: none is for ever. Default 100.
    pub max_retries: Option<u32>,
    /// `broker_failover_strategy`. Default round-robin.
    pub failover: FailoverStrategy,
    /// `broker_channel_error_retry`: start again after a channel error too. Default false.
    pub channel_error_retry: bool,
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            retry: true,
            retry_on_startup: None,
            max_retries: Some(100),
            failover: FailoverStrategy::default(),
            channel_error_retry: false,
        }
    }
}
