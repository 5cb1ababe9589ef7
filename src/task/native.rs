//! [`NativeTask`]: a handler under a task's name, with what the registration says about it.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    serialization::Value,
    task::{
        ErasedHandler, Function, Handler, RateLimit, Runner, States, TaskDefinition, TaskOptions, handler::Erased,
        pace::Pace,
    },
};

/// A change of the options that a task has from elsewhere.
type Change = Box<dyn Fn(&mut TaskOptions) + Send + Sync>;

/// Makes the erased handler once the parameters' names are known.
type Erase = Box<dyn Fn(Function) -> Arc<dyn ErasedHandler> + Send + Sync>;

/// A native task, before it is registered.
///
/// Options that are not set here are those of the Python task of the same name, if the app has one, else those of the
/// settings.
pub struct NativeTask {
    name: Arc<str>,
    parameters: Option<&'static [&'static str]>,
    erase: Erase,
    changes: Vec<Change>,
}

impl NativeTask {
    /// A handler under a name.
    pub fn new<M: 'static, H: Handler<M>>(name: &str, handler: H) -> Self {
        let erase = move |function| -> Arc<dyn ErasedHandler> {
            Arc::new(Erased {
                handler: handler.clone(),
                function,
                marker: PhantomData::<fn() -> M>,
                pace: Pace::default(),
            })
        };
        Self { name: name.into(), parameters: None, erase: Box::new(erase), changes: Vec::new() }
    }

    /// The registered name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names the parameters that come from the message, in order, so that callers may pass them by keyword. A struct
    /// needs no such list: its fields are the names.
    pub fn parameters(mut self, names: &'static [&'static str]) -> Self {
        self.parameters = Some(names);
        self
    }

    /// Acknowledge after the execution instead of before it.
    pub fn acks_late(self, yes: bool) -> Self {
        self.option(move |options| options.acks_late = yes)
    }

    /// With late acks: acknowledge failures too.
    pub fn acks_on_failure(self, yes: bool) -> Self {
        self.option(move |options| options.acks_on_failure = yes)
    }

    /// With late acks: acknowledge after a hard time limit too.
    pub fn acks_on_timeout(self, yes: bool) -> Self {
        self.option(move |options| options.acks_on_timeout = yes)
    }

    /// Store no result.
    pub fn ignore_result(self, yes: bool) -> Self {
        self.option(move |options| options.ignore_result = yes)
    }

    /// Store failures though results are ignored.
    pub fn store_errors_even_if_ignored(self, yes: bool) -> Self {
        self.option(move |options| options.store_errors_even_if_ignored = yes)
    }

    /// Store `STARTED`.
    pub fn track_started(self, yes: bool) -> Self {
        self.option(move |options| options.track_started = yes)
    }

    /// Send events.
    pub fn send_events(self, yes: bool) -> Self {
        self.option(move |options| options.send_events = yes)
    }

    /// At most so many per second, on this worker.
    pub fn rate_limit(self, rate: Option<RateLimit>) -> Self {
        self.option(move |options| options.rate_limit = rate)
    }

    /// Hard time limit: the execution is dropped at its next await.
    pub fn time_limit(self, limit: Duration) -> Self {
        self.option(move |options| options.time_limit = Some(limit))
    }

    /// Soft time limit: [`Context::cancelled`](crate::task::Context::cancelled) resolves.
    pub fn soft_time_limit(self, limit: Duration) -> Self {
        self.option(move |options| options.soft_time_limit = Some(limit))
    }

    /// How often it may be tried again; none is for ever.
    pub fn max_retries(self, retries: Option<u32>) -> Self {
        self.option(move |options| options.max_retries = retries)
    }

    /// How long a retry waits that does not say.
    pub fn default_retry_delay(self, delay: Duration) -> Self {
        self.option(move |options| options.default_retry_delay = delay)
    }

    /// A routing option of what is sent under this name: `queue`, `exchange`, `routing_key`, `priority`, ...
    pub fn publish_option(self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.option(move |options| {
            options.publish.insert(name.to_owned(), value.clone());
        })
    }

    /// The definition, over the options that the task has from elsewhere.
    pub fn define(&self, base: TaskOptions) -> TaskDefinition {
        let mut options = base;
        self.changes.iter().for_each(|change| change(&mut options));
        // Hooks of a Python class do not run for a native task.
        (options.hooked, options.own_backend) = (false, false);
        let function = Function::new(self.name.clone(), self.parameters);
        TaskDefinition {
            name: self.name.clone(),
            options,
            runner: Runner::Native((self.erase)(function)),
            metrics: Arc::default(),
        }
    }

    /// The type of the app's state that it needs and that `states` does not have.
    pub fn lacking(&self, states: &States) -> Option<&'static str> {
        (self.erase)(Function::new(self.name.clone(), None)).lacking(states)
    }

    fn option(mut self, change: impl Fn(&mut TaskOptions) + Send + Sync + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }
}

impl std::fmt::Debug for NativeTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeTask").field("name", &self.name).finish_non_exhaustive()
    }
}
