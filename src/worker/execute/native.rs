//! A request on a native seat: the handler runs in this process, and what follows its end is [`completion`]'s.
//!
//! [`completion`]: crate::worker::completion

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    ipc::Ended,
    pool::{Accepted, TimeLimits},
    protocol::Embed,
    serialization::Value,
    task::{Arguments, Context, ErasedHandler, Execution, Outcome},
    worker::{
        execute::{
            Signal, begin, cancel, drop_revoked, ended::conclude, expired, info, python_seconds, terminated, work::Work,
        },
        request::Request,
        services::Services,
        strategy::DiscardReason,
    },
};

/// Executes a request on a native seat and settles its message.
pub(super) async fn execute(
    mut request: Request,
    handler: Arc<dyn ErasedHandler>,
    services: &Services,
    mut signals: mpsc::Receiver<Signal>,
) {
    let seat = tokio::select! {
        biased;
        Some(signal) = signals.recv() => return Box::pin(not_begun(request, services, signal)).await,
        seat = services.native.seat() => seat,
        () = expired(request.expires) => {
            return Box::pin(drop_revoked(request, DiscardReason::Expired, services)).await;
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let accepted = Accepted { pid: services.pid.cast_signed(), at: now.as_secs_f64() };
    begin(&mut request, services, accepted);
    let started = Instant::now();
    if let Some(ended) = duplicate(&request, services).await {
        return conclude(&mut request, services, ended, 0.0);
    }
    if request.definition.options.track_started {
        Box::pin(services.completion.started(&info(&request, services), services.pid)).await;
    }
    let (outcome, embed, children) = run(&mut request, handler, services, &mut signals).await;
    // The next one may begin while this one's result is on its way.
    drop(seat);
    let _settling = services.metrics.settle();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Stopped::Terminated(signum)) => return Box::pin(terminated(&mut request, services, signum)).await,
        Err(Stopped::Cancelled) => return Box::pin(cancel(request, services, true)).await,
    };
    let ended = services.completion.finish(&info(&request, services), embed, outcome, children, started).await;
    conclude(&mut request, services, ended, started.elapsed().as_secs_f64());
}

/// The end of a request that need not be run, since a run before has stored its success.
async fn duplicate(request: &Request, services: &Services) -> Option<Ended> {
    let asks = request.redelivered && services.options.deduplicate && request.definition.options.acks_late;
    let embed = &request.body.as_ref().filter(|_| asks)?.embed;
    Box::pin(services.completion.duplicate(&info(request, services), embed)).await
}

/// Why a handler was ended that had not ended by itself.
enum Stopped {
    /// Remote control said so, with this signal.
    Terminated(i32),
    /// The worker stops, or the message is the broker's again.
    Cancelled,
}

/// What becomes of a request that was told something before it had a seat.
async fn not_begun(mut request: Request, services: &Services, signal: Signal) {
    match signal {
        Signal::Terminate(signum) => terminated(&mut request, services, signum).await,
        Signal::Withdraw | Signal::Cancel => request.leave(),
        Signal::Revoke(reason) => drop_revoked(request, reason, services).await,
    }
}

/// Runs the handler under its limits: how it ended, what is to follow, and the tasks it has sent; or the signal that ended it.
async fn run(
    request: &mut Request,
    handler: Arc<dyn ErasedHandler>,
    services: &Services,
    signals: &mut mpsc::Receiver<Signal>,
) -> (Result<Outcome, Stopped>, Embed, Vec<Value>) {
    let limits = request.limits(services.options.limits);
    let cancelled = CancellationToken::new();
    let cx = Context::new(execution(request, services, limits, cancelled.clone()));
    let body = request.body.take().unwrap_or_default();
    let arguments = Arguments { args: body.args, kwargs: body.kwargs };
    let work = Work::begin(&request.headers.task, handler, arguments, cx.clone());
    let outcome = limited(work, request, limits, &cancelled, signals).await;
    (outcome, body.embed, cx.take_children())
}

fn execution(request: &Request, services: &Services, limits: TimeLimits, cancelled: CancellationToken) -> Execution {
    let now = Instant::now();
    Execution {
        headers: request.headers.clone(),
        message: request.message.clone(),
        hostname: services.hostname.clone(),
        redelivered: request.redelivered,
        soft_deadline: limits.soft.and_then(|limit| now.checked_add(limit)),
        hard_deadline: limits.hard.and_then(|limit| now.checked_add(limit)),
        cancelled,
        producer: Some(services.producer.clone()),
        states_sink: Some(services.states_sink.clone()),
        states: services.states.clone(),
    }
}

/// The handler against its limits and whatever the dispatcher says.
async fn limited(
    mut work: Work,
    request: &Request,
    limits: TimeLimits,
    cancelled: &CancellationToken,
    signals: &mut mpsc::Receiver<Signal>,
) -> Result<Outcome, Stopped> {
    let soft = passed(limits.soft);
    let hard = passed(limits.hard);
    tokio::pin!(soft, hard);
    let stopped = loop {
        tokio::select! {
            biased;
            outcome = &mut work => return Ok(outcome),
            limit = &mut hard => {
                error!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
                    "Hard time limit ({}s) exceeded for {request}", python_seconds(limit));
                break Ok(Outcome::TimeLimitExceeded(limit));
            }
            limit = &mut soft, if !cancelled.is_cancelled() => {
                warn!(target: "celery.worker.request", task_id = request.id(), task_name = request.name(),
                    "Soft time limit ({}s) exceeded for {request}", python_seconds(limit));
                cancelled.cancel();
            }
            Some(signal) = signals.recv() => match signal {
                Signal::Withdraw | Signal::Revoke(_) => {}
                Signal::Terminate(signum) => break Err(Stopped::Terminated(signum)),
                Signal::Cancel => break Err(Stopped::Cancelled),
            },
        }
    };
    match work.end().await {
        Some(outcome) if stopped.is_err() => Ok(outcome),
        _ => stopped,
    }
}

async fn passed(limit: Option<std::time::Duration>) -> std::time::Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}
