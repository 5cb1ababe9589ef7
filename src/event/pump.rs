//! [`EventPump`]: publishes events in the order in which they were queued, those of tasks many at a time.
//!
//! It does not word them: that is the [`EventDispatcher`](crate::event::EventDispatcher)'s.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, warn};

use crate::{
    broker::Publish,
    event::EventOptions,
    protocol::{Exchange, Message, Queue, Route},
    serialization::{Map, Value, encode, map},
};

/// Events in one `task.multi` message at most.
const GROUP: usize = 256;
/// Between two messages: what comes faster is sent together. The first after a pause goes at once.
const PAUSE: Duration = Duration::from_millis(10);

/// What the dispatchers queue.
pub(super) enum Outgoing {
    /// Goes with its neighbours.
    Task(Map),
    /// Goes by itself.
    Alone(Map),
    /// Says when everything before has gone.
    Flush(oneshot::Sender<()>),
}

/// How many events there was no room for.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    /// Those that the log does not know of yet.
    untold: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Losses {
    /// One more.
    pub fn count(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// How many since the start.
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    fn take(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }
}

/// Publishes what the dispatchers queue; run it as a task of its own.
pub struct EventPump {
    queue: mpsc::Receiver<Outgoing>,
    publisher: Arc<dyn Publish>,
    exchange: Exchange,
    serializer: String,
    losses: Losses,
    /// Whether the last publish failed, and the log knows.
    failing: bool,
}

impl EventPump {
    pub(super) fn new(
        options: &EventOptions,
        queue: mpsc::Receiver<Outgoing>,
        publisher: Arc<dyn Publish>,
        losses: Losses,
    ) -> Self {
        Self {
            queue,
            publisher,
            exchange: Exchange::new(options.exchange.clone(), options.exchange_type.clone()),
            serializer: options.serializer.clone(),
            losses,
            failing: false,
        }
    }

    /// Publishes until all dispatchers are gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(GROUP);
        let mut quiet_until = Instant::now();
        while self.queue.recv_many(&mut batch, GROUP).await > 0 {
            tokio::time::sleep_until(quiet_until).await;
            while batch.len() < GROUP
                && let Ok(event) = self.queue.try_recv()
            {
                batch.push(event);
            }
            quiet_until = Instant::now() + PAUSE;
            self.send(&mut batch).await;
            let lost = self.losses.take();
            if lost > 0 {
                warn!(target: "celery.events.dispatcher", "{lost} events were not sent: the broker does not take them fast enough");
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Outgoing>) {
        let mut group = Vec::new();
        for event in batch.drain(..) {
            match event {
                Outgoing::Task(event) => group.push(Value::Map(event)),
                Outgoing::Alone(event) => {
                    self.publish_group(&mut group).await;
                    self.publish_alone(event).await;
                }
                Outgoing::Flush(done) => {
                    self.publish_group(&mut group).await;
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
            }
        }
        self.publish_group(&mut group).await;
    }

    async fn publish_group(&mut self, group: &mut Vec<Value>) {
        let Some(hostname) = group.first().and_then(Value::as_map).map(|event| text(event.get("hostname"))) else {
            return;
        };
        let events = Value::List(std::mem::take(group));
        self.publish("task.multi", hostname, &events).await;
    }

    async fn publish_alone(&mut self, event: Map) {
        let routing_key = text(event.get("type")).replace('-', ".");
        let hostname = text(event.get("hostname"));
        self.publish(&routing_key, hostname, &Value::Map(event)).await;
    }

    async fn publish(&mut self, routing_key: &str, hostname: String, body: &Value) {
        let encoded = match encode(body, &self.serializer) {
            Ok(encoded) => encoded,
            Err(failure) => return self.fail(&format!("cannot encode event: {failure}")),
        };
        let headers = map([("hostname", hostname.into())]);
        let message = Message::transient(encoded, headers, self.exchange.name.clone(), routing_key.to_owned());
        let route = Route {
            exchange: self.exchange.name.clone(),
            exchange_type: self.exchange.kind.clone(),
            routing_key: routing_key.to_owned(),
            // Only the exchange: on AMQP a publish to one that nobody has declared closes the channel.
            declare: Some(Box::new(Queue { no_declare: true, exchange: self.exchange.clone(), ..Queue::direct("") })),
        };
        match self.publisher.publish(route, message).await {
            Ok(()) => self.failing = false,
            Err(failure) => self.fail(&format!("event not sent: {failure}")),
        }
    }

    /// Says so once, until one is sent again.
    fn fail(&mut self, reason: &str) {
        if std::mem::replace(&mut self.failing, true) {
            debug!(target: "celery.events.dispatcher", "{reason}");
        } else {
            warn!(target: "celery.events.dispatcher", "{reason}");
        }
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}
