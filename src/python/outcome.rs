//! [`Report`] from what the Python half found out.
//!
//! The kinds are numbered here and in `python/celery_rs/outcome.py`; the meanings are [`Ended`]'s.

use bytes::Bytes;
use pyo3::prelude::*;

use crate::ipc::{Ended, Report, Stored};
use crate::python::zygote::refuse;

/// `(task_id, state, document, reply_to, correlation_id)`.
#[derive(FromPyObject)]
pub(super) struct StoredTuple<'a>(String, String, DocumentBytes<'a>, Option<String>, Option<String>);

type DocumentBytes<'a> = Bound<'a, pyo3::types::PyBytes>;

impl From<StoredTuple<'_>> for Stored {
    fn from(StoredTuple(task_id, state, document, reply_to, correlation_id): StoredTuple<'_>) -> Self {
        let document = Bytes::copy_from_slice(document.as_bytes());
        Self { task_id, state, document, reply_to, correlation_id }
    }
}

/// `(kind, text, traceback, first flag, second flag)`.
#[derive(FromPyObject)]
pub(super) struct EndedTuple(u8, String, String, bool, bool);

pub(super) fn report(
    ended: EndedTuple,
    runtime: f64,
    stored: Option<StoredTuple<'_>>,
    rss_kib: u64,
) -> PyResult<Report> {
    Ok(Report { ended: of_kind(ended)?, runtime, stored: stored.map(Stored::from), rss_kib })
}

fn of_kind(EndedTuple(kind, text, traceback, first, second): EndedTuple) -> PyResult<Ended> {
    Ok(match kind {
        0 => Ended::Success { repr: text },
        1 => Ended::Failure { exception: text, traceback, is_timeout: first },
        2 => Ended::Retry { exception: text, traceback },
        3 => Ended::Ignored,
        4 => Ended::Rejected { requeue: first, exception: text, traceback, stores_failure: second },
        5 => Ended::OutOfMemory { exception: text, traceback },
        6 => Ended::Internal { exception: text, traceback },
        7 => Ended::Undecodable { exception: text, disallowed: first },
        8 => Ended::AlreadySucceeded { repr: None },
        9 => Ended::Exits { exit: text },
        _ => return Err(refuse(format!("no outcome has the number {kind}"))),
    })
}
