//! `broker_transport_options` on Redis, held against kombu with the same options. Needs `CELERY_RS_TEST_PYTHON`.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use std::time::Duration;

use celery_rs::{
    broker::{
        Delivery,
        redis::{QueueOrderStrategy, RedisOptions},
    },
    protocol::{Exchange, ExchangeType, Message, Queue, Route},
    serialization::Value,
};
use support::{
    python,
    redis_client::{connect, take, until},
    redis_server::RedisServer,
};

const PRELUDE: &str = "
import json, sys
from kombu import Connection, Exchange, Queue, Consumer, Producer
URL, OPTIONS = sys.argv[1], json.loads(sys.argv[2])
connection = Connection(URL, transport_options=OPTIONS)
channel = connection.channel()
def drain(queues, window=0):
    got = []
    def note(body, message):
        got.append(body)
        message.ack()
    if window: channel.basic_qos(0, window, False)
    with Consumer(channel, queues, callbacks=[note]):
        while any(channel._size(queue.name) for queue in queues): connection.drain_events(timeout=5)
    return got
";

async fn run_python(server: &RedisServer, options: &str, script: &str) -> String {
    let (script, url, options) = (format!("{PRELUDE}{script}"), server.url(0), options.to_owned());
    tokio::task::spawn_blocking(move || python::run(&script, &[&url, &options])).await.expect("a thread")
}

fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message.as_ref().expect("a message").body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_connection_has_its_name() {
    let server = RedisServer::start();
    let options = RedisOptions { client_name: Some("shop".to_owned()), ..RedisOptions::default() };
    let connection = connect(&server, options).await;
    assert!(server.cli(&["CLIENT", "LIST"]).contains(" name=shop "));
    connection.close().await.expect("close");
}

/// Priorities, steps of one's own, another separator, a prefix for all keys, and the three orders of queues: both take the same
/// messages in the same order, out of the same lists.
#[tokio::test(flavor = "multi_thread")]
async fn queues_are_emptied_in_kombus_order() {
    const FILL: &str = "
queues = [Queue(name) for name in ['c', 'a', 'b']]
for queue in queues: queue(channel).declare()
for number in range(3):
    for priority in [9, 0, 5, 4]:
        for queue in queues:
            if (number, queue.name) != (2, 'a'):
                Producer(channel).publish(f'{queue.name}{priority}{number}', exchange='', routing_key=queue.name, priority=priority)
";
    for (name, strategy) in [
        ("round_robin", QueueOrderStrategy::RoundRobin),
        ("sorted", QueueOrderStrategy::Sorted),
        ("priority", QueueOrderStrategy::Priority),
    ] {
        let server = RedisServer::start();
        let options = format!(
            r#"{{"priority_steps": [0, 5], "sep": ":", "global_keyprefix": "p:", "queue_order_strategy": "{name}"}}"#
        );
        let script = format!("{FILL}\nprint(' '.join(drain(queues, 1)))");
        let theirs = run_python(&server, &options, &script).await;
        run_python(&server, &options, FILL).await;
        assert_eq!(keys(&server), ["p:a", "p:a:5", "p:b", "p:b:5", "p:c", "p:c:5"]);
        let options = RedisOptions {
            priority_steps: vec![0, 5],
            sep: ":".to_owned(),
            global_keyprefix: "p:".to_owned(),
            queue_order_strategy: strategy,
            ..RedisOptions::default()
        };
        let connection = connect(&server, options).await;
        connection.set_prefetch(1);
        connection.set_paused(true);
        for queue in ["c", "a", "b"] {
            connection.consume(&Queue::direct(queue)).await.expect("consume");
        }
        connection.set_paused(false);
        let mut deliveries = connection.deliveries();
        let mut ours = Vec::new();
        while ours.len() < 32 {
            for delivery in take(&mut deliveries, 1).await {
                ours.push(body(&delivery));
                delivery.acker.ack();
            }
        }
        assert_eq!(ours.join(" "), theirs.trim(), "{name}");
        connection.close().await.expect("close");
        assert_eq!(keys(&server), [""; 0]);
    }
}

/// Every key and channel begins with `global_keyprefix`, as kombu's do: messages, bindings and broadcasts go both ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_before_everything() {
    let (ours, theirs) = (RedisServer::start(), RedisServer::start());
    let option = r#"{"global_keyprefix": "p:"}"#;
    let script = "
jobs = Queue('jobs', Exchange('audit', 'topic'), routing_key='a.#')
reply = Queue('reply', Exchange('replies'), routing_key='r', expires=10.0)
for queue in (jobs, reply): queue(channel).declare()
Producer(channel).publish('x', exchange=jobs.exchange, routing_key='a.b')
got = []
consumer = Consumer(channel, [jobs], callbacks=[lambda body, message: got.append(body)])
consumer.consume()
while not got: connection.drain_events(timeout=5)
import os; os._exit(0)
";
    run_python(&theirs, option, script).await;
    let connection =
        connect(&ours, RedisOptions { global_keyprefix: "p:".to_owned(), ..RedisOptions::default() }).await;
    let jobs = Queue {
        exchange: Exchange::new("audit", ExchangeType::Topic),
        routing_key: "a.#".to_owned(),
        ..Queue::direct("jobs")
    };
    let mut reply = Queue {
        exchange: Exchange::new("replies", ExchangeType::Direct),
        routing_key: "r".to_owned(),
        ..Queue::direct("reply")
    };
    reply.arguments.insert("x-expires".to_owned(), Value::Int(10_000));
    for queue in [&jobs, &reply] {
        connection.declare(queue).await.expect("declare");
    }
    let route = Route {
        exchange: "audit".into(),
        exchange_type: ExchangeType::Topic,
        routing_key: "a.b".into(),
        declare: None,
    };
    connection.publish(&route, Message { body: "x".into(), ..Message::default() }).await.expect("publish");
    connection.consume(&jobs).await.expect("consume");
    let held = take(&mut connection.deliveries(), 1).await;
    until("no sweep goes on", || ours.cli(&["EXISTS", "p:unacked_mutex"]) == "0").await;
    assert_eq!(keys(&ours), keys(&theirs));
    assert!(keys(&ours).iter().all(|key| key.starts_with("p:")) && keys(&ours).len() == 6, "{:?}", keys(&ours));
    drop(held);

    let channel = Queue {
        exchange: Exchange::new("everyone", ExchangeType::Fanout),
        routing_key: String::new(),
        ..Queue::direct("box")
    };
    let mut heard = connection.subscribe(&channel).await.expect("subscribe");
    let script = "Producer(channel).publish('hello', exchange=Exchange('everyone', 'fanout')(channel), declare=[Exchange('everyone', 'fanout')])";
    run_python(&ours, option, script).await;
    assert_eq!(body(&take(&mut heard, 1).await[0]), "hello");
}

