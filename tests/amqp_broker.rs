//! RabbitMQ through the AMQP transport, with Celery and kombu as the other side.
#![cfg(feature = "amqp")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use celery_rs::{
    broker::{
        BrokerErrorKind, Connection, Deliveries, Delivery, Transport,
        amqp::{AmqpOptions, AmqpTransport, TlsOptions},
        contract,
    },
    protocol::{Exchange, ExchangeType, Headers, Message, Queue, Route},
    serialization::{Map, Value},
};
use support::{python, rabbitmq::RabbitMq};

fn transport(server: &RabbitMq) -> AmqpTransport {
    AmqpTransport::new(&server.url(), AmqpOptions::default()).unwrap()
}

async fn connect(server: &RabbitMq) -> Arc<dyn Connection> {
    transport(server).connect().await.unwrap()
}

fn queue(name: &str) -> Queue {
    Queue::direct(format!("{name}.{}", uuid::Uuid::new_v4().simple()))
}

fn text(body: &str) -> Message {
    let mut message = Message { body: Bytes::copy_from_slice(body.as_bytes()), ..Message::default() };
    message.properties.content_type = Some("text/plain".to_owned());
    message.properties.content_encoding = Some("utf-8".to_owned());
    message.properties.delivery_mode = Some(2);
    message
}

async fn consuming(connection: &Arc<dyn Connection>, queue: &Queue, prefetch: u32) -> Deliveries {
    connection.declare(queue).await.unwrap();
    connection.set_prefetch(prefetch);
    connection.consume(queue).await.unwrap();
    connection.deliveries()
}

