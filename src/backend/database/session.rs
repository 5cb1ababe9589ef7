//! [`Session`]: one connection to a database, made when it is needed and again when it is lost; and what can go wrong.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    backend::{BackendError, row::Row},
    protocol::time::Timestamp,
};

/// A row on its way, with the task that it is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TaskRow {
    pub(super) task_id: String,
    pub(super) row: Row,
}

/// What a database does for us.
pub(super) trait Session: Send {
    /// Connects, and makes the tables that are missing.
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Trouble>>;

    /// Writes rows in one transaction. No task comes twice.
    fn write<'a>(&'a mut self, rows: &'a [TaskRow]) -> BoxFuture<'a, Result<(), Trouble>>;

    /// The row of a task, without its extended columns.
    fn fetch<'a>(&'a mut self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Row>, Trouble>>;

    /// Disconnects.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

/// Why an operation did not happen, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The database is away, locked, full, or somebody else was faster: try again.
    Passing(String),
    /// Trying again cannot help.
    Refused(String),
}

impl From<Trouble> for BackendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(reason) => Self::Unreachable(reason),
            Trouble::Refused(reason) => Self::Refused(reason),
        }
    }
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(Option<String>),
    Blob(Option<Bytes>),
    Int(Option<i64>),
    Time(Option<Timestamp>),
}

/// The value of a row's column.
pub(super) fn cell(row: &Row, column: &str) -> Cell {
    let extended = row.extended.as_ref();
    match column {
        "status" => Cell::Text(Some(row.status.clone())),
        "result" => Cell::Blob(row.result.clone()),
        "date_done" => Cell::Time(row.date_done),
        "traceback" => Cell::Text(row.traceback.clone()),
        "children" => Cell::Blob(row.children.clone()),
        "name" => Cell::Text(extended.and_then(|extended| extended.name.clone())),
        "args" => Cell::Blob(extended.and_then(|extended| extended.args.clone())),
        "kwargs" => Cell::Blob(extended.and_then(|extended| extended.kwargs.clone())),
        "worker" => Cell::Text(extended.and_then(|extended| extended.worker.clone())),
        "retries" => Cell::Int(extended.and_then(|extended| extended.retries)),
        "queue" => Cell::Text(extended.and_then(|extended| extended.queue.clone())),
        _ => Cell::Blob(extended.and_then(|extended| extended.stamps.clone())),
    }
}

/// The wall clock that a time was written with, as databases without time zones are told it.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(super) fn wall_clock(time: Timestamp) -> String {
    let micros = time.micros().saturating_add(time.offset().unwrap_or_default().saturating_mul(1_000_000));
    let shown = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    shown.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

#[cfg(any(feature = "sqlite", feature = "mysql"))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::time::parse_iso;

    #[test]
    fn times_lose_their_zone() {
        let shown = |text| wall_clock(parse_iso(text).unwrap());
        assert_eq!(shown("2026-11-30T05:20:30.424994+01:00"), "2026-11-30 05:20:30.424994");
        assert_eq!(shown("2026-11-30T05:20:30-05:30"), "2026-11-30 05:20:30.000000");
        assert_eq!(shown("2026-11-30T05:20:30"), "2026-11-30 05:20:30.000000");
    }
}
