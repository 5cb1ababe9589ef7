//! A request on a Python seat: the child runs Celery's own tracer, the parent stores what it encoded, then settles.

use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::{
    backend::StoreRequest,
    ipc::{Ended, Report as ChildReport, Stored},
    pool::{Finished, Pool, Progress, Run},
    protocol::{TaskState, repr::repr},
    serialization::Value,
    task::metrics::EndState,
    worker::{
        disposition::EndKind,
        execute::{
            Signal, begin, cancel, drop_revoked,
            ended::{conclude, conclude_as, requeue},
            expired, in_python, info, python_seconds, sends_events, terminated,
        },
        request::Request,
        services::Services,
        strategy::DiscardReason,
    },
};

/// Follows a request that was submitted to the Python seats, and settles its message.
pub(super) async fn follow(
    mut request: Request,
    run: Option<Run>,
    services: &Services,
    mut signals: mpsc::Receiver<Signal>,
) {
    let (Some(pool), Some(mut run)) = (&services.pool, run) else { return request.leave() };
    let (mut cancelled, mut discarded) = (false, None);
    let expired = expired(request.expires);
    tokio::pin!(expired);
    let accepted = loop {
        tokio::select! {
            biased;
            accepted = &mut run.accepted => break accepted.ok(),
            // Whether it has begun after all is the pool's to say: it is accepted, or it ends as withdrawn.
            Some(signal) = signals.recv() => match signal {
                Signal::Withdraw => pool.withdraw(request.number),
                Signal::Revoke(reason) => {
                    discarded = Some(reason);
                    pool.withdraw(request.number);
                }
                // The pool stops as well.
                Signal::Cancel => cancelled = true,
                Signal::Terminate(signum) => pool.terminate(request.number, signum),
            },
            () = &mut expired, if discarded.is_none() => {
                discarded = Some(DiscardReason::Expired);
                pool.withdraw(request.number);
            }
        }
    };
    if let Some(accepted) = accepted {
        begin(&mut request, services, accepted);
        if cancelled {
            pool.terminate(request.number, nix::sys::signal::Signal::SIGTERM as i32);
        }
    }
    let mut watched = Watched { request, services, cancelled, revoked: false };
    let finished = watched.watch(&mut run, &**pool, &mut signals).await;
    if let (Some(reason), Some(Finished::Withdrawn)) = (discarded, &finished) {
        return Box::pin(drop_revoked(watched.request, reason, services)).await;
    }
    watched.settle(finished, accepted.is_some()).await;
}

/// One request that has begun, to its end.
struct Watched<'a> {
    request: Request,
    services: &'a Services,
    /// The worker has it ended.
    cancelled: bool,
    /// Remote control has it ended: it is revoked, whatever its child makes of that.
    revoked: bool,
}

