//! The contract, and what only this broker promises.

use bytes::Bytes;

use crate::{
    broker::{BrokerErrorKind, MemoryBroker, MemoryTransport, Transport, contract},
    protocol::{Message, Queue, Route},
    serialization::Value,
};

fn message(body: &'static str, priority: i64) -> Message {
    let mut message = Message { body: Bytes::from_static(body.as_bytes()), ..Message::default() };
    message.properties.priority = Some(priority);
    message
}

#[tokio::test]
async fn contract() {
    contract::run(&MemoryTransport::new(MemoryBroker::new())).await;
}

#[tokio::test]
async fn a_lost_connection_gives_back_in_place() {
    let broker = MemoryBroker::new();
    let connection = MemoryTransport::new(broker.clone()).connect().await.unwrap();
    let queue = Queue::direct("q");
    connection.declare(&queue).await.unwrap();
    for body in ["a", "b"] {
        broker.publish(&Route::queue("q"), message(body, 0)).unwrap();
    }
    connection.set_prefetch(1);
    let mut deliveries = connection.deliveries();
    connection.consume(&queue).await.unwrap();
    assert_eq!(deliveries.recv().await.unwrap().len(), 1);
    assert_eq!((broker.depth("q"), broker.held(), broker.consumers("q")), (Some(1), 1, 1));

    broker.disconnect("server restarts");
    let reason = connection.closed().await;
    assert_eq!((reason.kind(), reason.to_string().as_str()), (BrokerErrorKind::ConnectionLost, "server restarts"));
    assert!(deliveries.recv().await.is_none());
    let bodies: Vec<Bytes> = broker.messages("q").into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["a", "b"]);
}

#[tokio::test]
async fn connections_are_refused_as_often_as_told() {
    let broker = MemoryBroker::new();
    let transport = MemoryTransport::new(broker.clone());
    broker.refuse_connections(1);
    assert_eq!(transport.connect().await.err().unwrap().kind(), BrokerErrorKind::ConnectionLost);
    assert!(transport.connect().await.is_ok());
}

#[tokio::test]
async fn priorities_count_up_to_the_maximum() {
    let broker = MemoryBroker::new();
    let connection = MemoryTransport::new(broker.clone()).connect().await.unwrap();
    let mut queue = Queue::direct("q");
    queue.arguments.insert("x-max-priority".to_owned(), Value::Int(5));
    connection.declare(&queue).await.unwrap();
    for (body, priority) in [("low", 0), ("five", 5), ("nine", 9), ("one", 1)] {
        broker.publish(&Route::queue("q"), message(body, priority)).unwrap();
    }
    let bodies: Vec<Bytes> = broker.messages("q").into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["five", "nine", "one", "low"]);
}

#[tokio::test]
async fn exclusive_and_auto_delete_queues_go_away() {
    let broker = MemoryBroker::new();
    let transport = MemoryTransport::new(broker.clone());
    let (one, two) = (transport.connect().await.unwrap(), transport.connect().await.unwrap());
    let exclusive = Queue { exclusive: true, ..Queue::direct("mine") };
    one.declare(&exclusive).await.unwrap();
    assert_eq!(two.consume(&exclusive).await.unwrap_err().kind(), BrokerErrorKind::Refused);
    let fleeting = Queue { auto_delete: true, ..Queue::direct("fleeting") };
    one.declare(&fleeting).await.unwrap();
    one.consume(&fleeting).await.unwrap();
    one.cancel("fleeting").await.unwrap();
    assert_eq!(broker.depth("fleeting"), None);
    one.close().await.unwrap();
    assert_eq!(broker.depth("mine"), None);
}
