//! [`Node`]: what commands may use, and how one is carried out.

use std::{collections::HashMap, sync::Mutex, time::Instant};

use tracing::{debug, error};

use crate::{
    config::{Queues, Settings},
    control::{CommandError, PythonCommands, request::ControlRequest, table},
    event::{Clock, EventDispatcher},
    ipc::PoolKind,
    pool::TimeLimits,
    protocol::{repr::kwargs_repr, time::TimeZone},
    serialization::{AcceptContent, Map, Value},
    worker::{Dispatcher, WorkerHandle},
};

/// What `report` tells of the software.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// `celery.__version__`.
    pub celery: String,
    /// `celery.VERSION_BANNER`.
    pub celery_banner: String,
    /// `kombu.__version__`; empty without Python.
    pub kombu: String,
    /// Python's; empty without it.
    pub python: String,
    /// Class path of the loader; empty without Python.
    pub loader: String,
}

/// Has the worker stand in an election: id, topic and action as they were given.
pub type Stand = Box<dyn Fn(Value, Value, Value) + Send + Sync>;

/// What a node knows of its worker; made by `app`.
pub struct NodeOptions {
    /// Node name.
    pub hostname: String,
    /// All settings.
    pub settings: Settings,
    /// Names of the settings that the app has set; none without Python.
    pub changed_settings: Option<Vec<String>>,
    /// All queues known, for `add_consumer`.
    pub queues: Queues,
    /// The app's time zone.
    pub timezone: TimeZone,
    /// `accept_content`.
    pub accept: AcceptContent,
    /// Rate limits as the tasks' decorators write them, by task.
    pub rate_limits: HashMap<String, String>,
    /// Of the children.
    pub pool: PoolKind,
    /// `--max-tasks-per-child`.
    pub max_tasks_per_child: Option<u64>,
    /// `--time-limit` and `--soft-time-limit`, or the settings.
    pub limits: TimeLimits,
    /// kombu's name of the broker's transport: `redis`, `amqp`, `filesystem`.
    pub transport: &'static str,
    /// For `report` and heartbeats.
    pub versions: Versions,
    /// Commands that the app has registered; none without Python.
    pub python_commands: Option<PythonCommands>,
    /// How to stand in an election; none without gossip.
    pub stand: Option<Stand>,
}

/// The worker's end of remote control, whatever connection it is reached by.
pub struct Node {
    pub(super) options: NodeOptions,
    pub(super) events: EventDispatcher,
    pub(super) started: Instant,
    /// As written, for `registered`; changed by `rate_limit`.
    pub(super) rate_limits: Mutex<HashMap<String, String>>,
    /// Written and read out by `memsample` and `memdump`.
    pub(super) memory_samples: Mutex<Vec<String>>,
    handle: WorkerHandle,
}

impl Node {
    /// A node that acts through `handle`.
    pub fn new(mut options: NodeOptions, events: EventDispatcher, handle: WorkerHandle) -> Self {
        Self {
            rate_limits: Mutex::new(std::mem::take(&mut options.rate_limits)),
            memory_samples: Mutex::new(Vec::new()),
            started: Instant::now(),
            options,
            events,
            handle,
        }
    }

    /// Node name.
    pub fn hostname(&self) -> &str {
        &self.options.hostname
    }

    /// The worker's logical clock.
    pub fn clock(&self) -> &Clock {
        self.events.clock()
    }

    /// Has something done or asked in the dispatcher's own time.
    pub async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Dispatcher) -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        self.handle.ask(act).await.ok_or_else(CommandError::ending)
    }

    /// Carries out a command. None means that there is to be no reply, whoever asked.
    pub async fn dispatch(&self, request: &ControlRequest) -> Option<Value> {
        debug!(target: "kombu.pidbox", "pidbox received method {}({}) [reply_to:{:?} ticket:{:?}]",
            request.method, kwargs_repr(&request.arguments, 1024), request.reply_to, request.ticket);
        match self.call(&request.method, request.arguments.clone()).await {
            Ok(_) if request.method == "shutdown" => None,
            Ok(value) => Some(value),
            Err(failure) => {
                error!(target: "kombu.pidbox", "pidbox command error: {failure}");
                Some(Value::Map(Map::from_iter([("error".to_owned(), failure.to_string().into())])))
            }
        }
    }

    async fn call(&self, method: &str, arguments: Map) -> Result<Value, CommandError> {
        if let Some(python) = self.options.python_commands.as_ref().filter(|commands| commands.has(method)) {
            return python.call(method, arguments).await;
        }
        let row = table::find(method).ok_or_else(|| CommandError::key(method))?;
        let arguments = row.signature.check(row.name, arguments)?;
        (row.handler)(self, arguments).await
    }
}
