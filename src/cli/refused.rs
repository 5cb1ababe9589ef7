//! Options that Celery has and this worker does not: one clear line each, instead of silence.

use super::{args::WorkerOptions, logging::Format};
use crate::config::Refusal;

/// What `-B` says without a Python app.
pub(super) const BEAT_NEEDS_PYTHON: &str = "--beat needs a Python app, whose beat_schedule it runs";

/// The first option that cannot be honoured, at which a worker stops.
pub(super) fn refused(options: &WorkerOptions) -> Option<String> {
    refusals(options).next().map(|refusal| refusal.to_string())
}

/// All of them.
pub(super) fn refusals(options: &WorkerOptions) -> impl Iterator<Item = Refusal> {
    let refusals = [
        (
            options.pool.as_deref() == Some("custom"),
            "custom pools are not supported",
            "use prefork, threads, solo, gevent or eventlet",
        ),
        (
            options.pool_start_method.as_deref().is_some_and(|method| method != "fork"),
            "--pool-start-method can only be fork",
            "leave it out: children are forked from a process without threads",
        ),
    ];
    refusals.into_iter().filter(|(given, ..)| *given).map(|(_, line, way_out)| Refusal::new(line, way_out))
}

/// Fields of `worker_log_format` that are not heeded here; a worker says it in its log.
pub(super) fn unknown_fields(format: &Format) -> Option<Refusal> {
    let unknown = format.unknown().join(", ");
    (!unknown.is_empty()).then(|| {
        let line = format!(
            "worker_log_format has fields that only Python knows ({unknown}): they stay empty in the worker's own lines"
        );
        Refusal::new(line, "leave them out, or use --log-format json")
    })
}
