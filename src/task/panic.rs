//! A handler's panic as the failure it is.
//!
//! Celery clients see a `RuntimeError` whose text is `panic: ` and the panic's message.

use std::{any::Any, cell::RefCell, future::Future, panic::AssertUnwindSafe, sync::Once};

use futures::FutureExt;

use crate::{
    protocol::ExceptionInfo,
    task::{Outcome, traceback},
};

thread_local! {
    /// Where this thread panicked last: written by the panic hook, taken by [`failure`] right after the unwinding.
    static PLACE: RefCell<Option<(String, u32)>> = const { RefCell::new(None) };
}

/// Turns a panic of `run` into a failure.
pub(super) async fn caught(run: impl Future<Output = Outcome>, function: &str) -> Outcome {
    remember_places();
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|payload| failure(payload.as_ref(), function))
}

/// The same for a function that does not wait.
pub(super) fn caught_now(run: impl FnOnce() -> Outcome, function: &str) -> Outcome {
    remember_places();
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| failure(payload.as_ref(), function))
}

/// The failure for a panic's payload.
pub(crate) fn failure(payload: &(dyn Any + Send), function: &str) -> Outcome {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned());
    let mut exception = ExceptionInfo::new("builtins", "RuntimeError", format!("panic: {text}"));
    let (file, line) = PLACE.take().unwrap_or_else(|| ("<rust>".to_owned(), 0));
    let frame = format!("  File \"{file}\", line {line}, in {function}\n");
    exception.traceback = Some(traceback::framed(&exception, &frame, &[]));
    Outcome::Failure(exception)
}

/// Puts a hook before the process's own, which notes where a thread panics. Once.
fn remember_places() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(|at| (at.file().to_owned(), at.line())));
            next(info);
        }));
    });
}