/// A sweep restores no more than `unacked_restore_limit`, oldest last as kombu does it, and the next one comes after
/// `unacked_restore_interval` times `unacked_restore_throttle`.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_has_its_limit_and_its_cadence() {
    let server = RedisServer::start();
    for n in 1..=5 {
        server.cli(&["HSET", "unacked", &format!("t{n}"), &format!(r#"[{{"n": {n}}}, "", "q"]"#)]);
        server.cli(&["ZADD", "unacked_index", &n.to_string(), &format!("t{n}")]);
    }
    let script = "
channel.qos.restore_visible(num=OPTIONS['limit'], interval=1)
print(channel.client.hkeys('unacked'))
";
    let once = RedisOptions {
        visibility_timeout: Duration::from_secs(60),
        unacked_restore_limit: Some(2),
        unacked_restore_interval: Duration::from_secs(3600),
        unacked_restore_throttle: 2,
        ..RedisOptions::default()
    };
    let connection = connect(&server, once.clone()).await;
    until("swept once", || server.cli(&["LLEN", "q"]) == "2" && server.cli(&["EXISTS", "unacked_mutex"]) == "0").await;
    let ours = server.cli(&["HKEYS", "unacked"]).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(ours.len(), 3);
    drop(connection);

    let copy = RedisServer::start();
    for n in 1..=5 {
        copy.cli(&["HSET", "unacked", &format!("t{n}"), &format!(r#"[{{"n": {n}}}, "", "q"]"#)]);
        copy.cli(&["ZADD", "unacked_index", &n.to_string(), &format!("t{n}")]);
    }
    let theirs = run_python(&copy, r#"{"limit": 2, "visibility_timeout": 60}"#, script).await;
    let named =
        |text: &str| (1..=5).map(|n| format!("t{n}")).filter(|tag| text.contains(tag.as_str())).collect::<Vec<_>>();
    assert_eq!(named(&ours.join(" ")), named(&theirs));

    let often = RedisOptions { unacked_restore_interval: Duration::from_millis(20), ..once };
    let connection = connect(&server, often).await;
    until("swept until nothing is left", || server.cli(&["LLEN", "q"]) == "5").await;
    connection.close().await.expect("close");
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index"]), "0");
}

/// The lists of a queue that expires do so after each publish, and its bindings are given up when nobody keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn queues_expire_as_kombus_do() {
    let server = RedisServer::start();
    let script = "
queue = Queue('theirs', Exchange('ex'), routing_key='theirs', queue_arguments={'x-expires': 50000})
queue(channel).declare()
for priority in (0, 9): Producer(channel).publish('x', exchange=queue.exchange, routing_key='theirs', priority=priority)
";
    run_python(&server, "{}", script).await;
    let connection = connect(&server, RedisOptions::default()).await;
    let mut queue = Queue {
        exchange: Exchange::new("ex", ExchangeType::Direct),
        routing_key: "ours".to_owned(),
        ..Queue::direct("ours")
    };
    queue.arguments.insert("x-expires".to_owned(), Value::Int(50_000));
    connection.declare(&queue).await.expect("declare");
    let route =
        Route { exchange: "ex".into(), exchange_type: ExchangeType::Direct, routing_key: "ours".into(), declare: None };
    for priority in [0, 9] {
        let mut message = Message { body: "x".into(), ..Message::default() };
        message.properties.priority = Some(priority);
        connection.publish(&route, message).await.expect("publish");
    }
    let left = |key: &str| server.cli(&["PTTL", key]).parse::<i64>().expect("a number");
    for queue in ["ours", "theirs"] {
        for list in [queue.to_owned(), format!("{queue}\x06\x169")] {
            assert!((1..=50_000).contains(&left(&list)), "{list}: {}", left(&list));
        }
    }
    // The exchange's table lives while somebody puts off its deadline; one whose deadline has passed goes with a sweep.
    let deadline = || server.cli(&["ZSCORE", "_kombu.binding_deadlines", "ex"]);
    assert!(deadline().parse::<f64>().is_ok_and(|at| at > 0.0));
    server.cli(&["SADD", "_kombu.binding.old", "x"]);
    server.cli(&["ZADD", "_kombu.binding_deadlines", "1", "old"]);
    server.cli(&["ZADD", "_kombu.binding_deadlines", "2", "ex"]);
    connection.consume(&queue).await.expect("consume");
    until("refreshed", || deadline() != "2").await;
    until("swept", || server.cli(&["EXISTS", "_kombu.binding.old"]) == "0").await;
    assert_eq!(server.cli(&["SCARD", "_kombu.binding.ex"]), "2");
}
