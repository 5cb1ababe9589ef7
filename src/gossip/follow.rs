//! [`Gossip`]: follows the events of the other workers on each connection, and takes part in elections
//! (`celery/worker/consumer/gossip.py`).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Local};
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection, Deliveries, Delivery},
    event::EventDispatcher,
    gossip::{
        elections::{Candidate, Elections},
        peers::{Change, Drift, Peers},
    },
    producer::{Apply, Producer},
    protocol::{Exchange, ExchangeType, Message, Queue, Signature, repr::repr},
    serialization::{AcceptContent, Map, Value, map},
    worker::SessionHook,
};

/// Between two looks for nodes that are silent.
const INTERVAL: Duration = Duration::from_secs(5);

/// How to gossip; made by `app`.
#[derive(Debug, Clone)]
pub struct GossipOptions {
    /// Node name.
    pub hostname: String,
    /// `event_exchange`.
    pub exchange: String,
    /// Topic, or fanout on Redis.
    pub exchange_type: ExchangeType,
    /// `event_queue_prefix`.
    pub queue_prefix: String,
    /// How long an event waits: `--heartbeat-interval`, or `event_queue_ttl`.
    pub queue_ttl: Option<Duration>,
    /// `event_queue_expires`.
    pub queue_expires: Option<Duration>,
    /// `event_queue_exclusive`.
    pub queue_exclusive: bool,
    /// `event_queue_durable`.
    pub queue_durable: bool,
    /// JSON and `event_serializer`.
    pub accept: AcceptContent,
}

/// One node among others. Cheap to clone.
#[derive(Clone)]
pub struct Gossip(Arc<Inner>);

struct Inner {
    options: GossipOptions,
    events: EventDispatcher,
    /// For elections to call a task.
    producer: Producer,
    /// Node name and process, as candidates are named.
    full_hostname: String,
    peers: Mutex<Peers>,
    elections: Mutex<Elections>,
}

