//! [`blocking`]: handlers that compute or wait without `await`, on threads of their own.

use futures::{FutureExt, future::BoxFuture};

use crate::task::{
    Arguments, Context, Function, Handler, IntoOutcome, Outcome, Parameter, States, panic, parameter::Call,
    returned::fail,
};

/// Makes a handler of an ordinary function: `NativeTask::new("tasks.crunch", blocking(crunch))`. It runs on tokio's
/// threads for blocking work, so that it holds up nobody; it cannot be stopped before it returns.
pub fn blocking<F>(function: F) -> Blocking<F> {
    Blocking(function)
}

/// See [`blocking`].
#[derive(Debug, Clone, Copy)]
pub struct Blocking<F>(F);

/// Runs on a thread for blocking work, with a panic caught there, where its place is known.
fn on_thread(run: impl FnOnce() -> Outcome + Send + 'static, function: Function) -> BoxFuture<'static, Outcome> {
    let named = function.clone();
    let caught = move || panic::caught_now(run, &named.name);
    async move {
        let ended = tokio::task::spawn_blocking(caught).await;
        ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(payload) => panic::failure(payload.as_ref(), &function.name),
            Err(_) => Outcome::Reject { requeue: true, reason: "the worker is stopping".to_owned() },
        })
    }
    .boxed()
}

macro_rules! handler {
    ($($K:ident $P:ident $p:ident),*) => {
        impl<F, R, RM, $($K, $P),*> Handler<(RM, $(($K, $P),)*)> for Blocking<F>
        where
            F: Fn($($P),*) -> R + Clone + Send + Sync + 'static,
            R: IntoOutcome<RM> + 'static,
            $($P: Parameter<$K> + Send + 'static,)*
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
                let named = function.clone();
                on_thread(move || self.0($($p),*).into_outcome(&named), function.clone())
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
