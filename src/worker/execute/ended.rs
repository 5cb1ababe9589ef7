//! What an end that its executor has reported means for the events and for the message.

use tracing::error;

use crate::{
    ipc::Ended,
    worker::{disposition::EndKind, execute::sends_events, request::Request, services::Services},
};

/// Tells the event listeners, and says what kind of end it was; none leaves the message to the broker.
pub(super) fn conclude(request: &Request, services: &Services, ended: Ended, runtime: f64) -> Option<EndKind> {
    let headers = &request.headers;
    let events = sends_events(request, services).then_some(&services.events);
    match ended {
        Ended::Success { repr } => {
            events.inspect(|events| events.succeeded(headers, &repr, Some(runtime)));
            Some(EndKind::Done)
        }
        Ended::Failure { exception, traceback, is_timeout } => {
            events.inspect(|events| events.failed(headers, &exception, Some(&traceback)));
            Some(if is_timeout { EndKind::TimedOut } else { EndKind::Failed })
        }
        Ended::Retry { exception, traceback } => {
            events.inspect(|events| events.retried(headers, &exception, Some(&traceback)));
            Some(EndKind::Done)
        }
        Ended::Ignored => Some(EndKind::Done),
        Ended::Rejected { requeue, exception, traceback, stores_failure } => {
            if !requeue && stores_failure {
                events.inspect(|events| events.failed(headers, &exception, Some(&traceback)));
            }
            events.inspect(|events| events.rejected(headers, requeue));
            Some(EndKind::Rejected { requeue })
        }
        Ended::OutOfMemory => {
            error!(target: "celery.worker.request", "Process got: MemoryError in {request}");
            None
        }
        Ended::Undecodable { exception, disallowed } => {
            refuse_in_child(request, &exception, disallowed);
            Some(if disallowed { EndKind::Rejected { requeue: false } } else { EndKind::Done })
        }
        Ended::Internal { exception, traceback } => {
            error!(target: "celery.worker.request", "Task handler raised error: {exception}\n{traceback}");
            events.inspect(|events| events.failed(headers, &exception, Some(&traceback)));
            Some(EndKind::Failed)
        }
    }
}

/// What the parent could not see in the body, in the words it would have had for it.
fn refuse_in_child(request: &Request, exception: &str, disallowed: bool) {
    if disallowed {
        error!(target: "celery.worker.consumer.consumer",
            "Received invalid task message: {exception}\nThe message has been ignored and discarded. {request}");
    } else {
        error!(target: "celery.worker.consumer.consumer", critical = true, "Can't decode message body: {exception} {request}");
    }
}
