//! [`IntoOutcome`]: what a handler may return.

use serde::Serialize;

use crate::{
    serialization::to_value,
    task::{Function, Outcome, TaskError, error::Kind},
};

/// A handler's return type: any `T: Serialize`, or a `Result<T, E>` whose error becomes a [`TaskError`].
///
/// `M` is a marker by which the two are told apart; it is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a task",
    note = "return a type that implements `serde::Serialize`, or a `Result` of one whose error is a `TaskError` or a `std::error::Error`"
)]
pub trait IntoOutcome<M> {
    /// The end of the execution.
    fn into_outcome(self, function: &Function) -> Outcome;
}

/// Marker: a plain value.
#[derive(Debug)]
pub enum Plain {}

/// Marker: a `Result`.
#[derive(Debug)]
pub enum Fallible {}

impl<T: Serialize> IntoOutcome<Plain> for T {
    fn into_outcome(self, function: &Function) -> Outcome {
        succeed(&self, function)
    }
}

impl<T: Serialize, E: Into<TaskError>> IntoOutcome<Fallible> for Result<T, E> {
    fn into_outcome(self, function: &Function) -> Outcome {
        match self {
            Ok(value) => succeed(&value, function),
            Err(error) => fail(error.into(), function),
        }
    }
}

fn succeed<T: Serialize>(value: &T, function: &Function) -> Outcome {
    match to_value(value) {
        Ok(value) => Outcome::Success(value),
        Err(error) => fail(TaskError::in_module("kombu.exceptions", "EncodeError", error.to_string()), function),
    }
}

/// The end that an error stands for. A retry without a time is due after `default_retry_delay`.
pub(super) fn fail(error: TaskError, function: &Function) -> Outcome {
    match *error.0 {
        Kind::Retry(retry) => Outcome::Retry {
            cause: retry.cause.and_then(|cause| cause.into_exception(&function.name)),
            eta: retry.eta,
            max_retries: retry.max_retries,
        },
        Kind::Ignore(_) => Outcome::Ignore,
        Kind::Reject(reject) => Outcome::Reject { requeue: reject.requeue, reason: reject.reason },
        Kind::Failure(failure) => Outcome::Failure(failure.into_exception(&function.name)),
    }
}
