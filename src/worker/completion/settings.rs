//! [`CompletionSettings`]: what the app's configuration says about results.

use crate::{protocol::time::TimeZone, serialization::AcceptContent};

/// What the app's configuration says about results.
#[derive(Debug, Clone)]
pub struct CompletionSettings {
    /// `result_extended`: name, arguments, worker, retries and queue in the document too. Default false.
    pub extended: bool,
    /// `timezone`, in which `date_done` is written.
    pub timezone: TimeZone,
    /// `accept_content`, for the bodies of messages.
    pub accept: AcceptContent,
    /// Whether the result backend is Python's alone: Celery's own requests store there what a Python task has come to.
    pub python_backend: bool,
}
