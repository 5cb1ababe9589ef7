//! [`Handler`]: an ordinary async function as a task; erased once, when it is registered.

use std::{future::Future, marker::PhantomData, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use crate::task::{
    Arguments, Context, IntoOutcome, Outcome, Parameter, States, pace::Pace, panic::caught, parameter::Call,
    returned::fail,
};

/// What a handler is called, for tracebacks and for the texts of wrong calls.
#[derive(Debug, Clone)]
pub struct Function {
    /// The task's registered name.
    pub name: Arc<str>,
    parameters: Option<&'static [&'static str]>,
}

impl Function {
    /// The handler of the task `name`. `parameters` names the ones that come from the message, so that callers may
    /// use keywords; a struct needs no such list.
    pub fn new(name: Arc<str>, parameters: Option<&'static [&'static str]>) -> Self {
        Self { name, parameters }
    }

    /// Names of positional parameters.
    pub(super) fn parameters(&self) -> Option<&'static [&'static str]> {
        self.parameters
    }

    /// What follows the last dot: the function's name in Python.
    pub(super) fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// An async function that can be registered as a task: up to eight parameters, each a [`Parameter`], and a result that
/// is [`IntoOutcome`].
///
/// ```
/// # use celery_rs::task::{Context, NativeTask, TaskError};
/// async fn add((a, b): (i64, i64)) -> i64 {
///     a + b
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Mail { to: String, #[serde(default)] subject: String }
///
/// async fn send(cx: Context, mail: Mail) -> Result<String, TaskError> {
///     if mail.to.is_empty() {
///         return Err(TaskError::new("ValueError", "no address"));
///     }
///     Ok(format!("{} to {} for {}", mail.subject, mail.to, cx.task_id()))
/// }
///
/// let tasks = [NativeTask::new("tasks.add", add), NativeTask::new("tasks.send", send).acks_late(true)];
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be registered as a task",
    label = "not a task handler",
    note = "a handler is an `async fn` (or `blocking(fn)`) of at most eight parameters; arguments implement `serde::Deserialize` and are owned, the others are `Context` or `State<T>`; the result implements `serde::Serialize`, or is a `Result` whose error converts into `TaskError`; the future is `Send`"
)]
pub trait Handler<M>: Clone + Send + Sync + 'static {
    /// Runs the function.
    fn call(self, arguments: Arguments, cx: Context, function: &Function) -> BoxFuture<'static, Outcome>;

    /// The type of the app's state that a parameter needs and that `states` does not have.
    fn lacking(states: &States) -> Option<&'static str>;
}

macro_rules! handler {
    ($($K:ident $P:ident $p:ident),*) => {
        impl<F, Fut, R, RM, $($K, $P),*> Handler<(RM, $(($K, $P),)*)> for F
        where
            F: Fn($($P),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoOutcome<RM> + 'static,
            $($P: Parameter<$K> + 'static,)*
        {
            #[allow(unused_mut, unused_variables)]
            fn call(self, arguments: Arguments, cx: Context, function: &Function) -> BoxFuture<'static, Outcome> {
                let count = 0 $(+ $P::ARGUMENTS)*;
                let mut call = match Call::new(arguments, cx, function, count) {
                    Ok(call) => call,
                    Err(error) => return futures::future::ready(fail(error, function)).boxed(),
                };
                $(let $p = match $P::take(&mut call) {
                    Ok(parameter) => parameter,
                    Err(error) => return futures::future::ready(fail(error, function)).boxed(),
                };)*
                let (run, function) = (self($($p),*), function.clone());
                async move { run.await.into_outcome(&function) }.boxed()
            }

            #[allow(unused_variables)]
            fn lacking(states: &States) -> Option<&'static str> {
                let first = None;
                $(let first = first.or_else(|| $P::lacking(states));)*
                first
            }
        }
    };
}

handler!();
handler!(K1 P1 p1);
handler!(K1 P1 p1, K2 P2 p2);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3, K4 P4 p4);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3, K4 P4 p4, K5 P5 p5);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3, K4 P4 p4, K5 P5 p5, K6 P6 p6);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3, K4 P4 p4, K5 P5 p5, K6 P6 p6, K7 P7 p7);
handler!(K1 P1 p1, K2 P2 p2, K3 P3 p3, K4 P4 p4, K5 P5 p5, K6 P6 p6, K7 P7 p7, K8 P8 p8);

/// A handler whose type is forgotten: what the native pool runs.
pub trait ErasedHandler: Send + Sync {
    /// Runs it. A wrong call, an error and a panic are all outcomes.
    fn call(&self, arguments: Arguments, cx: Context) -> BoxFuture<'static, Outcome>;

    /// The type of the app's state that it needs and that `states` does not have.
    fn lacking(&self, states: &States) -> Option<&'static str>;

    /// For how long it computes.
    fn pace(&self) -> &Pace;
}

/// A handler with its function's name.
pub(super) struct Erased<H, M> {
    pub handler: H,
    pub function: Function,
    pub marker: PhantomData<fn() -> M>,
    pub pace: Pace,
}

impl<M: 'static, H: Handler<M>> ErasedHandler for Erased<H, M> {
    fn call(&self, arguments: Arguments, cx: Context) -> BoxFuture<'static, Outcome> {
        let (handler, function) = (self.handler.clone(), self.function.clone());
        // The call itself is inside too: what a function does before its first await may panic.
        Box::pin(async move {
            let run = async { handler.call(arguments, cx, &function).await };
            caught(run, &function.name).await
        })
    }

    fn lacking(&self, states: &States) -> Option<&'static str> {
        H::lacking(states)
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }
}
