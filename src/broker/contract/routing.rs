//! Declarations, exchanges and subscriptions.

use crate::{
    broker::{
        BrokerErrorKind, Transport,
        contract::peer::{Inbox, Peer, body, listener, message, queue, route, unique},
    },
    protocol::{Binding, Exchange, ExchangeType, Queue, Route},
    serialization::{Map, Value},
};

pub(super) async fn declarations_are_idempotent(transport: &dyn Transport) {
    let mut queue = queue();
    queue.arguments.insert("x-max-priority".to_owned(), Value::Int(10));
    let peer = Peer::new(transport).await;
    for _ in 0..2 {
        peer.connection.declare(&queue).await.expect("declare");
    }
    peer.publish(&queue, "x").await;
    assert_eq!(peer.purge(&queue).await, 1);
    peer.close().await;
}

/// Brokers whose queues have no arguments (Redis, SQS, the file system) cannot notice.
pub(super) async fn a_conflicting_declaration_is_refused(transport: &dyn Transport) {
    if matches!(transport.capabilities().driver, "redis" | "sqs" | "filesystem") {
        return;
    }
    let queue = queue();
    let peer = Peer::new(transport).await;
    peer.connection.declare(&queue).await.expect("declare");
    let mut other = queue.clone();
    other.arguments.insert("x-max-priority".to_owned(), Value::Int(10));
    let error = peer.connection.declare(&other).await.expect_err("a conflict");
    assert_eq!(error.kind(), BrokerErrorKind::Refused);
    assert!(error.to_string().to_lowercase().contains("precondition"), "{error}");
    peer.connection.declare(&queue).await.expect("the connection lives on");
    peer.close().await;
}

pub(super) async fn direct_exchanges_compare_keys(transport: &dyn Transport) {
    let exchange = Exchange::new(unique("direct"), ExchangeType::Direct);
    let red = Queue { exchange: exchange.clone(), routing_key: "red".to_owned(), ..queue() };
    let by = |key: &str| Binding { exchange: exchange.clone(), routing_key: key.to_owned(), arguments: Map::new() };
    // Its own exchange is not among them, and so is not declared either.
    let blue = Queue { bindings: vec![by("blue"), by("navy")], ..queue() };
    let peer = Peer::new(transport).await;
    peer.connection.declare(&red).await.expect("declare");
    peer.connection.declare(&blue).await.expect("declare");
    for key in ["red", "blue", "navy"] {
        let route = route(&exchange.name, ExchangeType::Direct, key);
        peer.connection.publish(&route, message(key)).await.expect("publish");
    }
    assert_eq!(peer.purge(&red).await, 1);
    assert_eq!(peer.purge(&blue).await, 2);
    peer.close().await;
}

pub(super) async fn topic_exchanges_match_patterns(transport: &dyn Transport) {
    let exchange = Exchange::new(unique("topic"), ExchangeType::Topic);
    let all = Queue { exchange: exchange.clone(), routing_key: "task.#".to_owned(), ..queue() };
    let one = Queue { exchange: exchange.clone(), routing_key: "task.sent".to_owned(), ..queue() };
    let peer = Peer::new(transport).await;
    peer.connection.declare(&all).await.expect("declare");
    peer.connection.declare(&one).await.expect("declare");
    for key in ["task.sent", "task.done"] {
        let route = route(&exchange.name, ExchangeType::Topic, key);
        peer.connection.publish(&route, message(key)).await.expect("publish");
    }
    assert_eq!(peer.purge(&all).await, 2);
    assert_eq!(peer.purge(&one).await, 1);
    peer.close().await;
}

pub(super) async fn fanout_reaches_every_subscriber(transport: &dyn Transport) {
    if !transport.capabilities().fanout {
        return;
    }
    let exchange = Exchange { durable: false, ..Exchange::new(unique("fanout"), ExchangeType::Fanout) };
    let (here, there) = (Peer::new(transport).await, Peer::new(transport).await);
    let mut one = Inbox::new(here.connection.subscribe(&listener(&exchange, "")).await.expect("subscribe"));
    let mut two = Inbox::new(there.connection.subscribe(&listener(&exchange, "")).await.expect("subscribe"));
    here.connection.publish(&route(&exchange.name, ExchangeType::Fanout, ""), message("all")).await.expect("publish");
    for inbox in [&mut one, &mut two] {
        assert_eq!(body(&inbox.next().await.expect("a broadcast")), "all");
    }
    here.close().await;
    there.close().await;
}

/// What subscriptions are for needs broadcasts.
pub(super) async fn subscriptions_are_outside_the_window(transport: &dyn Transport) {
    if !transport.capabilities().fanout {
        return;
    }
    let tasks = queue();
    let mut peer = Peer::consuming(transport, &tasks, 1).await;
    let exchange = Exchange { durable: false, ..Exchange::new(unique("replies"), ExchangeType::Direct) };
    let replies = listener(&exchange, "here");
    let mut inbox = Inbox::new(peer.connection.subscribe(&replies).await.expect("subscribe"));
    peer.publish(&tasks, "held").await;
    let held = peer.next().await;
    let route = route(&exchange.name, ExchangeType::Direct, "here");
    for text in ["a", "b", "c"] {
        peer.connection.publish(&route, message(text)).await.expect("publish");
    }
    for text in ["a", "b", "c"] {
        assert_eq!(body(&inbox.next().await.expect("a reply")), text);
    }
    held.acker.ack();
    assert_eq!(peer.close().await, 0);
}

pub(super) async fn a_route_declares_its_queue(transport: &dyn Transport) {
    let queue = queue();
    let peer = Peer::new(transport).await;
    let route = Route {
        declare: Some(Box::new(queue.clone())),
        ..route(&queue.exchange.name, ExchangeType::Direct, &queue.routing_key)
    };
    for text in ["a", "b"] {
        peer.connection.publish(&route, message(text)).await.expect("publish");
    }
    assert_eq!(peer.purge(&queue).await, 2);
    peer.close().await;
}

/// SQS lets a queue be emptied once in a minute.
pub(super) async fn purge_counts(transport: &dyn Transport) {
    let (empty, full) = (queue(), queue());
    let mut peer = Peer::new(transport).await;
    for queue in [&empty, &full] {
        peer.connection.declare(queue).await.expect("declare");
    }
    peer.publish_many(&full, 3).await;
    assert_eq!(peer.purge(&empty).await, 0);
    assert_eq!(peer.purge(&full).await, 3);
    peer.publish(&full, "after").await;
    peer.connection.consume(&full).await.expect("consume");
    let delivery = peer.next().await;
    assert_eq!(body(&delivery), "after");
    delivery.acker.ack();
    peer.close().await;
}
