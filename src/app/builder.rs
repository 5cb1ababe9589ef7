//! [`App`]: the library's door, by which native tasks come in.

use std::sync::Arc;

use crate::{
    ipc::TaskManifest,
    task::{Handler, NativeTask, Registry, States, TaskOptions, options_from_manifest},
};

/// An app of native tasks. Run it as a worker, alone or beside the Python app that `-A` names.
///
/// ```
/// use celery_rs::{app::App, task::NativeTask};
///
/// async fn add((a, b): (i64, i64)) -> i64 {
///     a + b
/// }
///
/// async fn ping() -> &'static str {
///     "pong"
/// }
///
/// let app = App::new().task("tasks.add", add).with(NativeTask::new("tasks.ping", ping).acks_late(true));
/// assert_eq!(app.tasks().count(), 2);
/// ```
#[derive(Debug, Default)]
pub struct App {
    tasks: Vec<NativeTask>,
    states: States,
}

impl App {
    /// An app without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler under a task's name. If the Python app has a task of that name, the handler takes its place and
    /// keeps its options.
    pub fn task<M: 'static, H: Handler<M>>(self, name: &str, handler: H) -> Self {
        self.with(NativeTask::new(name, handler))
    }

    /// Adds a task with options of its own.
    pub fn with(mut self, task: NativeTask) -> Self {
        self.tasks.push(task);
        self
    }

    /// Gives handlers a value that they ask for as [`State<T>`](crate::task::State).
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// The native tasks, in the order of their registration.
    pub fn tasks(&self) -> impl Iterator<Item = &NativeTask> {
        self.tasks.iter()
    }

    /// What handlers share.
    pub fn states(&self) -> Arc<States> {
        Arc::new(self.states.clone())
    }

    /// Every task that the worker can run: Python's, as the manifest has them, and the native ones over them.
    ///
    /// # Errors
    /// When a native task is registered twice or asks for a state that nobody gave, or a Python task's options cannot
    /// be read.
    pub fn registry(&self, python: &[TaskManifest], defaults: &TaskOptions) -> Result<Registry, String> {
        let mut registry = Registry::new();
        for task in python {
            registry.add_python(&task.name, options_from_manifest(task)?);
        }
        for task in &self.tasks {
            if registry.is_native(task.name()) {
                return Err(format!("task {} is registered twice", task.name()));
            }
            if let Some(state) = task.lacking(&self.states) {
                return Err(format!("task {} needs a state of type {state}: give it with App::state", task.name()));
            }
            registry.add_native(task, defaults);
        }
        Ok(registry)
    }
}
