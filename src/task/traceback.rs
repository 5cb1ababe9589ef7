//! The text of a native failure's traceback, in the look of Python's, so that tools which read the one read the other.

use std::{fmt::Write, panic::Location};

use crate::{
    protocol::{ExceptionInfo, repr},
    serialization::Value,
};

/// `Traceback (most recent call last): ...`, with the place where the error was made or passed on with `?`.
/// `causes` are the texts of what caused it, nearest first; Python prints the deepest first.
pub(super) fn text(exception: &ExceptionInfo, at: &Location<'_>, function: &str, causes: &[String]) -> String {
    framed(exception, &format!("  File \"{}\", line {}, in {function}\n", at.file(), at.line()), causes)
}

/// The same with a frame that is known only as text.
pub(super) fn framed(exception: &ExceptionInfo, frame: &str, causes: &[String]) -> String {
    let mut text = String::new();
    for cause in causes.iter().rev() {
        let _ = write!(text, "{cause}\n\nThe above exception was the direct cause of the following exception:\n\n");
    }
    let _ = writeln!(text, "Traceback (most recent call last):\n{frame}{}", last_line(exception));
    text
}

/// `ValueError: x`, `proj.errors.Odd: x`, `KeyError: 'x'`.
fn last_line(exception: &ExceptionInfo) -> String {
    let name = match exception.exc_module.as_str() {
        "builtins" | "" | "__main__" => exception.exc_type.clone(),
        module => format!("{module}.{}", exception.exc_type),
    };
    match message(exception).as_str() {
        "" => name,
        message => format!("{name}: {message}"),
    }
}

/// `str()` of the exception.
fn message(exception: &ExceptionInfo) -> String {
    match exception.exc_message.as_slice() {
        [] => String::new(),
        [Value::Str(text)] if exception.exc_type != "KeyError" => text.clone(),
        [one] => repr::repr(one),
        many => repr::args_repr(many, 1024),
    }
}