impl Gossip {
    /// A node that speaks through `events`; a task that it is elected to call goes through `producer`.
    pub fn new(options: GossipOptions, events: EventDispatcher, producer: Producer) -> Self {
        let full_hostname = format!("{}.{}", options.hostname, std::process::id());
        let (peers, elections) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { options, events, producer, full_hostname, peers, elections }))
    }

    /// Stands in an election, to which remote control has called all nodes.
    pub fn stand(&self, id: Value, topic: Value, action: Value) {
        lock(&self.0.elections).call(&id);
        let fields = [("id", id), ("topic", topic), ("action", action), ("cver", Value::Int(1))];
        self.0.events.worker("worker-elect", map(fields));
    }

    async fn listen(self, mut deliveries: Deliveries) {
        let mut looks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = deliveries.recv() => match batch {
                    Some(batch) => batch.into_iter().for_each(|delivery| self.on_message(delivery)),
                    None => return,
                },
                _ = looks.tick() => self.look(),
            }
        }
    }

    fn look(&self) {
        for node in lock(&self.0.peers).lose(Instant::now()) {
            info!(target: "celery.worker.consumer.gossip", "missed heartbeat from {node}");
        }
    }

    fn on_message(&self, delivery: Delivery) {
        let message = match delivery.message {
            Ok(message) => message,
            Err(malformed) => return error!(target: "celery.worker.consumer.gossip", "{malformed}"),
        };
        let routing_key = &message.properties.delivery_info.routing_key;
        if routing_key.split('.').next() == Some("task") {
            return;
        }
        match self.read(&message) {
            Ok(event) => match routing_key.as_str() {
                "worker.elect" => self.on_elect(&event),
                "worker.elect.ack" => self.on_elect_ack(&event),
                _ => self.on_event(&message, &event),
            },
            Err(reason) => error!(target: "celery.worker.consumer.gossip", "{reason}"),
        }
    }

    fn read(&self, message: &Message) -> Result<Map, String> {
        match message.decode(&self.0.options.accept) {
            Ok(Value::Map(event)) => Ok(event),
            Ok(_) => Err("an event of a worker is not an object".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    fn on_event(&self, message: &Message, event: &Map) {
        let clock = self.0.events.clock();
        let Some(node) = named(message.headers.get("hostname")).or_else(|| named(event.get("hostname"))) else {
            return;
        };
        if node == self.0.options.hostname {
            clock.forward();
            return;
        }
        match event.get("clock").and_then(Value::as_i64).and_then(|clock| u64::try_from(clock).ok()) {
            Some(theirs) => clock.adjust(theirs),
            None => clock.forward(),
        };
        let (change, drift) = lock(&self.0.peers).hear(node, event, Instant::now(), SystemTime::now());
        if let Some(drift) = drift {
            warn_of(node, &drift);
        }
        match change {
            Some(Change::Joined) => debug!(target: "celery.worker.consumer.gossip", "{node} joined the party"),
            Some(Change::Left) => debug!(target: "celery.worker.consumer.gossip", "{node} left"),
            None => {}
        }
    }

    fn on_elect(&self, event: &Map) {
        match Candidate::of_event(event) {
            Ok((id, candidate)) => {
                lock(&self.0.elections).stand(&id, candidate);
                self.0.events.worker("worker-elect-ack", map([("id", id)]));
            }
            Err(field) => {
                error!(target: "celery.worker.consumer.gossip", "election request missing field {field}");
            }
        }
    }

    fn on_elect_ack(&self, event: &Map) {
        let Some(id) = event.get("id") else { return };
        let others = lock(&self.0.peers).alive(Instant::now());
        let Some(leader) = lock(&self.0.elections).acknowledge(id, others) else { return };
        let shown = repr(id);
        if leader.node != self.0.full_hostname {
            return info!(target: "celery.worker.consumer.gossip", "node {} elected for {shown}", leader.node);
        }
        info!(target: "celery.worker.consumer.gossip", "I won the election {shown}");
        if leader.topic.as_str() == Some("task") {
            tokio::spawn(call_task(self.0.producer.clone(), leader.action));
        } else {
            error!(target: "celery.worker.consumer.gossip", "Unknown election topic {}", repr(&leader.topic));
        }
    }

    /// As Celery's receiver makes it, of its own for each connection.
    fn queue(&self) -> Queue {
        let options = &self.0.options;
        let millis = |limit: Option<Duration>| limit.map(|limit| Value::from(limit.as_millis()));
        let arguments = [("x-expires", millis(options.queue_expires)), ("x-message-ttl", millis(options.queue_ttl))];
        let given = arguments.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Queue {
            exchange: Exchange::new(options.exchange.clone(), options.exchange_type.clone()),
            routing_key: "worker.#".to_owned(),
            durable: options.queue_durable,
            exclusive: options.queue_exclusive,
            auto_delete: !options.queue_durable,
            no_ack: true,
            arguments: given.collect(),
            ..Queue::direct(format!("{}.{}", options.queue_prefix, uuid::Uuid::new_v4()))
        }
    }
}

impl SessionHook for Gossip {
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            match connection.subscribe(&self.queue()).await {
                Ok(deliveries) => drop(tokio::spawn(self.clone().listen(deliveries))),
                Err(failure) if matches!(failure.kind(), BrokerErrorKind::Refused | BrokerErrorKind::Unusable) => {
                    warn!(target: "celery.worker.consumer.gossip", "cannot hear the other workers: {failure}");
                }
                Err(failure) => return Err(failure),
            }
            Ok(())
        })
    }
}

/// What the winner of an election about a task does.
async fn call_task(producer: Producer, action: Value) {
    let called = match Signature::from_owned(action) {
        Ok(signature) => producer.send(signature, Apply::default()).await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = called {
        error!(target: "celery.worker.consumer.gossip", "Could not call task: {reason}");
    }
}

fn named(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|name| !name.is_empty())
}

fn warn_of(node: &str, drift: &Drift) {
    let shown = |seconds: f64| match DateTime::from_timestamp_micros((seconds * 1e6) as i64) {
        Some(at) => at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        None => seconds.to_string(),
    };
    // Celery has the two times the wrong way round as well.
    warn!(target: "celery.events.state",
        "Substantial drift from {node} may mean clocks are out of sync.  Current drift is {} seconds.  [orig: {} recv: {}]",
        drift.seconds, shown(drift.ours), shown(drift.theirs));
}

/// What panics never leaves it half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
