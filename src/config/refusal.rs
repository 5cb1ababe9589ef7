//! [`Refusal`]: what this worker does not do, and what to do about it.

use std::fmt;

/// What is always left to do: Celery's own worker takes the same command line, app and queues.
pub const PYTHONS: &str = "run this worker with Python's celery";

/// Something that was asked for and that this worker does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What, in one line. Never holds a password.
    pub line: String,
    /// What to do about it, in half a line.
    pub way_out: String,
}

impl Refusal {
    /// From both halves.
    pub fn new(line: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { line: line.into(), way_out: way_out.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.way_out)
    }
}
