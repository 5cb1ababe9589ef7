//! The command line of `celery-rs`, as clap sees it.
//!
//! Numbers and names stay text here: Celery's own messages for bad ones come from [`convert`](super::convert).

use clap::{ArgAction, Args, Parser, Subcommand, builder::BoolishValueParser};

use super::beat::BeatOptions;

#[derive(Parser)]
#[command(
    name = "celery-rs",
    about = "A drop-in replacement for the celery worker process.",
    disable_version_flag = true,
    args_override_self = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What comes before the sub-command. Environment: see [`convert`](super::convert), for each has two variables.
#[derive(Args)]
#[command(next_help_heading = "Global Options")]
pub(super) struct GlobalOptions {
    /// The app: module, module:attribute or module.attribute
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub(super) app: Option<String>,
    /// URL of the broker
    #[arg(short, long, value_name = "TEXT")]
    pub(super) broker: Option<String>,
    /// URL of the result backend
    #[arg(long, value_name = "TEXT")]
    pub(super) result_backend: Option<String>,
    /// Class path of the loader
    #[arg(long, value_name = "TEXT")]
    pub(super) loader: Option<String>,
    /// Configuration module
    #[arg(long, value_name = "TEXT")]
    pub(super) config: Option<String>,
    /// Directory to change to before anything else
    #[arg(long, value_name = "PATH", env = "CELERY_WORKDIR")]
    pub(super) workdir: Option<String>,
    /// No colours
    #[arg(short = 'C', long)]
    pub(super) no_color: bool,
    /// No banner
    #[arg(short, long, env = "CELERY_QUIET", value_parser = BoolishValueParser::new())]
    pub(super) quiet: bool,
    /// Show the version and exit
    #[arg(long)]
    pub(super) version: bool,
    /// Skip Django's checks on startup
    #[arg(long)]
    pub(super) skip_checks: bool,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Start worker instance.
    #[command(args_override_self = true)]
    Worker(Box<WorkerOptions>),
    /// Start the beat periodic task scheduler.
    #[command(args_override_self = true)]
    Beat(Box<BeatOptions>),
    /// Load the app and tell what a worker with these options would do in Rust, what through Python, and what not at all.
    #[command(args_override_self = true)]
    Doctor(Box<DoctorOptions>),
    /// Shows information useful to include in bug-reports.
    Report,
    /// Print the completions of a shell: celery-rs completions bash > /etc/bash_completion.d/celery-rs
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Load the app and fork children for the worker that started this process.
    #[cfg(feature = "python")]
    #[command(name = "__zygote", hide = true)]
    Zygote {
        /// What to load, as JSON.
        #[arg(default_value = "{}")]
        options: String,
    },
}

/// Options of `doctor`: those of the worker that it is about.
#[derive(Args)]
pub(super) struct DoctorOptions {
    #[command(flatten)]
    pub(super) worker: WorkerOptions,
    /// Tell it as JSON
    #[arg(long, help_heading = "Doctor Options")]
    pub(super) json: bool,
}

/// Options of `worker`. Each also reads `CELERY_WORKER_<OPTION>`.
#[derive(Args)]
#[command(next_help_heading = "Worker Options")]
pub(super) struct WorkerOptions {
    /// Node name (e.g. w1@%h); expands %h (hostname), %n (name) and %d (domain)
    #[arg(short = 'n', long, value_name = "HOSTNAME", env = "CELERY_WORKER_HOSTNAME")]
    pub(super) hostname: Option<String>,
    /// Start worker as a background process
    #[arg(short = 'D', long, env = "CELERY_WORKER_DETACH", value_parser = BoolishValueParser::new())]
    pub(super) detach: bool,
    /// File that keeps revoked tasks over a restart
    #[arg(short = 'S', long, value_name = "PATH", env = "CELERY_WORKER_STATEDB")]
    pub(super) statedb: Option<String>,
    /// DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL
    #[arg(short, long, value_name = "LEVEL", env = "CELERY_WORKER_LOGLEVEL", default_value = "WARNING")]
    pub(super) loglevel: String,
    /// default or fair; both mean fair
    #[arg(short = 'O', long, value_name = "PROFILE", env = "CELERY_WORKER_OPTIMIZATION", default_value = "default")]
    pub(super) optimization: String,
    /// Messages reserved per seat of the pool
    #[arg(long, value_name = "INTEGER", env = "CELERY_WORKER_PREFETCH_MULTIPLIER", allow_hyphen_values = true)]
    pub(super) prefetch_multiplier: Option<String>,
    /// Fetch only what can run at once (Redis only)
    #[arg(long, env = "CELERY_WORKER_DISABLE_PREFETCH", value_parser = BoolishValueParser::new())]
    pub(super) disable_prefetch: bool,

