//! Options that Celery has and this worker does not: one clear line each, instead of silence.

use super::args::WorkerOptions;

/// The first option that cannot be honoured, as a sentence with what to do about it.
pub(super) fn refused(options: &WorkerOptions) -> Option<String> {
    let refusals = [
        (
            options.pool.as_deref() == Some("custom"),
            "custom pools are not supported: use prefork, threads, solo, gevent or eventlet",
        ),
        (
            options.pool_start_method.as_deref().is_some_and(|method| method != "fork"),
            "--pool-start-method can only be fork: children are forked from a process without threads",
        ),
    ];
    refusals.into_iter().find(|(given, _)| *given).map(|(_, reason)| reason.to_owned())
}
