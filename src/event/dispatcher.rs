//! [`EventDispatcher`]: words an event, buffers it, and has the [`EventPump`] publish it (`celery/events/dispatcher.py`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::{
    broker::Publish,
    event::Clock,
    protocol::{DeliveryInfo, Exchange, ExchangeType, Headers, Message, Properties, Queue, Route},
    serialization::{Map, Value, encode},
};

/// Events waiting to be published; beyond it new ones are dropped and counted.
const CAPACITY: usize = 20_000;
/// Events in one `task.multi` message at most.
const GROUP: usize = 256;

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
    /// Hours west of UTC, as Celery's `utcoffset()` counts them.
    pub utcoffset: f64,
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
    dropped: AtomicU64,
    queue: mpsc::Sender<Outgoing>,
}

enum Outgoing {
    Task(Map),
    Worker(&'static str, Map),
    Flush(oneshot::Sender<()>),
}

/// Publishes what the dispatchers queue; run it as a task of its own.
pub struct EventPump {
    inner: Arc<Inner>,
    queue: mpsc::Receiver<Outgoing>,
    publisher: Arc<dyn Publish>,
}

impl EventDispatcher {
    /// A dispatcher and the pump that publishes for it.
    pub fn new(options: EventOptions, clock: Clock, publisher: Arc<dyn Publish>) -> (Self, EventPump) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let inner = Arc::new(Inner {
            task_group: AtomicBool::new(options.task_events),
            options,
            clock,
            pid: i64::from(std::process::id()),
            dropped: AtomicU64::new(0),
            queue: sender,
        });
        (Self { inner: inner.clone() }, EventPump { inner, queue: receiver, publisher })
    }

    /// Whether task events are sent; ask before wording one.
    pub fn task_events(&self) -> bool {
        self.inner.task_group.load(Ordering::Relaxed)
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
        self.queue(Outgoing::Task(self.inner.word(kind, fields)));
    }

    /// Queues a worker event, to be published on its own.
    pub fn worker(&self, kind: &'static str, fields: Map) {
        self.queue(Outgoing::Worker(kind, self.inner.word(kind, fields)));
    }

    /// Resolves when everything queued before has been published or given up.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.inner.queue.send(Outgoing::Flush(done)).await.is_ok() {
            // An error means that the pump has ended, and with it everything queued.
            let _ = flushed.await;
        }
    }

    fn queue(&self, event: Outgoing) {
        if self.inner.queue.try_send(event).is_err() {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn word(&self, kind: &'static str, fields: Map) -> Map {
        let mut event = Map::with_capacity(fields.len() + 6);
        event.insert("hostname".to_owned(), self.options.hostname.as_str().into());
        event.insert("utcoffset".to_owned(), self.options.utcoffset.into());
        event.insert("pid".to_owned(), self.pid.into());
        event.insert("clock".to_owned(), Value::Int(self.clock.forward().cast_signed()));
        event.extend(fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event.insert("timestamp".to_owned(), now.as_secs_f64().into());
        event.insert("type".to_owned(), kind.into());
        event
    }
}

impl EventPump {
    /// Publishes until all dispatchers are gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(GROUP);
        while self.queue.recv_many(&mut batch, GROUP).await > 0 {
            let mut tasks = Vec::new();
            let mut flushes = Vec::new();
            for event in batch.drain(..) {
                match event {
                    Outgoing::Task(event) => tasks.push(Value::Map(event)),
                    Outgoing::Worker(kind, event) => self.publish(&kind.replacen('-', ".", 1), Value::Map(event)).await,
                    Outgoing::Flush(done) => flushes.push(done),
                }
            }
            if !tasks.is_empty() {
                self.publish("task.multi", Value::List(tasks)).await;
            }
            for done in flushes {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    async fn publish(&self, routing_key: &str, body: Value) {
        let options = &self.inner.options;
        let encoded = match encode(&body, &options.serializer) {
            Ok(encoded) => encoded,
            Err(failure) => return debug!(target: "celery.events.dispatcher", "cannot encode event: {failure}"),
        };
        let message = self.message(encoded.body, encoded.content_type, encoded.content_encoding, routing_key);
        let route = Route {
            exchange: options.exchange.clone(),
            exchange_type: options.exchange_type.clone(),
            routing_key: routing_key.to_owned(),
            // Only the exchange: on AMQP a publish to one that nobody has declared closes the channel.
            declare: Some(Box::new(Queue { no_declare: true, exchange: self.exchange(), ..Queue::direct("") })),
        };
        if let Err(failure) = self.publisher.publish(route, message).await {
            debug!(target: "celery.events.dispatcher", "event not sent: {failure}");
        }
    }

    fn message(&self, body: Bytes, content_type: &str, content_encoding: &str, routing_key: &str) -> Message {
        let options = &self.inner.options;
        let headers = Map::from_iter([("hostname".to_owned(), Value::from(options.hostname.as_str()))]);
        Message {
            headers: Headers::new(headers),
            properties: Properties {
                content_type: Some(content_type.to_owned()),
                content_encoding: Some(content_encoding.to_owned()),
                delivery_mode: Some(1),
                delivery_info: DeliveryInfo { exchange: options.exchange.clone(), routing_key: routing_key.to_owned() },
                ..Properties::default()
            },
            body,
        }
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.inner.options.exchange.clone(), self.inner.options.exchange_type.clone())
    }
}