    /// Seats of the pool, or 'auto'; the default is the number of CPUs
    #[arg(short, long, value_name = "N", env = "CELERY_WORKER_CONCURRENCY", help_heading = "Pool Options")]
    pub(super) concurrency: Option<String>,
    /// prefork, threads, solo, gevent or eventlet
    #[arg(short = 'P', long, value_name = "POOL", env = "CELERY_WORKER_POOL", help_heading = "Pool Options")]
    pub(super) pool: Option<String>,
    /// Send task events for monitors
    #[arg(short = 'E', long, visible_alias = "events", env = "CELERY_WORKER_TASK_EVENTS",
        value_parser = BoolishValueParser::new(), help_heading = "Pool Options")]
    pub(super) task_events: bool,
    /// Hard time limit for tasks, in seconds
    #[arg(long, value_name = "FLOAT", env = "CELERY_WORKER_TIME_LIMIT", help_heading = "Pool Options")]
    pub(super) time_limit: Option<String>,
    /// Soft time limit for tasks, in seconds
    #[arg(long, value_name = "FLOAT", env = "CELERY_WORKER_SOFT_TIME_LIMIT", help_heading = "Pool Options")]
    pub(super) soft_time_limit: Option<String>,
    /// Tasks after which a child is replaced
    #[arg(long, value_name = "INTEGER", env = "CELERY_WORKER_MAX_TASKS_PER_CHILD", help_heading = "Pool Options")]
    pub(super) max_tasks_per_child: Option<String>,
    /// Start method of the children: fork
    #[arg(long, value_name = "METHOD", env = "CELERY_WORKER_POOL_START_METHOD", help_heading = "Pool Options")]
    pub(super) pool_start_method: Option<String>,
    /// KiB of resident memory after which a child is replaced
    #[arg(long, value_name = "INTEGER", env = "CELERY_WORKER_MAX_MEMORY_PER_CHILD", help_heading = "Pool Options")]
    pub(super) max_memory_per_child: Option<String>,

    /// Empty the consumed queues before starting
    #[arg(long, visible_alias = "discard", env = "CELERY_WORKER_PURGE",
        value_parser = BoolishValueParser::new(), help_heading = "Queue Options")]
    pub(super) purge: bool,
    /// Queues to consume, separated by commas
    #[arg(short = 'Q', long, value_name = "LIST", env = "CELERY_WORKER_QUEUES", help_heading = "Queue Options")]
    pub(super) queues: Option<String>,
    /// Queues not to consume, separated by commas
    #[arg(
        short = 'X',
        long,
        value_name = "LIST",
        env = "CELERY_WORKER_EXCLUDE_QUEUES",
        help_heading = "Queue Options"
    )]
    pub(super) exclude_queues: Option<String>,
    /// Modules to import, separated by commas
    #[arg(short = 'I', long, value_name = "LIST", env = "CELERY_WORKER_INCLUDE", help_heading = "Queue Options")]
    pub(super) include: Option<String>,

    /// Do not listen to other workers
    #[arg(long, env = "CELERY_WORKER_WITHOUT_GOSSIP", value_parser = BoolishValueParser::new(), help_heading = "Features")]
    pub(super) without_gossip: bool,
    /// Do not synchronize with other workers at start
    #[arg(long, env = "CELERY_WORKER_WITHOUT_MINGLE", value_parser = BoolishValueParser::new(), help_heading = "Features")]
    pub(super) without_mingle: bool,
    /// Send no event heartbeats
    #[arg(long, env = "CELERY_WORKER_WITHOUT_HEARTBEAT", value_parser = BoolishValueParser::new(), help_heading = "Features")]
    pub(super) without_heartbeat: bool,
    /// Seconds between two event heartbeats
    #[arg(long, value_name = "INTEGER", env = "CELERY_WORKER_HEARTBEAT_INTERVAL", help_heading = "Features")]
    pub(super) heartbeat_interval: Option<String>,
    /// Grow and shrink the pool: max,min
    #[arg(long, value_name = "MAX,MIN", env = "CELERY_WORKER_AUTOSCALE", help_heading = "Features")]
    pub(super) autoscale: Option<String>,

    /// Run beat inside the worker
    #[arg(short = 'B', long, env = "CELERY_WORKER_BEAT", value_parser = BoolishValueParser::new(),
        help_heading = "Embedded Beat Options")]
    pub(super) beat: bool,
    /// File of beat's schedule
    #[arg(
        short = 's',
        long,
        visible_alias = "schedule",
        value_name = "PATH",
        env = "CELERY_WORKER_SCHEDULE_FILENAME",
        help_heading = "Embedded Beat Options"
    )]
    pub(super) schedule_filename: Option<String>,
    /// Class path of beat's scheduler
    #[arg(long, value_name = "TEXT", env = "CELERY_WORKER_SCHEDULER", help_heading = "Embedded Beat Options")]
    pub(super) scheduler: Option<String>,

    /// Log destination; defaults to stderr
    #[arg(
        short = 'f',
        long,
        value_name = "PATH",
        env = "CELERY_WORKER_LOGFILE",
        help_heading = "Daemonization Options"
    )]
    pub(super) logfile: Option<String>,
    /// PID file path; defaults to no PID file
    #[arg(long, value_name = "PATH", env = "CELERY_WORKER_PIDFILE", help_heading = "Daemonization Options")]
    pub(super) pidfile: Option<String>,
    /// User to run as
    #[arg(long, value_name = "USER", env = "CELERY_WORKER_UID", help_heading = "Daemonization Options")]
    pub(super) uid: Option<String>,
    /// Group to run as
    #[arg(long, value_name = "GROUP", env = "CELERY_WORKER_GID", help_heading = "Daemonization Options")]
    pub(super) gid: Option<String>,
    /// Mask of new files, octal with a zero in front; for --detach only, as in Celery
    #[arg(long, value_name = "MASK", env = "CELERY_WORKER_UMASK", help_heading = "Daemonization Options")]
    pub(super) umask: Option<String>,
    /// Python whose environment the app is in; for --detach only, as in Celery
    #[arg(long, value_name = "PATH", env = "CELERY_WORKER_EXECUTABLE", help_heading = "Daemonization Options")]
    pub(super) executable: Option<String>,

    /// Lines of the log: celery (as Celery's settings have them) or json
    #[arg(
        long,
        value_name = "FORMAT",
        env = "CELERY_WORKER_LOG_FORMAT",
        default_value = "celery",
        help_heading = "Options that Celery has not"
    )]
    pub(super) log_format: String,
    /// Where to serve /livez, /readyz, /startupz and /metrics: HOST:PORT, or PORT of the loopback interface
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "CELERY_WORKER_HEALTH_ADDR",
        help_heading = "Options that Celery has not"
    )]
    pub(super) health_addr: Option<String>,

    /// Settings as namespace.key=value, or .key=value for worker.key
    #[arg(value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub(super) overrides: Vec<String>,
}