async fn one(deliveries: &mut Deliveries) -> Delivery {
    let received = tokio::time::timeout(Duration::from_secs(60), deliveries.recv()).await.expect("in time");
    let mut batch = received.expect("the stream goes on");
    assert_eq!(batch.len(), 1);
    batch.remove(0)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

#[tokio::test]
async fn the_contract_holds() {
    contract::run(&transport(RabbitMq::shared())).await;
}

#[tokio::test]
async fn celery_sends_and_we_receive() {
    const SEND: &str = r#"
import sys, celery
app = celery.Celery(broker=sys.argv[1])
app.send_task("proj.add", (2, 3), {"z": "ü"}, queue=sys.argv[2], task_id="id-1", countdown=60, priority=4,
              expires=3600, headers={"my": {"deep": [1, None, 2.5, True, 2**40]}}, time_limit=9)
"#;
    let server = RabbitMq::shared();
    let queue = queue("celery");
    let connection = connect(server).await;
    let mut deliveries = consuming(&connection, &queue, 1).await;
    python::run_async(SEND, &[&server.url(), &queue.name]).await;
    let delivery = one(&mut deliveries).await;
    let message = delivery.message.as_ref().unwrap();
    let header = |name: &str| message.headers.get(name).cloned().unwrap();
    assert_eq!(header("task"), Value::from("proj.add"));
    assert_eq!(header("id"), Value::from("id-1"));
    assert_eq!(header("lang"), Value::from("py"));
    assert_eq!(header("retries"), Value::Int(0));
    assert_eq!(header("timelimit"), Value::List(vec![Value::Int(9), Value::Null]));
    assert!(header("eta").as_str().unwrap().contains('T'));
    assert!(header("group").is_null());
    let deep = vec![Value::Int(1), Value::Null, Value::Float(2.5), Value::Bool(true), Value::Int(1 << 40)];
    assert_eq!(header("my").as_map().unwrap()["deep"], Value::List(deep));
    assert_eq!(message.properties.priority, Some(4));
    assert_eq!(message.properties.delivery_mode, Some(2));
    assert_eq!(message.properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.properties.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(message.properties.correlation_id.as_deref(), Some("id-1"));
    assert_eq!(message.properties.delivery_info.routing_key, queue.name);
    assert!(message.body.starts_with(br#"[[2, 3], {"z": "#));
    delivery.acker.ack();
    assert_eq!(connection.close().await.unwrap(), 0);
}

#[tokio::test]
async fn we_publish_and_kombu_receives() {
    const RECEIVE: &str = r#"
import sys, json, kombu
with kombu.Connection(sys.argv[1]) as c:
    m = kombu.Queue(sys.argv[2])(c.default_channel).get(no_ack=True)
    print(json.dumps([m.headers, m.content_type, m.content_encoding, m.properties["correlation_id"], m.properties["priority"],
                      m.properties["expiration"], m.delivery_info["exchange"], m.delivery_info["routing_key"],
                      m.decode()], sort_keys=True))
"#;
    let server = RabbitMq::shared();
    let queue = queue("kombu");
    let connection = connect(server).await;
    connection.declare(&queue).await.unwrap();
    let mut message = text(r#"{"a": [1]}"#);
    let nested = Map::from_iter([("n".to_owned(), Value::List(vec![Value::Null, Value::Int(-7)]))]);
    message.headers = Headers::new(Map::from_iter([
        ("big".to_owned(), Value::Int(1 << 53)),
        ("flag".to_owned(), Value::Bool(false)),
        ("map".to_owned(), Value::Map(nested)),
        ("text".to_owned(), Value::from("ü")),
    ]));
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.correlation_id = Some("c".to_owned());
    message.properties.priority = Some(3);
    message.properties.expiration = Some("60000".to_owned());
    let route = Route { exchange: queue.name.clone(), ..Route::queue(&queue.name) };
    connection.publish(&route, message).await.unwrap();
    let name = &queue.name;
    let expected = format!(
        r#"[{{"big": 9007199254740992, "flag": false, "map": {{"n": [null, -7]}}, "text": "\u00fc"}}, "application/json", "utf-8", "c", 3, "60000", "{name}", "{name}", {{"a": [1]}}]"#
    );
    assert_eq!(python::run_async(RECEIVE, &[&server.url(), name]).await, expected);
    connection.close().await.unwrap();
}

/// Whoever comes second must not be told that what is there is different.
#[tokio::test]
async fn declarations_are_those_of_celery() {
    const DECLARE: &str = r#"
import sys, celery
from kombu import Exchange, Queue
from kombu.common import Broadcast
from kombu.pidbox import Mailbox
url, p = sys.argv[1:]
app = celery.Celery(broker=url, set_as_current=False)
app.conf.task_queue_max_priority = 10
app.conf.task_queues = [
    Queue(p + ".plain"),
    Queue(p + ".limits", Exchange(p + ".topic", type="topic"), routing_key="a.#", expires=3600, message_ttl=60,
          max_length=1000, queue_arguments={"x-overflow": "reject-publish"}),
]
with app.connection_for_write() as c:
    for queue in app.amqp.queues.values():
        queue(c.default_channel).declare()
    Queue(p + ".quorum", queue_arguments={"x-queue-type": "quorum"})(c.default_channel).declare()
    Broadcast(p + ".broadcast", queue=p + ".bcast")(c.default_channel).declare()
    # Exclusive ones cannot be declared twice by different connections, whatever their arguments.
    Mailbox(p, type="fanout", queue_exclusive=False, queue_expires=10, queue_ttl=300).get_queue("me")(c.default_channel).declare()
"#;
    let server = RabbitMq::shared();
    let connection = connect(server).await;
    for celery_first in [true, false] {
        let prefix = format!("declared.{}", uuid::Uuid::new_v4().simple());
        if celery_first {
            python::run_async(DECLARE, &[&server.url(), &prefix]).await;
        }
        for queue in celery_queues(&prefix) {
            connection.declare(&queue).await.unwrap_or_else(|error| panic!("{}: {error}", queue.name));
        }
        if !celery_first {
            python::run_async(DECLARE, &[&server.url(), &prefix]).await;
        }
    }
    connection.close().await.unwrap();
}

fn celery_queues(prefix: &str) -> Vec<Queue> {
    let arguments = |entries: &[(&str, Value)]| -> Map {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let named = |suffix: &str| Queue::direct(format!("{prefix}.{suffix}"));
    let priority = ("x-max-priority", Value::Int(10));
    let broadcast = Exchange::new(format!("{prefix}.broadcast"), ExchangeType::Fanout);
    let mailbox = Exchange { durable: false, ..Exchange::new(format!("{prefix}.pidbox"), ExchangeType::Fanout) };
    vec![
        Queue {
            arguments: arguments(std::slice::from_ref(&priority)),
            exchange: Exchange::new("", ExchangeType::Direct),
            ..named("plain")
        },
        Queue {
            exchange: Exchange::new(format!("{prefix}.topic"), ExchangeType::Topic),
            routing_key: "a.#".to_owned(),
            arguments: arguments(&[
                ("x-overflow", Value::from("reject-publish")),
                ("x-expires", Value::Int(3_600_000)),
                ("x-message-ttl", Value::Int(60_000)),
                ("x-max-length", Value::Int(1000)),
                priority,
            ]),
            ..named("limits")
        },
        Queue {
            arguments: arguments(&[("x-queue-type", Value::from("quorum"))]),
            exchange: Exchange::new("", ExchangeType::Direct),
            ..named("quorum")
        },
        Queue { exchange: broadcast, routing_key: String::new(), auto_delete: true, ..named("bcast") },
        Queue {
            exchange: mailbox,
            name: format!("me.{prefix}.pidbox"),
            routing_key: String::new(),
            durable: false,
            auto_delete: true,
            arguments: arguments(&[("x-expires", Value::Int(10_000)), ("x-message-ttl", Value::Int(300_000))]),
            ..named("pidbox")
        },
    ]
}

/// RabbitMQ 3 has one window for the channel, as Celery means it; since 4.0 each consumer has its own.
#[tokio::test]
async fn the_window_is_shared_where_the_server_can() {
    let server = RabbitMq::shared();
    let connection = connect(server).await;
    let (a, b) = (queue("window"), queue("window"));
    for queue in [&a, &b] {
        connection.declare(queue).await.unwrap();
        for _ in 0..5 {
            connection.publish(&Route::queue(&queue.name), text("x")).await.unwrap();
        }
    }
    let mut deliveries = consuming(&connection, &a, 3).await;
    connection.consume(&b).await.unwrap();
    let shared = server.ctl(&["version"]).trim().starts_with("3.");
    let window = if shared { 3 } else { 6 };
    let mut held = Vec::new();
    while held.len() < window {
        held.extend(soon(deliveries.recv()).await.unwrap());
    }
    let ready = connection.purge(&a.name).await.unwrap() + connection.purge(&b.name).await.unwrap();
    assert_eq!(ready as usize, 10 - window);
    assert_eq!(connection.close().await.unwrap(), window);
}

#[tokio::test]
async fn a_hundred_megabytes_pass() {
    let connection = connect(RabbitMq::shared()).await;
    let queue = queue("large");
    let mut deliveries = consuming(&connection, &queue, 1).await;
    let mut message = text("");
    message.body = Bytes::from((0..100_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    message.properties.delivery_mode = Some(1);
    connection.publish(&Route::queue(&queue.name), message.clone()).await.unwrap();
    let delivery = one(&mut deliveries).await;
    assert!(delivery.message.as_ref().unwrap().body == message.body);
    delivery.acker.ack();
    assert_eq!(connection.close().await.unwrap(), 0);
}

#[tokio::test]
async fn a_missing_exchange_is_refused_and_publishing_goes_on() {
    let connection = connect(RabbitMq::shared()).await;
    let queue = queue("after");
    connection.declare(&queue).await.unwrap();
    let nowhere = Route { exchange: "no.such.exchange".to_owned(), ..Route::queue("x") };
    let refused = connection.publish(&nowhere, text("x")).await.unwrap_err();
    assert_eq!(refused.kind(), BrokerErrorKind::Refused);
    assert!(refused.to_string().contains("404"), "{refused}");
    connection.publish(&Route::queue(&queue.name), text("x")).await.unwrap();
    assert_eq!(connection.purge(&queue.name).await.unwrap(), 1);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_not_tried_again() {
    let server = RabbitMq::shared();
    for (url, code) in [
        (format!("amqp://guest:not-this@127.0.0.1:{}//", server.port()), "403"),
        (format!("amqp://guest:guest@127.0.0.1:{}/no-such-vhost", server.port()), "530"),
    ] {
        let transport = AmqpTransport::new(&url, AmqpOptions::default()).unwrap();
        let error = transport.connect().await.err().unwrap();
        assert_eq!(error.kind(), BrokerErrorKind::Unusable, "{error}");
        assert!(error.to_string().contains(code) && !error.to_string().contains("not-this"), "{error}");
    }
    let nobody = AmqpTransport::new("amqp://127.0.0.1:1//", AmqpOptions::default()).unwrap();
    assert_eq!(nobody.connect().await.err().unwrap().kind(), BrokerErrorKind::ConnectionLost);
}

#[tokio::test]
async fn a_deleted_queue_ends_the_connection() {
    let server = RabbitMq::shared();
    let connection = connect(server).await;
    let queue = queue("deleted");
    let mut deliveries = consuming(&connection, &queue, 0).await;
    server.ctl(&["delete_queue", &queue.name]);
    let reason = soon(connection.closed()).await;
    assert_eq!(reason.kind(), BrokerErrorKind::ConnectionLost);
    assert!(reason.to_string().contains(&queue.name), "{reason}");
    assert!(soon(deliveries.recv()).await.is_none());
}

#[tokio::test]
async fn a_stopped_broker_is_a_lost_connection() {
    let server = RabbitMq::breakable().await;
    let connection = connect(&server).await;
    server.stop_app();
    let reason = soon(connection.closed()).await;
    server.start_app();
    assert_eq!(reason.kind(), BrokerErrorKind::ConnectionLost);
    assert_eq!(connection.close().await.unwrap(), 0);
    connect(&server).await.close().await.unwrap();
}

#[tokio::test]
async fn a_killed_broker_gives_back_what_was_held() {
    let mut server = RabbitMq::breakable().await;
    let queue = queue("killed");
    let connection = connect(&server).await;
    let mut deliveries = consuming(&connection, &queue, 1).await;
    connection.publish(&Route::queue(&queue.name), text("survivor")).await.unwrap();
    let held = one(&mut deliveries).await;
    server.kill();
    assert_eq!(soon(connection.closed()).await.kind(), BrokerErrorKind::ConnectionLost);
    assert!(soon(deliveries.recv()).await.is_none());
    let lost = connection.publish(&Route::queue(&queue.name), text("x")).await.unwrap_err();
    assert_eq!(lost.kind(), BrokerErrorKind::ConnectionLost);
    let refused = transport(&server).connect().await.err().unwrap();
    assert_eq!(refused.kind(), BrokerErrorKind::ConnectionLost);

    server.restart();
    let connection = connect(&server).await;
    let mut deliveries = consuming(&connection, &queue, 1).await;
    // A tag of the old channel, with the number that the new one has just given out.
    held.acker.ack();
    let again = one(&mut deliveries).await;
    assert!(again.redelivered);
    assert_eq!(connection.close().await.unwrap(), 1);
    let connection = connect(&server).await;
    let mut deliveries = consuming(&connection, &queue, 1).await;
    one(&mut deliveries).await.acker.ack();
    assert_eq!(connection.close().await.unwrap(), 0);
}

/// `rabbitmqctl` takes its time; heartbeats are sent meanwhile by the runtime's other thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_noticed_by_its_heartbeat() {
    let server = RabbitMq::breakable().await;
    let options = AmqpOptions { heartbeat: 3, ..AmqpOptions::default() };
    let connection = AmqpTransport::new(&server.url(), options).unwrap().connect().await.unwrap();
    assert!(server.ctl(&["list_connections", "timeout"]).lines().any(|line| line.trim() == "3"));
    server.freeze();
    let reason = tokio::time::timeout(Duration::from_secs(60), connection.closed()).await;
    server.thaw();
    assert_eq!(reason.expect("noticed").kind(), BrokerErrorKind::ConnectionLost);
}

/// The chain is always checked, the name only where one is given: as Python's `ssl` does it for py-amqp.
#[tokio::test]
async fn certificates_are_checked_as_python_does() {
    let server = RabbitMq::secure();
    let trusting = TlsOptions { ca_certs: Some(server.ca_certs()), ..TlsOptions::default() };
    let named = |name: &str| TlsOptions { server_hostname: Some(name.to_owned()), ..trusting.clone() };
    let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
    for (what, tls, good) in [
        ("a known authority", Some(trusting.clone()), true),
        ("the right name", Some(named("elsewhere")), true),
        ("the wrong name", Some(named("here")), false),
        ("an unknown authority", None, false),
        ("CERT_NONE", Some(insecure), true),
    ] {
        let transport =
            AmqpTransport::new(&server.secure_url(), AmqpOptions { tls, ..AmqpOptions::default() }).unwrap();
        match transport.connect().await {
            Ok(connection) => {
                assert!(good, "{what}");
                let queue = queue("tls");
                connection.declare(&queue).await.unwrap();
                connection.publish(&Route::queue(&queue.name), text("secret")).await.unwrap();
                assert_eq!(connection.purge(&queue.name).await.unwrap(), 1);
                connection.close().await.unwrap();
            }
            Err(error) => assert!(!good && error.to_string().contains("certificate"), "{what}: {error}"),
        }
    }
    let options = AmqpOptions { tls: Some(trusting), ..AmqpOptions::default() };
    contract::run(&AmqpTransport::new(&server.secure_url(), options).unwrap()).await;
}
