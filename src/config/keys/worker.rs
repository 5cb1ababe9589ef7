//! Settings of the worker itself.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new("worker_agent", Kind::Str, Fallback::None, "Class path of an agent bootstep")
        .old("CELERYD_AGENT")
        .refused("agents are Python bootsteps of the main process"),
    Key::new(
        "worker_autoscaler",
        Kind::Str,
        Fallback::Str("celery.worker.autoscale:Autoscaler"),
        "Class path of the autoscaler",
    )
    .old("CELERYD_AUTOSCALER")
    .refused("a custom autoscaler cannot run outside Python"),
    Key::new(
        "worker_cancel_long_running_tasks_on_connection_loss",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether late-ack tasks are cancelled with the connection",
    )
    .old("CELERYD_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS"),
    Key::new(
        "worker_soft_shutdown_timeout",
        Kind::Float,
        Fallback::Float(0.0),
        "Seconds that a cold shutdown waits for running tasks",
    )
    .old("CELERYD_SOFT_SHUTDOWN_TIMEOUT"),
    Key::new(
        "worker_enable_soft_shutdown_on_idle",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether that wait also happens without running tasks",
    )
    .old("CELERYD_ENABLE_SOFT_SHUTDOWN_ON_IDLE"),
    Key::new(
        "worker_concurrency",
        Kind::Any,
        Fallback::None,
        "Seats of the pool: a number, `auto`, or unset for one per CPU",
    )
    .old("CELERYD_CONCURRENCY")
    .flag("--concurrency"),
    Key::new(
        "worker_consumer",
        Kind::Str,
        Fallback::Str("celery.worker.consumer:Consumer"),
        "Class path of the consumer",
    )
    .old("CELERYD_CONSUMER")
    .refused("a custom consumer cannot run outside Python"),
    Key::new("worker_direct", Kind::Bool, Fallback::Bool(false), "Whether the worker has a queue of its own")
        .old("CELERY_WORKER_DIRECT"),
    Key::new("worker_disable_rate_limits", Kind::Bool, Fallback::Bool(false), "Whether rate limits are ignored")
        .old("CELERY_DISABLE_RATE_LIMITS"),
    Key::new(
        "worker_deduplicate_successful_tasks",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether redelivered tasks that have succeeded are skipped",
    )
    .old("CELERYD_DEDUPLICATE_SUCCESSFUL_TASKS"),
    Key::new(
        "worker_enable_remote_control",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether the worker answers remote control",
    )
    .old("CELERY_ENABLE_REMOTE_CONTROL"),
    Key::new(
        "worker_hijack_root_logger",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether handlers of the root logger are removed",
    )
    .old("CELERYD_HIJACK_ROOT_LOGGER")
    .child(),
    Key::new("worker_log_color", Kind::Bool, Fallback::None, "Whether log lines are coloured; unset asks the terminal")
        .old("CELERYD_LOG_COLOR"),
    Key::new("worker_log_datefmt", Kind::Str, Fallback::None, "strftime format of `asctime`")
        .old("CELERYD_LOG_DATEFMT"),
    Key::new(
        "worker_log_format",
        Kind::Str,
        Fallback::Str("[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"),
        "Format of log lines",
    )
    .old("CELERYD_LOG_FORMAT"),
    Key::new(
        "worker_lost_wait",
        Kind::Float,
        Fallback::Float(10.0),
        "Seconds until a lost child's task counts as lost",
    )
    .old("CELERYD_WORKER_LOST_WAIT")
    .moot("a lost child is noticed at once"),
    Key::new(
        "worker_max_memory_per_child",
        Kind::Int,
        Fallback::None,
        "KiB of resident memory after which a child is replaced",
    )
    .old("CELERYD_MAX_MEMORY_PER_CHILD")
    .flag("--max-memory-per-child"),
    Key::new("worker_max_tasks_per_child", Kind::Int, Fallback::None, "Tasks after which a child is replaced")
        .old("CELERYD_MAX_TASKS_PER_CHILD")
        .flag("--max-tasks-per-child"),
    Key::new("worker_pool", Kind::Str, Fallback::Str("prefork"), "Name of the pool").old("CELERYD_POOL").flag("--pool"),
    Key::new("worker_pool_putlocks", Kind::Bool, Fallback::Bool(true), "Whether the pool blocks when it is full")
        .old("CELERYD_POOL_PUTLOCKS")
        .moot("a job is sent only to a free seat"),
    Key::new("worker_pool_restarts", Kind::Bool, Fallback::Bool(false), "Whether `pool_restart` is allowed")
        .old("CELERYD_POOL_RESTARTS"),
    Key::new("worker_pool_start_method", Kind::Str, Fallback::Str("fork"), "How children start: `fork` or `spawn`")
        .old("CELERYD_POOL_START_METHOD")
        .flag("--pool-start-method")
        .refused("children are forked from a process without threads, which is what spawn is for"),
    Key::new(
        "worker_proc_alive_timeout",
        Kind::Float,
        Fallback::Float(4.0),
        "Seconds that a child may take to come up",
    )
    .old("CELERYD_PROC_ALIVE_TIMEOUT"),
    Key::new(
        "worker_prefetch_multiplier",
        Kind::Int,
        Fallback::Int(4),
        "Messages reserved per seat; 0 is without limit",
    )
    .old("CELERYD_PREFETCH_MULTIPLIER")
    .flag("--prefetch-multiplier"),
    Key::new("worker_eta_task_limit", Kind::Int, Fallback::None, "Most tasks held for their ETA")
        .old("CELERYD_ETA_TASK_LIMIT"),
    Key::new(
        "worker_enable_prefetch_count_reduction",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether prefetch is reduced after a reconnect while tasks run",
    )
    .old("CELERYD_ENABLE_PREFETCH_COUNT_REDUCTION"),
    Key::new(
        "worker_disable_prefetch",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether to take only what can run at once (Redis)",
    )
    .old("CELERYD_DISABLE_PREFETCH")
    .flag("--disable-prefetch"),
    Key::new(
        "worker_redirect_stdouts",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether stdout and stderr of tasks go to the log",
    )
    .old("CELERY_REDIRECT_STDOUTS")
    .child(),
    Key::new("worker_redirect_stdouts_level", Kind::Str, Fallback::Str("WARNING"), "Level of such lines")
        .old("CELERY_REDIRECT_STDOUTS_LEVEL")
        .child(),
    Key::new("worker_send_task_events", Kind::Bool, Fallback::Bool(false), "Whether task events are sent")
        .old("CELERY_SEND_EVENTS")
        .flag("--task-events"),
    Key::new("worker_state_db", Kind::Str, Fallback::None, "File that keeps revoked tasks over a restart")
        .old("CELERYD_STATE_DB")
        .flag("--statedb"),
    Key::new("worker_task_log_datefmt", Kind::Str, Fallback::None, "strftime format of `asctime` of task loggers")
        .old("CELERYD_TASK_LOG_DATEFMT")
        .child(),
    Key::new(
        "worker_task_log_format",
        Kind::Str,
        Fallback::Str("[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"),
        "Format of the lines of task loggers",
    )
    .old("CELERYD_TASK_LOG_FORMAT")
    .child(),
    Key::new("worker_timer", Kind::Str, Fallback::None, "Class path of the timer")
        .old("CELERYD_TIMER")
        .refused("timers are not pluggable"),
    Key::new("worker_timer_precision", Kind::Float, Fallback::Float(1.0), "Resolution of the timer, seconds")
        .old("CELERYD_TIMER_PRECISION")
        .moot("timers are exact"),
    Key::new(
        "worker_detect_quorum_queues",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether quorum queues switch global QoS off",
    )
    .old("CELERYD_DETECT_QUORUM_QUEUES"),
    Key::new("worker_logfile", Kind::Str, Fallback::None, "File for the log").undeclared().flag("--logfile"),
    Key::new("worker_pidfile", Kind::Str, Fallback::None, "File for the process id").undeclared().flag("--pidfile"),
    Key::new("worker_uid", Kind::Any, Fallback::None, "User to run as").undeclared().flag("--uid"),
    Key::new("worker_gid", Kind::Any, Fallback::None, "Group to run as").undeclared().flag("--gid"),
    Key::new("worker_umask", Kind::Any, Fallback::None, "Mask of new files").undeclared().flag("--umask"),
    Key::new("worker_executable", Kind::Str, Fallback::None, "Python for `--detach`").undeclared().flag("--executable"),
];
