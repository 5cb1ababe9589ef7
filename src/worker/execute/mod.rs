//! The story of one request, from a place in a pool to the settled message, top to bottom in one async fn.
//!
//! The dispatcher spawned it and hears two things of it: that it has begun, and that it has ended.

mod ended;
mod in_python;
mod native;
mod python;
mod work;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;
use tracing::{debug, info as log_info};

use crate::{
    pool::{Accepted, Run},
    protocol::repr::repr,
    serialization::Value,
    task::{Runner, metrics::EndState},
    worker::{
        completion::RequestInfo,
        disposition::{EndKind, disposition},
        request::Request,
        services::{Report, Services},
        strategy::DiscardReason,
    },
};

/// What the dispatcher may tell an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Do not begin; give the message back. Means nothing once it has begun.
    Withdraw,
    /// It was revoked, for this reason: do not begin; discard it. Means nothing once it has begun.
    Revoke(DiscardReason),
    /// End it with this signal, as soon as it has begun.
    Terminate(i32),
    /// End it because the worker stops, or because its message is the broker's again.
    Cancel,
}

/// Reports the end of an execution, however it ends: the dispatcher waits for it.
struct EndReport<'a>(&'a Services, u64);

impl Drop for EndReport<'_> {
    fn drop(&mut self) {
        // No receiver means that the dispatcher has ended.
        let _ = self.0.reports.send(Report::Ended(self.1));
    }
}

/// Takes the request's place in the queue of its pool at once; the future executes it and settles its message.
///
/// Requests for Python begin in the order in which this is called, which is the order of their messages.
pub fn execute(
    request: Request,
    services: Arc<Services>,
    signals: mpsc::Receiver<Signal>,
) -> impl Future<Output = ()> + Send {
    let run = match (&request.definition.runner, &services.pool) {
        (Runner::Python, Some(pool)) => Some(pool.submit(request.job(), request.limits(services.options.limits))),
        _ => None,
    };
    follow(request, run, services, signals)
}

async fn follow(request: Request, run: Option<Run>, services: Arc<Services>, signals: mpsc::Receiver<Signal>) {
    let _report = EndReport(&services, request.number);
    match &request.definition.runner {
        Runner::Native(handler) => {
            let handler = handler.clone();
            native::execute(request, handler, &services, signals).await;
        }
        Runner::Python => python::follow(request, run, &services, signals).await,
    }
}

/// Ended by us, to stop or because the message is the broker's again: what is not acknowledged comes back; what is
/// acknowledged is told to be in retry, as Celery does.
async fn cancel(mut request: Request, services: &Services, began: bool) {
    let tells_of_retry = request.is_settled() && began;
    if began {
        request.count_finished(if tells_of_retry { EndState::Retry } else { EndState::Rejected }, 0.0);
    }
    if tells_of_retry && in_python::cancelled(&mut request, services).await {
        return;
    }
    if sends_events(&request, services) {
        services.events.cancelled(&request.headers);
    }
    if tells_of_retry {
        services.completion.cancelled(&info(&request, services)).await;
    }
    request.leave();
}

/// Tells everyone that a request will not be run, and acknowledges its message.
pub async fn discard(request: Request, reason: DiscardReason, services: Arc<Services>) {
    drop_revoked(request, reason, &services).await;
}

/// Ended by remote control: revoked, and as settled as if it had ended by itself.
async fn terminated(request: &mut Request, services: &Services, signum: i32) {
    request.count_finished(EndState::Revoked, 0.0);
    if !in_python::revoked(request, services, "terminated", signum.into(), Some(false)).await {
        if sends_events(request, services) {
            services.events.revoked(&request.headers, true, signum.into(), Some(false));
        }
        services.completion.revoked(&info(request, services), "terminated").await;
        let fate = disposition(EndKind::Done, &request.definition.options);
        request.settle(fate);
        services.signals.revoked(request, true, signum.into(), Some(false));
    }
}

async fn drop_revoked(mut request: Request, reason: DiscardReason, services: &Services) {
    request.count_finished(EndState::Revoked, 0.0);
    match &reason {
        DiscardReason::RevokedByHeader(stamp) => {
            log_info!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
                "Discarding revoked task: {request} (revoked by header: {stamp})");
        }
        DiscardReason::Revoked | DiscardReason::Expired => {
            log_info!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
                "Discarding revoked task: {request}");
        }
    }
    if reason == DiscardReason::Expired {
        // No receiver means that the dispatcher has ended.
        let _ = services.reports.send(Report::Expired(request.headers.id.to_string()));
    }
    // Celery does not say so of what might have expired.
    let might_have = if request.expires.is_some() { None } else { Some(false) };
    let expired = if reason == DiscardReason::Expired { Some(true) } else { might_have };
    if in_python::revoked(&mut request, services, reason.word(), Value::Null, expired).await {
        return;
    }
    if sends_events(&request, services) {
        services.events.revoked(&request.headers, false, Value::Null, expired);
    }
    services.completion.revoked(&info(&request, services), reason.word()).await;
    request.acknowledge();
    services.signals.revoked(&request, false, Value::Null, expired);
}

/// Notes that a request has begun: from here on it may have had effects.
fn begin(request: &mut Request, services: &Services, accepted: Accepted) {
    // No receiver means that the dispatcher has ended.
    let _ = services.reports.send(Report::Accepted(request.number, accepted));
    request.count_started(accepted.at);
    if !request.definition.options.acks_late {
        request.acknowledge();
    }
    if sends_events(request, services) {
        services.events.started(&request.headers);
    }
    debug!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
        "Task accepted: {request} pid:{}", accepted.pid);
}

/// Waits until a request expires, which one without `expires` never does.
async fn expired(expires: Option<SystemTime>) {
    match expires {
        // Boxed: most requests need no room for a timer.
        Some(at) => Box::pin(tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default())).await,
        None => std::future::pending().await,
    }
}

fn sends_events(request: &Request, services: &Services) -> bool {
    services.events.task_events() && request.definition.options.send_events
}

fn info<'a>(request: &'a Request, services: &'a Services) -> RequestInfo<'a> {
    RequestInfo {
        headers: &request.headers,
        message: &request.message,
        options: &request.definition.options,
        hostname: &services.options.hostname,
    }
}

/// Seconds as Python shows the number that the limit was given as.
fn python_seconds(limit: Duration) -> String {
    if limit.subsec_nanos() == 0 { limit.as_secs().to_string() } else { repr(&Value::Float(limit.as_secs_f64())) }
}
