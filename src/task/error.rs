//! [`TaskError`]: every way for a handler not to return a value.

use std::{error::Error, panic::Location};

use crate::{
    protocol::ExceptionInfo,
    serialization::Value,
    task::{Ignore, Reject, Retry, traceback},
};

/// Why a handler returned no value: a failure, or one of [`Retry`], [`Ignore`] and [`Reject`].
///
/// Any `std::error::Error` becomes a failure with `?`. The exception that Python clients see is `OSError` (or the
/// fitting subclass) for I/O errors, `ValueError` for text that could not be parsed, `TimeoutError` for elapsed timers,
/// and `RuntimeError` otherwise, always with the error's text as its only argument.
/// [`TaskError::new`] chooses another one.
#[derive(Debug)]
pub struct TaskError(pub(super) Box<Kind>);

#[derive(Debug)]
pub(super) enum Kind {
    Failure(Failure),
    Retry(Retry),
    Ignore(Ignore),
    Reject(Reject),
}

/// An exception and where it comes from.
#[derive(Debug)]
pub(super) struct Failure {
    exception: ExceptionInfo,
    raised_at: &'static Location<'static>,
    /// Texts of the errors behind it, nearest first.
    causes: Vec<String>,
}

impl Failure {
    /// The exception with its traceback. `function` is what the traceback names.
    pub fn into_exception(self, function: &str) -> ExceptionInfo {
        let Self { mut exception, raised_at, causes } = self;
        if exception.traceback.is_none() {
            exception.traceback = Some(traceback::text(&exception, raised_at, function, &causes));
        }
        exception
    }
}

impl TaskError {
    /// A failure that Python clients see as the built-in exception `exc_type` (`ValueError`, `KeyError`, ...).
    #[track_caller]
    pub fn new(exc_type: &str, message: impl Into<String>) -> Self {
        Self::in_module("builtins", exc_type, message)
    }

    /// A failure that Python clients see as the exception `exc_type` of `module`, if they can import that; otherwise as
    /// a class of that name made up by Celery.
    #[track_caller]
    pub fn in_module(module: &str, exc_type: &str, message: impl Into<String>) -> Self {
        Self::from_exception(ExceptionInfo::new(module, exc_type, message))
    }

    /// A failure with the exception as it is to be stored.
    #[track_caller]
    pub fn from_exception(exception: ExceptionInfo) -> Self {
        Self::of(Kind::Failure(Failure { exception, raised_at: Location::caller(), causes: Vec::new() }))
    }

    /// Replaces the exception's arguments.
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        if let Kind::Failure(failure) = &mut *self.0 {
            failure.exception.exc_message = args;
        }
        self
    }

    fn of(kind: Kind) -> Self {
        Self(Box::new(kind))
    }

    /// The exception with its traceback, if this is a failure.
    pub(super) fn into_exception(self, function: &str) -> Option<ExceptionInfo> {
        match *self.0 {
            Kind::Failure(failure) => Some(failure.into_exception(function)),
            Kind::Retry(_) | Kind::Ignore(_) | Kind::Reject(_) => None,
        }
    }
}

impl<E: Error + 'static> From<E> for TaskError {
    #[track_caller]
    fn from(error: E) -> Self {
        let exception = ExceptionInfo::new("builtins", exception_type(&error), error.to_string());
        Self::of(Kind::Failure(Failure { exception, raised_at: Location::caller(), causes: causes(&error) }))
    }
}

impl From<Retry> for TaskError {
    fn from(retry: Retry) -> Self {
        Self::of(Kind::Retry(retry))
    }
}

impl From<Ignore> for TaskError {
    fn from(ignore: Ignore) -> Self {
        Self::of(Kind::Ignore(ignore))
    }
}

impl From<Reject> for TaskError {
    fn from(reject: Reject) -> Self {
        Self::of(Kind::Reject(reject))
    }
}

/// The texts of an error's sources, nearest first.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts
}

/// The Python built-in that says most nearly the same.
fn exception_type(error: &(dyn Error + 'static)) -> &'static str {
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return io_exception_type(io.kind());
    }
    if error.is::<std::num::ParseIntError>()
        || error.is::<std::num::ParseFloatError>()
        || error.is::<std::str::Utf8Error>()
        || error.is::<std::string::FromUtf8Error>()
    {
        return "ValueError";
    }
    if error.is::<tokio::time::error::Elapsed>() { "TimeoutError" } else { "RuntimeError" }
}

fn io_exception_type(kind: std::io::ErrorKind) -> &'static str {
    use std::io::ErrorKind as K;
    match kind {
        K::NotFound => "FileNotFoundError",
        K::PermissionDenied => "PermissionError",
        K::AlreadyExists => "FileExistsError",
        K::TimedOut => "TimeoutError",
        K::ConnectionRefused => "ConnectionRefusedError",
        K::ConnectionReset => "ConnectionResetError",
        K::ConnectionAborted => "ConnectionAbortedError",
        K::BrokenPipe => "BrokenPipeError",
        K::Interrupted => "InterruptedError",
        _ => "OSError",
    }
}
