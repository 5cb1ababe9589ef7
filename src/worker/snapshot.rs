//! What the worker holds, as `inspect` shows it: copies, taken in the dispatcher's own time.

use std::{sync::Arc, time::SystemTime};

use crate::{
    pool::{Accepted, Pool},
    protocol::{Message, Queue, TaskHeaders},
    task::Registry,
    worker::{completion::Completion, dispatcher::Dispatcher, request::Request, state::Entry},
};

/// One request (`Request.info` of `celery/worker/request.py`).
#[derive(Debug, Clone)]
pub struct TaskInfo {
    /// What is known before the body.
    pub headers: Arc<TaskHeaders>,
    /// The message: its body has the arguments.
    pub message: Arc<Message>,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// None while it has not begun.
    pub accepted: Option<Accepted>,
    /// Whether its message is settled.
    pub acknowledged: bool,
    /// When it may start at the earliest, for one that waits for its time.
    pub eta: Option<SystemTime>,
}

impl TaskInfo {
    fn of_entry(entry: &Entry) -> Self {
        Self {
            headers: entry.headers.clone(),
            message: entry.message.clone(),
            redelivered: entry.redelivered,
            accepted: entry.accepted,
            acknowledged: entry.accepted.is_some() && !entry.definition.options.acks_late,
            eta: None,
        }
    }

    fn of_request(eta: SystemTime, request: &Request) -> Self {
        Self {
            headers: request.headers.clone(),
            message: request.message.clone(),
            redelivered: request.redelivered,
            accepted: None,
            acknowledged: request.is_settled(),
            eta: Some(eta),
        }
    }
}

impl Dispatcher {
    /// What has begun and not ended.
    pub fn active(&self) -> Vec<TaskInfo> {
        self.held(|entry| entry.accepted.is_some())
    }

    /// What waits for a seat.
    pub fn reserved(&self) -> Vec<TaskInfo> {
        self.held(|entry| entry.accepted.is_none())
    }

    /// What waits for its time, soonest first.
    pub fn scheduled(&self) -> Vec<TaskInfo> {
        self.eta.iter().map(|(eta, request)| TaskInfo::of_request(eta, request)).collect()
    }

    /// The revoked ids, oldest first.
    pub fn revoked_ids(&self) -> Vec<String> {
        self.revoked.ids().map(str::to_owned).collect()
    }

    /// How often each task was accepted since the start.
    pub fn totals(&self) -> Vec<(String, u64)> {
        self.state.totals().iter().map(|(name, total)| (name.clone(), *total)).collect()
    }

    /// How many deliveries may be held; 0 is unlimited.
    pub fn prefetch_count(&self) -> u32 {
        self.qos.value()
    }

    /// The queues that are consumed.
    pub fn queues(&self) -> Vec<Queue> {
        self.queues.borrow().clone()
    }

    /// Every task, with the options that hold now.
    pub fn registry(&self) -> Arc<Registry> {
        self.receiver.registry.clone()
    }

    /// Python seats, if any.
    pub fn pool(&self) -> Option<Arc<dyn Pool>> {
        self.services.pool.clone()
    }

    /// How many tasks can run at a time.
    pub fn seats(&self) -> usize {
        self.seats
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        self.state.active()
    }

    /// What writes the ends that no child tells.
    pub fn completion(&self) -> Completion {
        self.services.completion.clone()
    }

    fn held(&self, which: impl Fn(&Entry) -> bool) -> Vec<TaskInfo> {
        self.state.entries().filter(|(_, entry)| which(entry)).map(|(_, entry)| TaskInfo::of_entry(entry)).collect()
    }
}
