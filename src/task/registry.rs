//! [`Registry`]: every task this worker knows, by name.

use std::{collections::HashMap, sync::Arc};

use crate::task::{ErasedHandler, NativeTask, TaskMetrics, TaskOptions};

/// Who runs a task.
#[derive(Clone)]
pub enum Runner {
    /// A handler in this process.
    Native(Arc<dyn ErasedHandler>),
    /// A Python child.
    Python,
}

/// A task that can be run here.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    /// Registered name.
    pub name: Arc<str>,
    /// What its decorator, the settings and a native registration say.
    pub options: TaskOptions,
    /// Who runs it.
    pub runner: Runner,
    /// What is counted of it; shared by all versions of the definition.
    pub metrics: Arc<TaskMetrics>,
}

/// Tasks by name. Built at start; looking one up takes no lock.
#[derive(Debug, Default, Clone)]
pub struct Registry {
    tasks: HashMap<Arc<str>, Arc<TaskDefinition>>,
}

impl Registry {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a Python task, unless a native one has its name.
    pub fn add_python(&mut self, name: &str, options: TaskOptions) {
        if self.is_native(name) {
            return;
        }
        let name: Arc<str> = name.into();
        let definition = TaskDefinition { name, options, runner: Runner::Python, metrics: Arc::default() };
        self.tasks.insert(definition.name.clone(), Arc::new(definition));
    }

    /// Adds a native task. A Python task of the same name gives way and leaves its options, which those of the
    /// registration override; without one, `defaults` are what the settings say.
    pub fn add_native(&mut self, task: &NativeTask, defaults: &TaskOptions) {
        let base = self.tasks.get(task.name()).map_or(defaults, |known| &known.options);
        let definition = task.define(base.clone());
        self.tasks.insert(definition.name.clone(), Arc::new(definition));
    }

    /// Changes the options of a task from now on; false when there is none of that name.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut TaskOptions)) -> bool {
        let Some(task) = self.tasks.get_mut(name) else { return false };
        change(&mut Arc::make_mut(task).options);
        true
    }

    /// The task of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<TaskDefinition>> {
        self.tasks.get(name)
    }

    /// Whether the task of this name runs in this process.
    pub fn is_native(&self, name: &str) -> bool {
        self.find(name).is_some_and(|task| matches!(task.runner, Runner::Native(_)))
    }

    /// All tasks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TaskDefinition>> {
        self.tasks.values()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tasks.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Runner::Native(_) => "Native",
            Runner::Python => "Python",
        })
    }
}
