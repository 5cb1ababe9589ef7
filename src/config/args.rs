//! [`WorkerArgs`]: the command line of `celery worker`, as plain data.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{Concurrency, HealthAddr, LogLevel, Pool},
    serialization::Value,
};

/// What the user typed (or put into `CELERY_WORKER_*`). `None` and empty mean: not given, the settings decide.
/// There is no `Debug`: the URLs hold passwords.
#[derive(Clone, Default, PartialEq)]
pub struct WorkerArgs {
    /// `-A`.
    pub app: Option<String>,
    /// `-b`: overrides every broker URL of the app.
    pub broker: Option<String>,
    /// `--result-backend`.
    pub result_backend: Option<String>,
    /// `--loader`, a class path.
    pub loader: Option<String>,
    /// `--config`, a module.
    pub config: Option<String>,
    /// `--workdir`; already changed into.
    pub workdir: Option<PathBuf>,
    /// `--skip-checks` (Django).
    pub skip_checks: bool,
    /// `-C`.
    pub no_color: bool,
    /// `-q`: no banner.
    pub quiet: bool,
    /// `-n`, already expanded to a full node name: `celery@host`.
    pub hostname: String,
    /// `-l`. Default WARNING.
    pub loglevel: LogLevel,
    /// `-f`, not yet expanded: `%n` and `%i` stand for the node and the child.
    pub logfile: Option<String>,
    /// `--pidfile`, already expanded.
    pub pidfile: Option<PathBuf>,
    /// `-S`, already expanded.
    pub statedb: Option<PathBuf>,
    /// `-O`: `default` or `fair`; both mean fair.
    pub optimization: String,
    /// `-c`.
    pub concurrency: Option<Concurrency>,
    /// `-P`. An explicit `prefork` counts as not given, as it does for Celery.
    pub pool: Option<Pool>,
    /// `--prefetch-multiplier`; zero counts as not given.
    pub prefetch_multiplier: Option<i64>,
    /// `--disable-prefetch`.
    pub disable_prefetch: Option<bool>,
    /// `-E`.
    pub task_events: Option<bool>,
    /// `--time-limit`.
    pub time_limit: Option<Duration>,
    /// `--soft-time-limit`.
    pub soft_time_limit: Option<Duration>,
    /// `--max-tasks-per-child`.
    pub max_tasks_per_child: Option<u64>,
    /// `--max-memory-per-child`, KiB.
    pub max_memory_per_child: Option<u64>,
    /// `--purge`: empty the consumed queues before the start.
    pub purge: bool,
    /// `-Q`, in this order.
    pub queues: Vec<String>,
    /// `-X`.
    pub exclude_queues: Vec<String>,
    /// `-I`.
    pub include: Vec<String>,
    /// `--without-gossip`.
    pub without_gossip: bool,
    /// `--without-mingle`.
    pub without_mingle: bool,
    /// `--without-heartbeat`: no event heartbeats.
    pub without_heartbeat: bool,
    /// `--heartbeat-interval`. Default 2 seconds.
    pub heartbeat_interval: Option<Duration>,
    /// `--autoscale`.
    pub autoscale: Option<Autoscale>,
    /// `--log-format json`: one JSON object per line of the log.
    pub json_log: bool,
    /// `--health-addr`: where probes and metrics are served; none serves none.
    pub health_addr: Option<HealthAddr>,
    /// Settings given as `key=value` after the options, by their full names.
    pub overrides: Vec<(String, Value)>,
}

/// `--autoscale max,min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    /// Most seats.
    pub max: u32,
    /// Fewest seats.
    pub min: u32,
}

impl WorkerArgs {
    /// The command line as a layer of settings.
    pub fn settings(&self) -> Vec<(String, Value)> {
        let mut given = Vec::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                given.push((name.to_owned(), value));
            }
        };
        put("result_backend", self.result_backend.as_deref().map(Value::from));
        put("worker_concurrency", self.concurrency.and_then(Concurrency::to_value));
        put("worker_pool", self.pool.as_ref().map(|pool| pool.name().into()));
        put("worker_prefetch_multiplier", self.prefetch_multiplier.filter(|n| *n != 0).map(Value::from));
        put("worker_disable_prefetch", self.disable_prefetch.map(Value::from));
        put("worker_send_task_events", self.task_events.map(Value::from));
        put("task_time_limit", self.time_limit.map(seconds));
        put("task_soft_time_limit", self.soft_time_limit.map(seconds));
        put("worker_max_tasks_per_child", self.max_tasks_per_child.map(count));
        put("worker_max_memory_per_child", self.max_memory_per_child.map(count));
        put("worker_state_db", self.statedb.as_ref().map(|path| path.to_string_lossy().into_owned().into()));
        for url in ["broker_url", "broker_read_url", "broker_write_url"] {
            put(url, self.broker.as_deref().map(Value::from));
        }
        given.extend(self.overrides.iter().cloned());
        given
    }
}

fn seconds(duration: Duration) -> Value {
    duration.as_secs_f64().into()
}

fn count(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
