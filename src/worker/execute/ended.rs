//! What an end that its executor has reported means for the events and for the message.

use tracing::error;

use crate::{
    ipc::Ended,
    task::metrics::EndState,
    worker::{
        disposition::{Disposition, EndKind, disposition},
        execute::sends_events,
        request::Request,
        services::Services,
    },
};

/// Tells the event listeners and settles the message.
pub(super) fn conclude(request: &mut Request, services: &Services, ended: Ended, runtime: f64) {
    let end = match &ended {
        Ended::Success { .. } | Ended::AlreadySucceeded { .. } | Ended::Retry { .. } | Ended::Ignored => EndKind::Done,
        Ended::Failure { is_timeout: true, .. } => EndKind::TimedOut,
        Ended::Failure { .. } | Ended::Internal { .. } => EndKind::Failed,
        Ended::Rejected { requeue, .. } => EndKind::Rejected { requeue: *requeue },
        Ended::Undecodable { disallowed: true, .. } => EndKind::Rejected { requeue: false },
        Ended::Undecodable { .. } => EndKind::Done,
        Ended::OutOfMemory { exception, .. } => {
            error!(target: "celery.worker.request", critical = true, task_id = request.id(), task_name = request.name(),
                "Process got: {exception} in {request}");
            // Celery's worker ends of it, and the message that it still holds comes back to the next one. A task that
            // runs out of memory once more is a failure like any other: it must not come back for ever.
            if request.redelivered { EndKind::Failed } else { EndKind::Rejected { requeue: true } }
        }
        Ended::Exits { .. } => EndKind::Lost,
    };
    conclude_as(end, request, services, ended, runtime);
}

/// The same for an end whose kind its report does not tell.
pub(super) fn conclude_as(end: EndKind, request: &mut Request, services: &Services, ended: Ended, runtime: f64) {
    let fate = disposition(end, &request.definition.options);
    request.count_finished(state(&ended, fate, !request.is_settled()), runtime);
    tell(request, services, ended, runtime, fate);
    request.settle(fate);
}

/// A lost task whose message goes back: only that is told.
pub(super) fn requeue(request: &mut Request, services: &Services) {
    if !request.is_settled() && sends_events(request, services) {
        services.events.rejected(&request.headers, true);
    }
    request.count_finished(EndState::Rejected, 0.0);
    request.settle(Disposition::Requeue);
}

/// What an end counts as: a failure whose message goes back is none yet.
fn state(ended: &Ended, fate: Disposition, is_held: bool) -> EndState {
    match ended {
        Ended::Success { .. } | Ended::AlreadySucceeded { .. } => EndState::Success,
        Ended::Retry { .. } => EndState::Retry,
        Ended::Ignored => EndState::Ignored,
        Ended::Rejected { .. } | Ended::Undecodable { .. } => EndState::Rejected,
        Ended::Failure { .. } | Ended::Internal { .. } | Ended::OutOfMemory { .. } | Ended::Exits { .. } => {
            if is_held && fate == Disposition::Requeue { EndState::Rejected } else { EndState::Failure }
        }
    }
}

/// The events, in the order of Celery's `Request.on_failure` and `on_success`: a message that is refused is told of before
/// the failure, unless it is refused by the task itself.
fn tell(request: &Request, services: &Services, ended: Ended, runtime: f64, fate: Disposition) {
    let headers = &request.headers;
    let sends = sends_events(request, services);
    let is_held = !request.is_settled();
    let events = &services.events;
    let rejected = || match fate {
        Disposition::Requeue if sends && is_held => events.rejected(headers, true),
        Disposition::Drop if sends && is_held => events.rejected(headers, false),
        _ => {}
    };
    // After a time limit Celery tells of the failure even if the message goes back (`Request.on_timeout`, 5.7).
    let goes_back = is_held && fate == Disposition::Requeue;
    let tells_failure = sends && (!goes_back || matches!(ended, Ended::Failure { is_timeout: true, .. }));
    match ended {
        Ended::Success { repr } if sends => events.succeeded(headers, Some(&repr), Some(runtime)),
        Ended::AlreadySucceeded { repr } if sends => events.succeeded(headers, repr.as_deref(), None),
        Ended::Retry { exception, traceback } if sends => events.retried(headers, &exception, Some(&traceback)),
        Ended::Failure { exception, traceback, .. } | Ended::OutOfMemory { exception, traceback } => {
            rejected();
            if tells_failure {
                events.failed(headers, &exception, Some(&traceback));
            }
        }
        Ended::Internal { exception, traceback } => {
            error!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
                "Task handler raised error: {exception}\n{traceback}");
            rejected();
            if sends {
                events.failed(headers, &exception, Some(&traceback));
            }
        }
        Ended::Rejected { exception, traceback, stores_failure, requeue } => {
            if sends && stores_failure && !requeue {
                events.failed(headers, &exception, Some(&traceback));
            }
            rejected();
        }
        Ended::Undecodable { exception, disallowed } => refuse_in_child(request, services, &exception, disallowed),
        Ended::Success { .. }
        | Ended::AlreadySucceeded { .. }
        | Ended::Retry { .. }
        | Ended::Ignored
        | Ended::Exits { .. } => {}
    }
}

/// What the parent could not see in the body, in the words it would have had for it.
fn refuse_in_child(request: &Request, services: &Services, exception: &str, disallowed: bool) {
    if disallowed {
        error!(target: "celery.worker.consumer.consumer",
            "Received invalid task message: {exception}\nThe message has been ignored and discarded. {request}");
        services.signals.rejected(&request.message, Some(exception));
    } else {
        error!(target: "celery.worker.consumer.consumer", critical = true, task_id = request.id(), task_name = request.name(),
            "Can't decode message body: {exception} {request}");
    }
}
