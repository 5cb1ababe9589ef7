//! [`Mailbox`]: the node's queue on each connection, and the way back for replies (`kombu/pidbox.py`).

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tracing::{debug, error, info, warn};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection, Deliveries, Delivery},
    control::{Node, request::ControlRequest},
    event::Clock,
    protocol::{Exchange, ExchangeType, Message, Queue, Route},
    serialization::{Map, Value, encode, map},
    worker::SessionHook,
};

/// How long to wait before asking again for a queue that someone else still holds.
const AGAIN: Duration = Duration::from_secs(1);

/// The mailbox of one node; joins each connection as a [`SessionHook`].
pub struct Mailbox {
    node: Arc<Node>,
    queue: Queue,
    clock: Clock,
}

impl Mailbox {
    /// The mailbox of this node, with its queue as the `control_*` settings make it. Requests and replies have a `clock` of
    /// their own, as kombu's have, which no event shows.
    pub fn new(node: Arc<Node>, clock: Clock) -> Self {
        let queue = pidbox_queue(&node);
        Self { node, queue, clock }
    }
}

impl SessionHook for Mailbox {
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let (node, clock) = (self.node.clone(), self.clock.clone());
            let listener = Listener { node, clock, connection: connection.clone() };
            match connection.subscribe(&self.queue).await {
                Ok(deliveries) => drop(tokio::spawn(listener.listen(deliveries))),
                Err(refused) if refused.kind() == BrokerErrorKind::Refused => {
                    warn_in_use(&self.node, &refused);
                    drop(tokio::spawn(listener.listen_once_free(self.queue.clone())));
                }
                Err(failure) => return Err(failure),
            }
            Ok(())
        })
    }
}

/// Reads one connection's requests, until it is lost.
struct Listener {
    node: Arc<Node>,
    clock: Clock,
    connection: Arc<dyn Connection>,
}

impl Listener {
    async fn listen(self, mut deliveries: Deliveries) {
        while let Some(batch) = deliveries.recv().await {
            for delivery in batch {
                self.on_message(delivery).await;
            }
        }
    }

    /// An exclusive queue may still belong to a connection of ours that the broker has not given up yet.
    async fn listen_once_free(self, queue: Queue) {
        loop {
            tokio::select! {
                _ = self.connection.closed() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            match self.connection.subscribe(&queue).await {
                Ok(deliveries) => return self.listen(deliveries).await,
                Err(failure) => debug!(target: "kombu.pidbox", "the mailbox cannot be had yet: {failure}"),
            }
        }
    }

    async fn on_message(&self, delivery: Delivery) {
        self.node.clock().forward();
        let message = match delivery.message {
            Ok(message) => message,
            Err(malformed) => return error!(target: "kombu.pidbox", "Cannot decode message: {malformed}"),
        };
        let clock = message.headers.get("clock").and_then(Value::as_i64).and_then(|clock| u64::try_from(clock).ok());
        self.clock.adjust(clock.unwrap_or(0));
        match self.read(&message) {
            Ok(request) => self.serve(request).await,
            Err(reason) => error!(target: "kombu.pidbox", "Cannot decode message: {reason}"),
        }
    }

    fn read(&self, message: &Message) -> Result<ControlRequest, String> {
        let body = message.decode(&self.node.options.accept);
        ControlRequest::from_value(body.map_err(|failure| failure.to_string())?)
    }

    async fn serve(&self, request: ControlRequest) {
        match request.is_for(self.node.hostname()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(reason) => return error!(target: "celery.worker.pidbox", "Control command error: {reason}"),
        }
        let reply = self.node.dispatch(&request).await;
        if let Some((exchange, routing_key)) = request.reply_to
            && let Some(reply) = reply
        {
            self.reply(reply, exchange, routing_key, request.ticket).await;
        }
    }

    async fn reply(&self, value: Value, exchange: String, routing_key: String, ticket: Value) {
        let body = Value::Map(Map::from_iter([(self.node.hostname().to_owned(), value)]));
        let encoded = match encode(&body, &self.node.options.settings.task.serializer) {
            Ok(encoded) => encoded,
            Err(failure) => return error!(target: "celery.worker.pidbox", "Control command error: {failure}"),
        };
        let headers = map([("ticket", ticket), ("clock", self.clock.forward().into())]);
        let message = Message::transient(encoded, headers, exchange.clone(), routing_key.clone());
        let route = reply_route(exchange, routing_key);
        if let Err(failure) = self.connection.publish(&route, message).await {
            // Whoever asked may be gone, and their queue with them.
            info!(target: "kombu.pidbox", "a reply could not be sent: {failure}");
        }
    }
}

/// To the asker's queue; its exchange is declared first, as kombu does.
fn reply_route(exchange: String, routing_key: String) -> Route {
    let declared = transient(exchange.clone(), ExchangeType::Direct);
    let declare = Queue { exchange: declared, no_declare: true, ..Queue::direct(routing_key.clone()) };
    Route { exchange, exchange_type: ExchangeType::Direct, routing_key, declare: Some(Box::new(declare)) }
}

fn pidbox_queue(node: &Node) -> Queue {
    let settings = &node.options.settings.control;
    let exchange = transient(format!("{}.pidbox", settings.exchange), ExchangeType::Fanout);
    let millis = |limit: Option<Duration>| limit.map(|limit| Value::from(limit.as_millis()));
    let arguments = [("x-expires", millis(settings.queue_expires)), ("x-message-ttl", millis(settings.queue_ttl))];
    let given = arguments.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Queue {
        exchange,
        routing_key: String::new(),
        durable: settings.queue_durable,
        exclusive: settings.queue_exclusive,
        auto_delete: !settings.queue_durable,
        no_ack: true,
        arguments: given.collect(),
        ..Queue::direct(format!("{}.{}.pidbox", node.hostname(), settings.exchange))
    }
}

fn transient(name: String, kind: ExchangeType) -> Exchange {
    Exchange { durable: false, ..Exchange::new(name, kind) }
}

fn warn_in_use(node: &Node, refused: &BrokerError) {
    warn!(target: "kombu.pidbox",
        "A node named {} is already using this process mailbox!\n\nMaybe you forgot to shutdown the other node or did \
         not do so properly?\nOr if you meant to start multiple nodes on the same host please make sure\nyou give each \
         node a unique node name!\n({refused})", node.hostname());
}