impl Watched<'_> {
    /// Follows a run until it has ended; none when the pool is gone.
    async fn watch(
        &mut self,
        run: &mut Run,
        pool: &dyn Pool,
        signals: &mut mpsc::Receiver<Signal>,
    ) -> Option<Finished> {
        let number = self.request.number;
        loop {
            tokio::select! {
                biased;
                Some(progress) = run.progress.recv() => self.hear(progress).await,
                finished = &mut run.finished => return finished.ok(),
                Some(signal) = signals.recv() => match signal {
                    Signal::Withdraw | Signal::Revoke(_) => {}
                    Signal::Terminate(signum) => pool.terminate(number, signum),
                    Signal::Cancel => {
                        self.cancelled = true;
                        pool.terminate(number, nix::sys::signal::Signal::SIGTERM as i32);
                    }
                },
            }
        }
    }

    async fn hear(&mut self, progress: Progress) {
        match progress {
            Progress::SoftTimeLimit(limit) => {
                let seconds = python_seconds(limit);
                warn!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Soft time limit ({seconds}s) exceeded for {}", self.request);
            }
            Progress::Signalled(signum) if !self.cancelled && !self.revoked => {
                self.revoked = true;
                Box::pin(terminated(&mut self.request, self.services, signum)).await;
            }
            Progress::Signalled(_) => {}
            Progress::Store(stored, done) => {
                // The child may have died meanwhile.
                let _ = done.send(Box::pin(store(self.services, stored)).await);
            }
        }
    }

    async fn settle(mut self, finished: Option<Finished>, began: bool) {
        let services = self.services;
        let _settling = services.metrics.settle();
        match finished {
            None | Some(Finished::Withdrawn) => self.request.leave(),
            Some(Finished::Reported(ChildReport { ended: Ended::Exits { exit }, .. })) => {
                Box::pin(self.lost(&format!("Worker exited prematurely: {exit}."))).await;
            }
            Some(Finished::Reported(report)) => self.reported(report).await,
            Some(Finished::WorkerLost { .. } | Finished::Terminated { .. }) if self.cancelled => {
                Box::pin(cancel(self.request, self.services, began)).await;
            }
            Some(Finished::WorkerLost { .. } | Finished::Terminated { .. }) if self.revoked => {}
            Some(Finished::WorkerLost { exit }) => {
                let text = format!("Worker exited prematurely: {exit} Job: {}.", self.request.number);
                Box::pin(self.lost(&text)).await;
            }
            Some(Finished::TimeLimit(limit)) => Box::pin(self.timed_out(limit)).await,
            Some(Finished::Terminated { signum }) => {
                Box::pin(terminated(&mut self.request, self.services, signum)).await;
            }
        }
    }

    async fn reported(&mut self, mut report: ChildReport) {
        // The next attempt may be on its way: its events come after this one.
        if let Ended::Retry { exception, traceback } = &report.ended {
            if sends_events(&self.request, self.services) {
                self.services.events.retried(&self.request.headers, exception, Some(traceback));
            }
            self.request.count_finished(EndState::Retry, report.runtime);
            report.ended = Ended::Ignored;
        }
        if let Some(stored) = report.stored
            && let Err(failure) = store(self.services, stored).await
        {
            error!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Task {} result could not be stored: {failure}", self.request);
        }
        conclude(&mut self.request, self.services, report.ended, report.runtime);
    }

    /// `text` is the message of the `WorkerLostError`.
    async fn lost(&mut self, text: &str) {
        if in_python::lost(&mut self.request, self.services, text).await {
            return;
        }
        let options = &self.request.definition.options;
        let shown = format!("WorkerLostError({})", repr(&Value::from(text)));
        let retries = options.retry_on_worker_lost;
        if let Some(ended) =
            self.services.completion.succeeded_before(&info(&self.request, self.services), &shown).await
        {
            return conclude(&mut self.request, self.services, ended, 0.0);
        }
        if options.acks_late && options.reject_on_worker_lost && !retries {
            requeue(&mut self.request, self.services);
            return error!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Task handler raised error: {shown}");
        }
        let ended = self.services.completion.worker_lost(&info(&self.request, self.services), text).await;
        // A task that had stored its success, or that is tried again, is not a failure.
        match ended {
            Ended::Failure { .. } => {
                // Where it could be tried again and was often enough, it does not come back.
                let end = if retries { EndKind::Failed } else { EndKind::Lost };
                conclude_as(end, &mut self.request, self.services, ended, 0.0);
                error!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Task handler raised error: {shown}");
            }
            _ => conclude(&mut self.request, self.services, ended, 0.0),
        }
    }

    async fn timed_out(&mut self, limit: std::time::Duration) {
        if in_python::timed_out(&mut self.request, self.services, limit_value(limit)).await {
            return;
        }
        let seconds = python_seconds(limit);
        let ended = self.services.completion.time_limit_exceeded(&info(&self.request, self.services), limit).await;
        error!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Task handler raised error: TimeLimitExceeded({seconds})");
        error!(target: "celery.worker.request", task_id = self.request.id(), task_name = self.request.name(),
                "Hard time limit ({seconds}s) exceeded for {}", self.request);
        conclude_as(EndKind::TimedOut, &mut self.request, self.services, ended, limit.as_secs_f64());
    }
}

/// Whole seconds stay integers, as they were written.
fn limit_value(limit: std::time::Duration) -> Value {
    match limit.subsec_nanos() {
        0 => Value::Int(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)),
        _ => Value::Float(limit.as_secs_f64()),
    }
}

/// Stores what a child's tracer has encoded.
async fn store(services: &Services, stored: Stored) -> Result<(), String> {
    let Stored { task_id, state, document, reply_to, correlation_id } = stored;
    let request = StoreRequest { task_id, state: TaskState::from(state.as_str()), document, reply_to, correlation_id };
    services.backend.store(request).await.map_err(|failure| failure.to_string())
}
