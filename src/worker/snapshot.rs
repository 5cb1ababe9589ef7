//! What the worker holds, as `inspect` shows it: copies, taken in the dispatcher's own time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tracing::warn;

use crate::{
    ipc::SavedState,
    pool::{Accepted, Pool},
    protocol::{Message, Queue, TaskHeaders},
    task::Registry,
    worker::{
        completion::Completion, dispatcher::Dispatcher, receive::Receiver, request::Request, services::Services,
        shelf::OnShelf, state::Entry,
    },
};

/// Most tasks that `inspect scheduled` tells of, the soonest: whoever asks (a dashboard does, every few seconds) must not have
/// the worker read a million messages into one reply.
const MOST_SCHEDULED: usize = 10_000;
/// Messages read at a time.
const AT_A_TIME: usize = 500;
/// Bytes of bodies beyond which no more is read.
const MOST_BYTES: usize = 64 << 20;
/// How long the broker may take for them altogether; who has asked does not wait longer.
const READING: Duration = Duration::from_secs(5);

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

/// `Autoscaler.info()` of `celery/worker/autoscale.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoscaleInfo {
    /// Most children.
    pub max: usize,
    /// Fewest children.
    pub min: usize,
    /// How many there are.
    pub current: usize,
    /// How many requests wait for them or run in them.
    pub qty: usize,
}

/// How much the worker holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Begun and not ended.
    pub active: usize,
    /// Of those, in children.
    pub active_python: usize,
    /// Waiting for a seat, or ending.
    pub reserved: usize,
    /// Waiting for their time.
    pub scheduled: usize,
    /// Waiting for their rate limit.
    pub rate_limited: usize,
    /// Deliveries that may be held; 0 is unlimited.
    pub prefetch_count: u32,
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

/// What waits for its time: some of it has to be read out of the broker first.
pub struct Scheduled {
    held: Vec<TaskInfo>,
    on_shelves: Vec<OnShelf>,
    receiver: Receiver,
    most: usize,
}

impl Scheduled {
    /// All of it, soonest first. What cannot be read in time is left out.
    pub async fn read(self) -> Vec<TaskInfo> {
        let Self { mut held, on_shelves, receiver, most } = self;
        let mut bytes = 0;
        let reading = async {
            for shelf in on_shelves {
                let mut tags = &shelf.tags[..];
                while !tags.is_empty() && bytes < MOST_BYTES {
                    let read = shelf.unacked.read(tags[..tags.len().min(AT_A_TIME)].to_vec()).await;
                    tags = &tags[read.len().clamp(1, tags.len())..];
                    let requests = read.into_iter().flatten().filter_map(|delivery| receiver.receive(0, delivery).ok());
                    let infos = requests.filter_map(|request| Some(TaskInfo::of_request(request.eta?, &request)));
                    held.extend(infos.inspect(|task| bytes += task.message.body.len()));
                }
            }
        };
        if tokio::time::timeout(READING, reading).await.is_err() {
            warn!(target: "celery.worker.control", "the broker is slow: not all tasks that wait for their ETA could be read");
        }
        held.sort_by_key(|task| task.eta);
        held.truncate(most);
        held
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

    /// What waits for its time; of very much only the soonest.
    pub fn scheduled(&self) -> Scheduled {
        let waiting = self.eta.len();
        if waiting > MOST_SCHEDULED {
            warn!(target: "celery.worker.control",
                "{waiting} tasks wait for their ETA: only the first {MOST_SCHEDULED} are told of");
        }
        let held =
            self.eta.iter().take(MOST_SCHEDULED).map(|(eta, request)| TaskInfo::of_request(eta, request)).collect();
        self.to_read(held, self.eta.on_shelves(MOST_SCHEDULED), MOST_SCHEDULED)
    }

    /// What waits for its time of these tasks.
    pub fn scheduled_by_id(&self, ids: &[String]) -> Scheduled {
        let held = self.eta.iter().filter(|(_, request)| ids.iter().any(|id| **id == *request.headers.id));
        let held = held.map(|(eta, request)| TaskInfo::of_request(eta, request)).collect();
        self.to_read(held, self.eta.on_shelves_by_id(ids), usize::MAX)
    }

    /// How much is held.
    pub fn holdings(&self) -> Holdings {
        let active = self.state.active();
        Holdings {
            active,
            active_python: self.state.active_python(),
            reserved: self.state.len().saturating_sub(active),
            scheduled: self.eta.len(),
            rate_limited: self.rates.len(),
            prefetch_count: self.qos.value(),
        }
    }

    /// The revoked ids, oldest first.
    pub fn revoked_ids(&self) -> Vec<String> {
        self.revoked.ids().map(str::to_owned).collect()
    }

    /// What is to be kept over a restart; none without `--statedb`.
    pub fn state_to_save(&self) -> Option<SavedState> {
        let Services { options, events, .. } = &*self.services;
        options.state.as_ref()?;
        Some(SavedState { revoked: self.revoked.ages(Instant::now()), clock: events.clock().value() })
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

    /// What `--autoscale` has come to; none without it.
    pub fn autoscale_info(&self) -> Option<AutoscaleInfo> {
        let range = self.autoscaler.as_ref()?.range();
        let (current, qty) = (self.seats, self.state.reserved_python());
        Some(AutoscaleInfo { max: range.max, min: range.min, current, qty })
    }

    /// What writes the ends that no child tells.
    pub fn completion(&self) -> Completion {
        self.services.completion.clone()
    }

    fn to_read(&self, held: Vec<TaskInfo>, on_shelves: Vec<OnShelf>, most: usize) -> Scheduled {
        Scheduled { held, on_shelves, receiver: self.receiver.clone(), most }
    }

    fn held(&self, which: impl Fn(&Entry) -> bool) -> Vec<TaskInfo> {
        self.state.entries().filter(|(_, entry)| which(entry)).map(|(_, entry)| TaskInfo::of_entry(entry)).collect()
    }
}
