//! Ends that Celery's own `Request` is to make, because something hangs on them that is Python's: receivers of the signal,
//! hooks of the task's class, errbacks of the new style, a body that only Python reads.
//!
//! The request of the steward stores, calls and sends; what it says to the broker and of events comes back and is done here.

use tracing::error;

use crate::{
    serialization::{Map, Value, map},
    task::{Runner, metrics::EndState},
    worker::{
        completion::Told,
        disposition::Disposition,
        execute::{info, sends_events},
        main_signals::{MainSignal, errand},
        request::Request,
        services::Services,
    },
};

/// Whether an end that comes with this signal is to be made in Python.
fn is_pythons(request: &Request, services: &Services, signal: MainSignal) -> bool {
    if services.signals.steward().is_none() || !matches!(request.definition.runner, Runner::Python) {
        return false;
    }
    services.signals.listens(signal)
        || request.definition.options.hooked
        || request.definition.options.own_backend
        || services.completion.failure_is_pythons(&info(request, services))
}

/// The child died under it. False if nothing was done.
pub(super) async fn lost(request: &mut Request, services: &Services, text: &str) -> bool {
    if !is_pythons(request, services, MainSignal::TaskFailure) && !services.signals.listens(MainSignal::TaskRetry) {
        return false;
    }
    end(request, services, "worker_lost", map([("text", text.into())])).await
}

/// The hard time limit has passed. False if nothing was done.
pub(super) async fn timed_out(request: &mut Request, services: &Services, limit: Value) -> bool {
    if !is_pythons(request, services, MainSignal::TaskFailure) {
        return false;
    }
    end(request, services, "time_limit_exceeded", map([("limit", limit)])).await
}

/// Ended by us though its message is acknowledged already. False if nothing was done.
pub(super) async fn cancelled(request: &mut Request, services: &Services) -> bool {
    if !is_pythons(request, services, MainSignal::TaskRetry) {
        return false;
    }
    end(request, services, "cancelled", Map::new()).await
}

/// Revoked, expired or terminated, where only Python can read what hangs on it. False if nothing was done.
pub(super) async fn revoked(
    request: &mut Request,
    services: &Services,
    reason: &str,
    signum: Value,
    expired: Option<bool>,
) -> bool {
    let is_pythons = matches!(request.definition.runner, Runner::Python)
        && (request.definition.options.own_backend
            || services.completion.revocation_is_pythons(&info(request, services)));
    if !is_pythons {
        return false;
    }
    let terminated = reason == "terminated";
    let fields =
        [("reason", reason.into()), ("terminated", terminated.into()), ("signum", signum), ("expired", expired.into())];
    end(request, services, "announce_revoked", map(fields)).await
}

async fn end(request: &mut Request, services: &Services, name: &str, mut arguments: Map) -> bool {
    let Some(steward) = services.signals.steward() else { return false };
    let sends = sends_events(request, services);
    arguments.insert("events".to_owned(), sends.into());
    if name != "cancelled" {
        arguments.insert("held".to_owned(), (!request.is_settled()).into());
    }
    let answer = match steward.call(errand(name, arguments, Some(request.job()))).await {
        Ok(answer) => answer,
        Err(failure) => {
            error!(target: "celery.worker.request", "the end of {request} ({name}) is not made in Python: {failure}");
            return false;
        }
    };
    let told = Told::read(&answer);
    request.count_finished(state(name, &told), 0.0);
    for (kind, fields) in told.events {
        services.events.of_python(&kind, fields);
    }
    match told.settled.as_deref() {
        Some("ack") => request.settle(Disposition::Ack),
        Some("requeue") => request.settle(Disposition::Requeue),
        Some("drop") => request.settle(Disposition::Drop),
        _ => {}
    }
    true
}

/// What such an end counts as.
fn state(name: &str, told: &Told) -> EndState {
    match name {
        "cancelled" => EndState::Retry,
        "announce_revoked" => EndState::Revoked,
        _ if told.settled.as_deref() == Some("requeue") => EndState::Rejected,
        _ if told.events.iter().any(|(kind, _)| kind == "task-retried") => EndState::Retry,
        _ => EndState::Failure,
    }
}
