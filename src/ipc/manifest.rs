//! [`Manifest`]: the Python app as plain data.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ipc::SavedState;

/// What the zygote tells the parent about the app it has loaded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// `app.main`, for the banner.
    pub app_name: String,
    /// `repr`-like name and loader as the banner shows them: `proj:0x7f... ` and `celery.loaders.app.AppLoader`.
    pub app_repr: String,
    /// Class path of the loader.
    pub loader: String,
    /// `celery.__version__`.
    pub celery_version: String,
    /// `celery.VERSION_BANNER`, with the code name.
    pub celery_banner: String,
    /// `kombu.__version__`.
    pub kombu_version: String,
    /// `platform.python_version()`.
    pub python_version: String,
    /// `platform.platform()`, for the banner.
    pub platform: String,
    /// Every setting of `app.conf` that is plain data, by its new lower-case name, as kombu's JSON text of one object.
    /// Time spans are seconds.
    pub settings: Bytes,
    /// Names of the settings that someone has set (`app.conf.without_defaults()`), also to what is the default.
    #[serde(default)]
    pub changed_settings: Vec<String>,
    /// Names of settings that are set to something that is not plain data (a function, a class, ...).
    pub opaque_settings: Vec<String>,
    /// The node's name, as `-n` and Celery's rules make it.
    pub hostname: String,
    /// The worker's options as Celery has resolved them from command line, environment and settings, as JSON text of one
    /// object: `concurrency`, `pool` (`prefork`, `threads`, `solo`, `gevent`, `eventlet`), `loglevel` (a number), `logfile`, `statedb`,
    /// `pidfile`, `task_events`, `prefetch_multiplier`, `time_limit`, `soft_time_limit`, `max_tasks_per_child`,
    /// `max_memory_per_child` (KiB), `autoscale` (`[max, min]`), `optimization`, `purge`, `quiet`, `beat`,
    /// `without_gossip`, ...
    pub options: Bytes,
    /// Celery's start-up banner with the list of tasks, without colours.
    pub banner: String,
    /// The queues of `app.amqp.queues`, each with exchange, bindings and arguments, as kombu's JSON text of a list of
    /// the fields of [`Queue`](crate::protocol::Queue).
    pub queues: Bytes,
    /// Names in `app.amqp.queues.consume_from`, in order, once `-Q` and `-X` have been applied.
    pub consume_from: Vec<String>,
    /// Every task of `app.tasks`.
    pub tasks: Vec<TaskManifest>,
    /// MIME types, by name, of the serializers that Python code has registered beside kombu's own.
    #[serde(default)]
    pub serializers: BTreeMap<String, String>,
    /// Whether kombu's JSON has got types of Python code beside its own.
    #[serde(default)]
    pub registers_types: bool,
    /// Names of the signals of `celery.signals` that have a receiver.
    pub signals: Vec<String>,
    /// Names of the boot steps that the app adds to the worker and to the consumer.
    pub bootsteps: Vec<String>,
    /// Names of the remote control commands that are not Celery's, or no longer.
    pub control_commands: Vec<String>,
    /// Class path of `app.backend`, and whether its writes are relayed to the parent.
    pub backend: String,
    /// Whether the child hands results to the parent (`redis`, `rpc`) or stores them itself.
    pub relays_results: bool,
    /// What the state database holds; none without `--statedb`.
    #[serde(default)]
    pub state: Option<SavedState>,
    /// For `beat`, and for a worker with `-B`: the schedule, or why only Celery's own beat can run it, as JSON text of one
    /// object; else empty.
    #[serde(default)]
    pub beat: Bytes,
    /// What keeps a worker of this app from starting, each as the line and the way out: only where it was asked for
    /// ([`ZygoteOptions::survey`](crate::ipc::ZygoteOptions)), for a worker ends at the first one.
    #[serde(default)]
    pub refusals: Vec<(String, String)>,
    /// Process id of the zygote.
    pub pid: i32,
}

/// A task as its decorator left it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskManifest {
    /// Registered name.
    pub name: String,
    /// `acks_late`.
    pub acks_late: bool,
    /// `acks_on_failure_or_timeout`, or 5.7's `acks_on_failure` where set.
    pub acks_on_failure: bool,
    /// `acks_on_failure_or_timeout`, or 5.7's `acks_on_timeout` where set.
    pub acks_on_timeout: bool,
    /// `reject_on_worker_lost`.
    pub reject_on_worker_lost: bool,
    /// 5.7's `retry_on_worker_lost`.
    pub retry_on_worker_lost: bool,
    /// `ignore_result`.
    pub ignore_result: bool,
    /// `store_errors_even_if_ignored`.
    pub store_errors_even_if_ignored: bool,
    /// `track_started`.
    pub track_started: bool,
    /// `send_events`.
    pub send_events: bool,
    /// `rate_limit` as written: `10/m`, `0.5`, none.
    pub rate_limit: Option<String>,
    /// Hard limit, seconds.
    pub time_limit: Option<f64>,
    /// Soft limit, seconds.
    pub soft_time_limit: Option<f64>,
    /// `max_retries`; none is for ever.
    pub max_retries: Option<i64>,
    /// Seconds.
    pub default_retry_delay: f64,
    /// `serializer`, for retries and callbacks.
    pub serializer: Option<String>,
    /// `queue`, `exchange`, `routing_key`, `priority`, `expires`, `compression`, `delivery_mode` where set, as kombu's
    /// JSON text of one object.
    pub publish_options: Bytes,
    /// Whether something of its own hangs on its ends: hooks, or a class of requests.
    pub hooked: bool,
    /// Whether its results go to a backend of its own, where the parent writes the app's.
    #[serde(default)]
    pub own_backend: bool,
    /// Whether it takes `(request, exc, traceback)` as an errback, and is called where a task failed.
    #[serde(default)]
    pub new_style_errback: bool,
    /// Class paths of a custom `Request` or `Strategy`, else empty.
    pub custom_request: String,
}

/// `-P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// N children with one seat.
    Prefork,
    /// One child with N seats.
    Threads,
    /// One child with one seat.
    Solo,
    /// One child with N greenlets.
    Gevent,
    /// One child with N greenlets.
    Eventlet,
}

impl PoolKind {
    /// Whether its seats are greenlets in one process, under Celery's own pool.
    pub fn is_green(self) -> bool {
        matches!(self, Self::Gevent | Self::Eventlet)
    }
}
