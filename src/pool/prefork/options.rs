//! What a pool of children is told at start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::ipc::PoolKind;

/// How the zygote is started. Its socket to the parent is its descriptor 0.
#[derive(Debug, Clone, Default)]
pub struct ZygoteCommand {
    /// The program; for the worker, itself.
    pub program: PathBuf,
    /// Its arguments, the hidden subcommand first.
    pub args: Vec<OsString>,
    /// Added to the environment it inherits.
    pub env: Vec<(OsString, OsString)>,
}

/// Celery's options of a pool.
#[derive(Debug, Clone)]
pub struct PreforkOptions {
    /// How the zygote is started, the first one and those after it.
    pub zygote: ZygoteCommand,
    /// `-P`: how seats are spread over children.
    pub kind: PoolKind,
    /// `-c`: how many seats. A prefork pool may begin with none.
    pub concurrency: usize,
    /// `worker_max_tasks_per_child`; none is no limit.
    pub max_tasks_per_child: Option<u64>,
    /// `worker_max_memory_per_child`, KiB of resident memory; none is no limit.
    pub max_memory_per_child: Option<u64>,
    /// How often idle children are looked at for that. Default 5 s.
    pub idle_weighing: Duration,
    /// `worker_proc_alive_timeout`: how long a child may take until it is up. Default 4 s.
    pub proc_alive_timeout: Duration,
    /// `--statedb`: the pool stays until it has been asked to [save](crate::pool::Pool::save). Default false.
    pub keeps_state: bool,
    /// How many children may die badly within one second before the pool gives up. Default 100.
    pub max_restarts: u32,
}

impl PreforkOptions {
    /// Celery's defaults for everything else.
    pub fn new(zygote: ZygoteCommand, kind: PoolKind, concurrency: usize) -> Self {
        Self {
            zygote,
            kind,
            concurrency,
            max_tasks_per_child: None,
            max_memory_per_child: None,
            idle_weighing: Duration::from_secs(5),
            proc_alive_timeout: Duration::from_secs(4),
            keeps_state: false,
            max_restarts: 100,
        }
    }
}
