//! [`EventDispatcher`]: words an event and queues it; the [`EventPump`] publishes it (`celery/events/dispatcher.py`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    broker::Publish,
    event::{
        Clock, EventPump,
        pump::{Losses, Outgoing},
    },
    protocol::ExchangeType,
    serialization::{Map, Value},
};

/// Events waiting to be published, also while the broker is away; beyond it new ones are dropped and counted.
const CAPACITY: usize = 65_536;

/// How events are worded and where they go.
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Node name.
    pub hostname: String,
    /// `event_exchange`. Default `celeryev`.
    pub exchange: String,
    /// Topic, or fanout where kombu's transport has no topics of its own for it (Redis).
    pub exchange_type: ExchangeType,
    /// `event_serializer`. Default `json`.
    pub serializer: String,
    /// `-E`: send task events from the start.
    pub task_events: bool,
    /// Whether anything is ever sent: not without all of `-E`, heartbeats and gossip.
    pub enabled: bool,
    /// Who Celery says has sent a `task-sent`: an anonymous node name.
    pub origin: String,
}

/// Sends events; cheap to clone. The other end of its channel is the [`EventPump`].
#[derive(Clone)]
pub struct EventDispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    options: EventOptions,
    clock: Clock,
    pid: i64,
    /// Whether the group `task` is sent; changed by `enable_events` and `disable_events`.
    task_group: AtomicBool,
    /// Read by the pump.
    losses: Losses,
    queue: mpsc::Sender<Outgoing>,
}

impl EventDispatcher {
    /// A dispatcher and the pump that publishes for it.
    pub fn new(options: EventOptions, clock: Clock, publisher: Arc<dyn Publish>) -> (Self, EventPump) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let losses = Losses::default();
        let pump = EventPump::new(&options, receiver, publisher, losses.clone());
        let inner = Inner {
            task_group: AtomicBool::new(options.task_events),
            options,
            clock,
            pid: i64::from(std::process::id()),
            losses,
            queue: sender,
        };
        (Self { inner: Arc::new(inner) }, pump)
    }

    /// Whether task events are sent; ask before wording one.
    pub fn task_events(&self) -> bool {
        self.inner.options.enabled && self.inner.task_group.load(Ordering::Relaxed)
    }

    /// Whether `-E` asked for the events of all groups: switching those of tasks on and off changes nothing then.
    pub fn sends_all(&self) -> bool {
        self.inner.options.task_events
    }

    /// Switches task events on or off; says whether that changed anything.
    pub fn set_task_events(&self, on: bool) -> bool {
        self.inner.task_group.swap(on, Ordering::Relaxed) != on
    }

    /// The logical clock that stamps the events.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Queues a task event, to be published together with its neighbours.
    pub fn task(&self, kind: &'static str, fields: Map) {
        self.queue(|inner| Outgoing::Task(inner.word(&inner.options.hostname, kind, fields)));
    }

    /// Queues a worker event, to be published on its own.
    pub fn worker(&self, kind: &'static str, fields: Map) {
        self.queue(|inner| Outgoing::Alone(inner.word(&inner.options.hostname, kind, fields)));
    }

    /// Queues the `task-sent` of a message that this process has published. It has a sender of its own in Celery, which
    /// asks for no groups.
    pub fn task_sent(&self, fields: Map) {
        let inner = &self.inner;
        self.put(Outgoing::Alone(inner.word(&inner.options.origin, "task-sent", fields)));
    }

    /// Events that were dropped because too many waited to be published.
    pub fn dropped(&self) -> u64 {
        self.inner.losses.all()
    }

    /// Resolves when everything queued before has been published or given up.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.inner.queue.send(Outgoing::Flush(done)).await.is_ok() {
            // An error means that the pump has ended, and with it everything queued.
            let _ = flushed.await;
        }
    }

    /// The clock is not moved for an event that is not sent.
    fn queue(&self, event: impl FnOnce(&Inner) -> Outgoing) {
        if self.inner.options.enabled {
            self.put(event(&self.inner));
        }
    }

    fn put(&self, event: Outgoing) {
        if self.inner.queue.try_send(event).is_err() {
            self.inner.losses.count();
        }
    }
}

impl Inner {
    fn word(&self, hostname: &str, kind: &'static str, fields: Map) -> Map {
        let mut event = Map::with_capacity(fields.len() + 6);
        event.insert("hostname".to_owned(), hostname.into());
        event.insert("utcoffset".to_owned(), utcoffset().into());
        event.insert("pid".to_owned(), self.pid.into());
        event.insert("clock".to_owned(), Value::Int(self.clock.forward().cast_signed()));
        event.extend(fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event.insert("timestamp".to_owned(), now.as_secs_f64().into());
        event.insert("type".to_owned(), kind.into());
        event
    }
}

/// Hours west of UTC, now.
fn utcoffset() -> f64 {
    f64::from(chrono::Local::now().offset().utc_minus_local()) / 3600.0
}
