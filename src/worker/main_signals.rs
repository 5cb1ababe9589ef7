//! [`MainSignals`]: the signals that Celery sends in its main process once the pool runs, at Celery's moments.
//!
//! Their receivers are Python's, so they are sent in the [steward](crate::pool::steward). One on which nobody listens costs
//! a look at a bit. Whether anybody does was settled when the app was loaded.

use bytes::Bytes;

use crate::{
    ipc::Errand,
    pool::Steward,
    protocol::Message,
    serialization::{Map, Value, json, map},
    worker::request::{Request, job_of},
};

/// A signal of `celery.signals` that is sent in Celery's main process after its pool has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MainSignal {
    /// Consuming for the first time.
    WorkerReady,
    /// A Unix signal has told the worker to stop.
    WorkerShuttingDown,
    /// It has stopped, and not cold.
    WorkerShutdown,
    /// Before each heartbeat event.
    HeartbeatSent,
    /// A request was made of a message.
    TaskReceived,
    /// A message was refused.
    TaskRejected,
    /// A message names no task of this app.
    TaskUnknown,
    /// A task was revoked, has expired or was terminated.
    TaskRevoked,
    /// In main: lost with its child, or over its hard limit.
    TaskFailure,
    /// In main: sent again after it was lost, or cancelled.
    TaskRetry,
}

impl MainSignal {
    const ALL: [Self; 10] = [
        Self::WorkerReady,
        Self::WorkerShuttingDown,
        Self::WorkerShutdown,
        Self::HeartbeatSent,
        Self::TaskReceived,
        Self::TaskRejected,
        Self::TaskUnknown,
        Self::TaskRevoked,
        Self::TaskFailure,
        Self::TaskRetry,
    ];

    /// Celery's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerReady => "worker_ready",
            Self::WorkerShuttingDown => "worker_shutting_down",
            Self::WorkerShutdown => "worker_shutdown",
            Self::HeartbeatSent => "heartbeat_sent",
            Self::TaskReceived => "task_received",
            Self::TaskRejected => "task_rejected",
            Self::TaskUnknown => "task_unknown",
            Self::TaskRevoked => "task_revoked",
            Self::TaskFailure => "task_failure",
            Self::TaskRetry => "task_retry",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Sends them. Cheap to clone; the default sends none.
#[derive(Debug, Clone, Default)]
pub struct MainSignals {
    steward: Option<Steward>,
    listened: u16,
}

impl MainSignals {
    /// Those of `listened` (names of `celery.signals`) that are main's. The steward is started if there are any.
    pub fn new<'a>(steward: Steward, listened: impl IntoIterator<Item = &'a str>) -> Self {
        let of_main = |name: &str| MainSignal::ALL.into_iter().find(|signal| signal.name() == name);
        let listened = listened.into_iter().filter_map(of_main).fold(0, |bits, signal| bits | signal.bit());
        // Failures and retries are the children's business, but for a few.
        if listened & !(MainSignal::TaskFailure.bit() | MainSignal::TaskRetry.bit()) != 0 {
            steward.start();
        }
        Self { steward: Some(steward), listened }
    }

    /// Whether anybody listens to it.
    pub fn listens(&self, signal: MainSignal) -> bool {
        self.listened & signal.bit() != 0
    }

    /// The steward, where there is a Python app.
    pub fn steward(&self) -> Option<&Steward> {
        self.steward.as_ref()
    }

    /// The worker is ready, for the first time.
    pub fn ready(&self) {
        self.send(MainSignal::WorkerReady, Map::new(), None);
    }

    /// A Unix signal told the worker to stop: its name, `Warm` or `Cold`, and the exit code it leads to.
    pub fn shutting_down(&self, sig: &str, how: &str, exitcode: u8) {
        let fields = || [("sig", Value::from(sig)), ("how", how.into()), ("exitcode", i64::from(exitcode).into())];
        self.send_with(MainSignal::WorkerShuttingDown, || (map(fields()), None));
    }

    /// The worker has stopped.
    pub fn shutdown(&self) {
        self.send(MainSignal::WorkerShutdown, Map::new(), None);
    }

    /// A heartbeat event is about to be sent.
    pub fn heartbeat(&self) {
        self.send(MainSignal::HeartbeatSent, Map::new(), None);
    }

    /// A request was made of a message.
    pub fn received(&self, request: &Request) {
        self.send_with(MainSignal::TaskReceived, || (Map::new(), Some(request.job())));
    }

    /// A message was refused: for this reason, or because it is no task message.
    pub fn rejected(&self, message: &Message, reason: Option<&str>) {
        let fields = || [("reason", reason.map(str::to_owned).into())];
        self.send_with(MainSignal::TaskRejected, || (map(fields()), Some(job_of(message))));
    }

    /// A message named no task of this app.
    pub fn unknown(&self, message: &Message, name: &str, id: &str) {
        let fields = || [("name", Value::from(name)), ("id", id.into())];
        self.send_with(MainSignal::TaskUnknown, || (map(fields()), Some(job_of(message))));
    }

    /// A task was revoked, has expired or was terminated with this signal.
    pub fn revoked(&self, request: &Request, terminated: bool, signum: Value, expired: Option<bool>) {
        let fields = || [("terminated", Value::Bool(terminated)), ("signum", signum), ("expired", expired.into())];
        self.send_with(MainSignal::TaskRevoked, || (map(fields()), Some(request.job())));
    }

    fn send(&self, signal: MainSignal, fields: Map, job: Option<crate::ipc::Job>) {
        self.send_with(signal, || (fields, job));
    }

    fn send_with(&self, signal: MainSignal, what: impl FnOnce() -> (Map, Option<crate::ipc::Job>)) {
        let Some(steward) = self.steward.as_ref().filter(|_| self.listens(signal)) else { return };
        let (fields, job) = what();
        steward.tell(errand(signal.name(), fields, job));
    }
}

/// An errand with these arguments.
pub(super) fn errand(name: &str, arguments: Map, job: Option<crate::ipc::Job>) -> Errand {
    let arguments = match arguments.is_empty() {
        true => Bytes::new(),
        // What no JSON can express was never said by a message that Celery could read.
        false => json::to_string(&Value::Map(arguments)).map_or_else(|_| Bytes::new(), Bytes::from),
    };
    Errand { name: name.to_owned(), arguments, job: job.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_listened_to_is_said() {
        let (sender, forked) = std::sync::mpsc::channel();
        let fork = move |socket| drop(sender.send(socket));
        let signals = MainSignals::new(Steward::new(fork), ["task_received", "task_prerun", "worker_init"]);
        assert!(signals.listens(MainSignal::TaskReceived));
        assert!(!signals.listens(MainSignal::WorkerReady));
        assert!(
            tokio::task::spawn_blocking(move || forked.recv().is_ok()).await.unwrap(),
            "it is there from the start"
        );
        assert!(!MainSignals::default().listens(MainSignal::TaskReceived));
    }

    #[tokio::test]
    async fn the_childrens_signals_need_no_steward() {
        let (sender, forked) = std::sync::mpsc::channel();
        let fork = move |socket| drop(sender.send(socket));
        let signals = MainSignals::new(Steward::new(fork), ["task_failure", "task_prerun", "after_task_publish"]);
        signals.ready();
        signals.heartbeat();
        assert!(signals.listens(MainSignal::TaskFailure));
        signals.steward().unwrap().stop().await;
        drop(signals);
        assert!(forked.recv().is_err(), "no process was asked for");
    }
}
