//! [`Peer`]: a connection with its deliveries, and the small words the cases are told in.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    broker::{Connection, Deliveries, Delivery, Transport},
    protocol::{Exchange, ExchangeType, Headers, Message, Properties, Queue, Route},
    serialization::{Map, Value},
};

/// A connection and what it has received.
pub(super) struct Peer {
    pub(super) connection: Arc<dyn Connection>,
    inbox: Inbox,
}

/// A stream of deliveries, one at a time.
pub(super) struct Inbox {
    stream: Deliveries,
    waiting: VecDeque<Delivery>,
}

impl Inbox {
    pub(super) fn new(stream: Deliveries) -> Self {
        Self { stream, waiting: VecDeque::new() }
    }

    /// The next delivery; none when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Delivery> {
        while self.waiting.is_empty() {
            self.waiting.extend(self.stream.recv().await?);
        }
        self.waiting.pop_front()
    }
}

impl Peer {
    pub(super) async fn new(transport: &dyn Transport) -> Self {
        let connection = transport.connect().await.expect("connect");
        let inbox = Inbox::new(connection.deliveries());
        Self { connection, inbox }
    }

    /// A peer that consumes a new queue with the given prefetch.
    pub(super) async fn consuming(transport: &dyn Transport, queue: &Queue, prefetch: u32) -> Self {
        let peer = Self::new(transport).await;
        peer.connection.declare(queue).await.expect("declare");
        peer.connection.set_prefetch(prefetch);
        peer.connection.consume(queue).await.expect("consume");
        peer
    }

    pub(super) async fn next(&mut self) -> Delivery {
        self.inbox.next().await.expect("the stream of deliveries ended")
    }

    pub(super) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(self.next().await);
        }
        taken
    }

    /// Whether the stream ends without another delivery.
    pub(super) async fn ends(&mut self) -> bool {
        self.inbox.next().await.is_none()
    }

    pub(super) async fn publish(&self, queue: &Queue, body: &str) {
        self.connection.publish(&Route::queue(&queue.name), message(body)).await.expect("publish");
    }

    pub(super) async fn publish_many(&self, queue: &Queue, count: usize) {
        for i in 0..count {
            self.publish(queue, &i.to_string()).await;
        }
    }

    /// How many messages wait in the queue; they are gone afterwards.
    pub(super) async fn purge(&self, queue: &Queue) -> u64 {
        self.connection.purge(&queue.name).await.expect("purge")
    }

    pub(super) async fn close(&self) -> usize {
        self.connection.close().await.expect("close")
    }
}

/// A name nobody else uses.
pub(super) fn unique(kind: &str) -> String {
    format!("contract.{kind}.{}", uuid::Uuid::new_v4().simple())
}

/// A task queue of a new name.
pub(super) fn queue() -> Queue {
    Queue::direct(unique("queue"))
}

/// A queue that lives only while somebody listens, bound to the given exchange.
pub(super) fn listener(exchange: &Exchange, routing_key: &str) -> Queue {
    Queue {
        exchange: exchange.clone(),
        routing_key: routing_key.to_owned(),
        durable: false,
        auto_delete: true,
        no_ack: true,
        ..Queue::direct(unique("listener"))
    }
}

/// A way to a queue through an exchange.
pub(super) fn route(exchange: &str, kind: ExchangeType, routing_key: &str) -> Route {
    Route { exchange: exchange.to_owned(), exchange_type: kind, routing_key: routing_key.to_owned(), declare: None }
}

/// A message as Celery shapes it, with headers of every kind that JSON and AMQP tables share.
pub(super) fn message(body: &str) -> Message {
    let nested: Map = [("a".to_owned(), Value::from("ü")), ("n".to_owned(), Value::Null)].into_iter().collect();
    let headers: Map = [
        ("task".to_owned(), Value::from("proj.add")),
        ("retries".to_owned(), Value::Int(3)),
        ("big".to_owned(), Value::Int(1 << 40)),
        ("float".to_owned(), Value::Float(0.5)),
        ("flag".to_owned(), Value::Bool(true)),
        ("timelimit".to_owned(), Value::List(vec![Value::Null, Value::Int(7)])),
        ("nested".to_owned(), Value::Map(nested)),
    ]
    .into_iter()
    .collect();
    Message {
        headers: Headers::new(headers),
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            correlation_id: Some("c-1".to_owned()),
            reply_to: Some("r-1".to_owned()),
            delivery_mode: Some(2),
            priority: Some(0),
            ..Properties::default()
        },
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// A delivery's body as text.
pub(super) fn body(delivery: &Delivery) -> String {
    let message = delivery.message.as_ref().expect("a message");
    String::from_utf8(message.body.to_vec()).expect("text")
}

/// The bodies of several deliveries.
pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}
