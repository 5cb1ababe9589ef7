//! Celery's own exceptions, and how exceptions look.

use crate::{
    protocol::{ExceptionInfo, repr},
    serialization::Value,
};

/// Longest `repr` of a result, in characters (`Task.resultrepr_maxsize`).
pub(super) const REPR_MAX: usize = 1024;

/// An exception of `celery.exceptions`.
pub(super) fn celery(exc_type: &str, message: impl Into<String>) -> ExceptionInfo {
    ExceptionInfo::new("celery.exceptions", exc_type, message)
}

/// An exception of `billiard.exceptions`.
pub(super) fn billiard(exc_type: &str, args: Vec<Value>) -> ExceptionInfo {
    ExceptionInfo { exc_message: args, ..ExceptionInfo::new("billiard.exceptions", exc_type, "") }
}

/// The same with the traceback of something that was raised here, not in a task.
pub(super) fn raised(mut exception: ExceptionInfo) -> ExceptionInfo {
    let name = match exception.exc_module.as_str() {
        "builtins" => exception.exc_type.clone(),
        module => format!("{module}.{}", exception.exc_type),
    };
    let text: Vec<String> = exception.exc_message.iter().map(text).collect();
    // billiard's own way to show this one.
    let text = match exception.exc_type.as_str() {
        "TimeLimitExceeded" => format!("TimeLimitExceeded({},)", text.join(", ")),
        _ => text.join(", "),
    };
    exception.traceback = Some(format!("Traceback (most recent call last):\n{name}: {text}\n"));
    exception
}

/// `str()` of an argument.
fn text(argument: &Value) -> String {
    argument.as_str().map_or_else(|| repr::repr(argument), str::to_owned)
}

/// `repr()` of an exception: `ValueError('x', 1)`.
pub(super) fn exception_repr(exception: &ExceptionInfo) -> String {
    if exception.exc_type == "Reject" && exception.exc_module == "celery.exceptions" {
        return reject_repr(&exception.exc_message);
    }
    let args: Vec<String> = exception.exc_message.iter().map(repr::repr).collect();
    format!("{}({})", exception.exc_type, args.join(", "))
}

/// `Reject` shows itself in a way of its own.
fn reject_repr(args: &[Value]) -> String {
    let requeue = matches!(args.get(1), Some(Value::Bool(true)));
    let reason = args.first().map_or_else(String::new, |reason| match reason {
        Value::Str(text) => text.clone(),
        other => repr::repr(other),
    });
    format!("reject requeue={}: {reason}", if requeue { "True" } else { "False" })
}
