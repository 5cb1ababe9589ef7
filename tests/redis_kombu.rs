//! The Redis transport with kombu at the other end of the same queues. Needs `CELERY_RS_TEST_PYTHON`.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use celery_rs::{
    broker::{Connection, Deliveries, Delivery, redis::RedisOptions},
    protocol::{Exchange, ExchangeType, Headers, Message, Properties, Queue, Route},
    serialization::{Map, Value, json},
};
use support::{
    python,
    redis_client::{connect, take, until},
    redis_server::RedisServer,
};

const PRELUDE: &str = "
import base64, json, sys, time
from kombu import Connection, Exchange, Queue, Consumer, Producer
from celery import Celery
URL = sys.argv[1]
";

async fn run_python(server: &RedisServer, script: &str) -> String {
    let (script, url) = (format!("{PRELUDE}{script}"), server.url(0));
    tokio::task::spawn_blocking(move || python::run(&script, &[&url])).await.expect("a thread")
}

async fn consume(connection: &Arc<dyn Connection>, queue: &str, prefetch: u32) -> Deliveries {
    let queue = Queue::direct(queue);
    connection.declare(&queue).await.expect("declare");
    connection.set_prefetch(prefetch);
    connection.consume(&queue).await.expect("consume");
    connection.deliveries()
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a Value> {
    delivery.message.as_ref().expect("a message").headers.get(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_sent_by_celery_arrive_by_priority() {
    let server = RedisServer::start();
    let script = "
app = Celery(broker=URL)
for priority in [9, 0, 4, 6, 1, 3, 8]:
    app.send_task('proj.add', (priority, 'ü'), {'k': [1.5, None]}, priority=priority, task_id=f'id-{priority}')
";
    run_python(&server, script).await;
    let connection = connect(&server, RedisOptions::default()).await;
    let taken = take(&mut consume(&connection, "celery", 0).await, 7).await;
    let ids: Vec<_> = taken.iter().map(|d| header(d, "id").and_then(Value::as_str).unwrap_or_default()).collect();
    assert_eq!(ids, ["id-0", "id-1", "id-4", "id-3", "id-6", "id-8", "id-9"]);
    let message = taken[2].message.as_ref().expect("a message");
    let body = String::from_utf8_lossy(&message.body);
    assert!(body.starts_with(r#"[[4, "\u00fc"], {"k": [1.5, null]}, {"callbacks": null"#), "{body}");
    assert_eq!(message.properties.priority, Some(4));
    assert_eq!(message.properties.correlation_id.as_deref(), Some("id-4"));
    assert_eq!(message.properties.delivery_info.routing_key, "celery");
    assert_eq!((&*taken[2].queue, taken[2].redelivered), ("celery", false));
    assert_eq!((server.cli(&["HLEN", "unacked"]), server.cli(&["ZCARD", "unacked_index"])), ("7".into(), "7".into()));
    taken.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(connection.close().await.expect("close"), 0);
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index", "celery"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn kombu_restores_what_a_killed_worker_of_ours_held() {
    let server = RedisServer::start();
    run_python(
        &server,
        "
app = Celery(broker=URL)
for i in range(5): app.send_task('proj.add', (i,))
app.send_task('proj.add', (9,), priority=9)
",
    )
    .await;
    let connection = connect(&server, RedisOptions::default()).await;
    let held = take(&mut consume(&connection, "celery", 0).await, 6).await;
    until("no sweep goes on", || server.cli(&["EXISTS", "unacked_mutex"]) == "0").await;
    drop(connection);
    held.into_iter().for_each(|delivery| delivery.acker.leave());
    let restored = run_python(&server, r"
with Connection(URL, transport_options={'visibility_timeout': -1}) as c:
    channel = c.channel()
    channel.qos.restore_visible(interval=1)
    lists = ['celery', 'celery\x06\x163', 'celery\x06\x166', 'celery\x06\x169']
    print(json.dumps([channel.client.llen(k) for k in lists] + [channel.client.hlen('unacked'), channel.client.zcard('unacked_index')]))
    print(json.loads(channel.client.lindex('celery', 0))['headers']['redelivered'])
")
    .await;
    assert_eq!(restored.trim(), "[5, 0, 0, 1, 0, 0]\nTrue");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_restore_what_a_killed_worker_of_kombus_held() {
    let server = RedisServer::start();
    run_python(
        &server,
        "
import os
c = Connection(URL)
q = Queue('jobs', Exchange('work', 'topic'), routing_key='job.#')
got = []
p = Producer(c.channel())
for i in range(3):
    p.publish([i], exchange=q.exchange, routing_key=f'job.{i}', declare=[q], priority=i * 3)
consumer = Consumer(c.channel(), [q], callbacks=[lambda body, message: got.append(body)])
consumer.consume()
while len(got) < 3: c.drain_events(timeout=5)
sys.stdout.flush()
os._exit(0)
",
    )
    .await;
    assert_eq!(server.cli(&["HLEN", "unacked"]), "3");
    let options = RedisOptions { visibility_timeout: Duration::ZERO, ..RedisOptions::default() };
    let connection = connect(&server, options).await;
    until("swept", || server.cli(&["EXISTS", "unacked", "unacked_mutex"]) == "0").await;
    let taken = take(&mut consume(&connection, "jobs", 0).await, 3).await;
    assert!(taken.iter().all(|delivery| delivery.redelivered));
    assert!(taken.iter().all(|delivery| header(delivery, "redelivered") == Some(&Value::Bool(true))));
    let keys: Vec<_> =
        taken.iter().map(|d| d.message.as_ref().unwrap().properties.delivery_info.routing_key.clone()).collect();
    assert_eq!(keys, ["job.0", "job.1", "job.2"]);
    taken.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(connection.close().await.expect("close"), 0);
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index"]), "0");
}

fn sample() -> Message {
    let headers: Map = [
        ("lang".to_owned(), Value::from("py")),
        ("task".to_owned(), Value::from("proj.ü\"\\")),
        ("timelimit".to_owned(), Value::List(vec![Value::Null, Value::Float(1.0)])),
        ("stamps".to_owned(), Value::Map(Map::new())),
    ]
    .into_iter()
    .collect();
    Message {
        headers: Headers::new(headers),
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            correlation_id: Some("c".to_owned()),
            reply_to: Some("r".to_owned()),
            delivery_mode: Some(2),
            priority: Some(5),
            expiration: Some("60000".to_owned()),
            ..Properties::default()
        },
        body: "[[1], {}, {}]".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_envelopes_are_kombus_to_the_byte() {
    let server = RedisServer::start();
    let connection = connect(&server, RedisOptions::default()).await;
    connection.publish(&Route::queue("ours"), sample()).await.expect("publish");
    let script = r#"
with Connection(URL) as c:
    Producer(c.channel()).publish([[1], {}, {}], exchange='', routing_key='theirs', serializer='json', priority=5,
        correlation_id='c', reply_to='r', expiration=60,
        headers={'lang': 'py', 'task': 'proj.ü"\\', 'timelimit': [None, 1.0], 'stamps': {}})
    client = c.channel().client
    ours, theirs = (client.rpop(name + '\x06\x163').decode() for name in ('ours', 'theirs'))
    blank = lambda text: text.replace(json.loads(text)['properties']['delivery_tag'], 'TAG').replace('theirs', 'ours')
    print(blank(ours)); print(blank(theirs))
"#;
    let printed = run_python(&server, script).await;
    let (ours, theirs) = printed.trim().split_once('\n').expect("two lines");
    assert_eq!(ours, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn kombu_reads_what_we_publish_through_exchanges() {
    let server = RedisServer::start();
    let connection = connect(&server, RedisOptions::default()).await;
    let direct = Queue { routing_key: "red".to_owned(), ..Queue::direct("colours") };
    let events = Queue {
        exchange: Exchange::new("audit", ExchangeType::Topic),
        routing_key: "task.#".to_owned(),
        ..Queue::direct("audit.queue")
    };
    connection.declare(&direct).await.expect("declare");
    connection.declare(&events).await.expect("declare");
    for (exchange, kind, key) in [
        ("colours", ExchangeType::Direct, "red"),
        ("colours", ExchangeType::Direct, "blue"),
        ("audit", ExchangeType::Topic, "task.sent"),
        ("audit", ExchangeType::Topic, "other"),
    ] {
        let route = Route { exchange: exchange.into(), exchange_type: kind, routing_key: key.into(), declare: None };
        connection.publish(&route, sample()).await.expect("publish");
    }
    let script = "
got = []
with Connection(URL) as c:
    queues = [Queue('colours'), Queue('audit.queue')]
    with Consumer(c, queues, callbacks=[lambda b, m: (got.append([m.delivery_info['routing_key'], b, m.headers['task']]), m.ack())], no_ack=False):
        while len(got) < 2: c.drain_events(timeout=60)
        try:
            while True: c.drain_events(timeout=1.5)
        except TimeoutError: pass
print(json.dumps(sorted(got)))
";
    let got = run_python(&server, script).await;
    let value = json::parse(got.trim().as_bytes()).expect("JSON");
    let keys: Vec<_> = value.as_list().unwrap().iter().map(|m| m.as_list().unwrap()[0].as_str().unwrap()).collect();
    assert_eq!(keys, ["red", "task.sent"]);
    assert!(got.contains(r#"[[1], {}, {}]"#), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_tables_are_kombus_to_the_byte() {
    let (ours, theirs) = (RedisServer::start(), RedisServer::start());
    let script = "
with Connection(URL) as c:
    ch = c.channel()
    for q in [Queue('jobs', Exchange('jobs'), routing_key='jobs'),
              Queue('audit', Exchange('audit', 'topic'), routing_key='task.*.a-b_c.#'),
              Queue('box', Exchange('boxes', 'fanout')),
              Queue('reply', Exchange('replies'), routing_key='r', expires=10.0)]:
        q(ch).declare()
";
    run_python(&theirs, script).await;
    let connection = connect(&ours, RedisOptions::default()).await;
    let queue = |name: &str, exchange: &str, kind, key: &str| Queue {
        exchange: Exchange::new(exchange, kind),
        routing_key: key.to_owned(),
        ..Queue::direct(name)
    };
    let mut reply = queue("reply", "replies", ExchangeType::Direct, "r");
    reply.arguments.insert("x-expires".to_owned(), Value::Int(10_000));
    for queue in [
        queue("jobs", "jobs", ExchangeType::Direct, "jobs"),
        queue("audit", "audit", ExchangeType::Topic, "task.*.a-b_c.#"),
        queue("box", "boxes", ExchangeType::Fanout, ""),
        reply,
    ] {
        connection.declare(&queue).await.expect("declare");
    }
    let dump = |server: &RedisServer| {
        let mut keys: Vec<String> = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
        keys.sort();
        let sets = keys.iter().filter(|key| !key.ends_with("deadlines"));
        let members: Vec<String> = sets.map(|key| server.cli(&["SMEMBERS", key])).collect();
        (keys, members, server.cli(&["ZRANGE", "_kombu.binding_deadlines", "0", "-1"]))
    };
    assert_eq!(dump(&ours), dump(&theirs));
    assert!(dump(&ours).0.len() == 8, "{:?}", dump(&ours));
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_go_both_ways() {
    let server = RedisServer::start();
    let connection = connect(&server, RedisOptions::default()).await;
    let pidbox = Exchange { durable: false, ..Exchange::new("celery.pidbox", ExchangeType::Fanout) };
    let mailbox =
        Queue { exchange: pidbox, routing_key: String::new(), auto_delete: true, ..Queue::direct("w@h.celery.pidbox") };
    let mut commands = connection.subscribe(&mailbox).await.expect("subscribe");
    run_python(&server, "Celery(broker=URL).control.broadcast('ping', reply=False)").await;
    let command = take(&mut commands, 1).await.remove(0);
    let body = command.message.expect("a message").body;
    assert!(String::from_utf8_lossy(&body).contains(r#""method": "ping""#));

    let listener = tokio::spawn({
        let script = format!(
            "{PRELUDE}
got = []
with Connection(URL) as c:
    q = Queue('ev', Exchange('celeryev', 'fanout'), routing_key='worker.#', auto_delete=True)
    with Consumer(c, [q], callbacks=[lambda b, m: got.append(b)], no_ack=True):
        while not got: c.drain_events(timeout=10)
print(got)"
        );
        let url = server.url(0);
        async move { tokio::task::spawn_blocking(move || python::run(&script, &[&url])).await.expect("a thread") }
    });
    let route = Route {
        exchange: "celeryev".into(),
        exchange_type: ExchangeType::Fanout,
        routing_key: "worker.heartbeat".into(),
        declare: None,
    };
    until("kombu listens", || server.cli(&["PUBSUB", "NUMPAT"]) == "2").await;
    connection.publish(&route, sample()).await.expect("publish");
    assert_eq!(listener.await.expect("python").trim(), "[[[1], {}, {}]]");
    assert_eq!(server.cli(&["SCARD", "_kombu.binding.celery.pidbox"]), "1");
    connection.close().await.expect("close");
    assert_eq!(server.cli(&["SCARD", "_kombu.binding.celery.pidbox"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_task_queue_is_consumed_like_any_other() {
    let server = RedisServer::start();
    let connection = connect(&server, RedisOptions::default()).await;
    let exchange = Exchange::new("everyone", ExchangeType::Fanout);
    let queue = Queue { exchange, routing_key: String::new(), auto_delete: true, ..Queue::direct("bcast.1") };
    connection.declare(&queue).await.expect("declare");
    connection.consume(&queue).await.expect("consume");
    let mut deliveries = connection.deliveries();
    run_python(
        &server,
        "
with Connection(URL) as c:
    everyone = Exchange('everyone', 'fanout')
    Producer(c).publish([], exchange=everyone, declare=[everyone], headers={'task': 'proj.all'})
",
    )
    .await;
    let delivery = take(&mut deliveries, 1).await.remove(0);
    assert_eq!(header(&delivery, "task").and_then(Value::as_str), Some("proj.all"));
    delivery.acker.ack();
    assert_eq!(connection.close().await.expect("close"), 0);
    assert!(deliveries.recv().await.is_none());
    drop(connection);
    until("all connections are gone", || server.cli(&["CLIENT", "LIST"]).lines().count() == 1).await;
    assert_eq!(server.cli(&["KEYS", "*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_kinds_of_worker_share_a_queue_without_loss() {
    const COUNT: usize = 5000;
    let server = RedisServer::start();
    let connection = connect(&server, RedisOptions::default()).await;
    let script = format!(
        "{PRELUDE}
got = []
with Connection(URL) as c:
    with Consumer(c, [Queue('celery')], prefetch_count=20, callbacks=[lambda b, m: (got.append(b), m.ack())]):
        while True:
            try: c.drain_events(timeout=10)
            except TimeoutError: break
print(json.dumps(got))"
    );
    let url = server.url(0);
    let other = tokio::task::spawn_blocking(move || python::run(&script, &[&url]));
    until("kombu waits", || server.cli(&["CLIENT", "LIST"]).contains("cmd=brpop")).await;
    let mut deliveries = consume(&connection, "celery", 20).await;
    let publisher = connection.clone();
    let publishing = tokio::spawn(async move {
        for i in 0..COUNT {
            let message = Message { body: i.to_string().into(), ..sample() };
            publisher.publish(&Route::queue("celery"), message).await.expect("publish");
        }
    });
    let ours = tokio::spawn(async move {
        let mut ours: Vec<i64> = Vec::new();
        while let Some(batch) = deliveries.recv().await {
            for delivery in batch {
                let body = delivery.message.expect("a message").body;
                ours.push(json::parse(&body).expect("JSON").as_i64().expect("a number"));
                delivery.acker.ack();
            }
        }
        ours
    });
    publishing.await.expect("all published");
    let theirs = json::parse(other.await.expect("python").trim().as_bytes()).expect("JSON");
    until("all are settled", || server.cli(&["EXISTS", "celery", "unacked"]).trim() == "0").await;
    connection.close().await.expect("close");
    drop(connection);
    let ours = ours.await.expect("ours");
    let theirs: Vec<i64> = theirs.as_list().unwrap().iter().filter_map(Value::as_i64).collect();
    assert!(!ours.is_empty() && !theirs.is_empty(), "{} {}", ours.len(), theirs.len());
    assert_eq!(ours.len() + theirs.len(), COUNT);
    assert_eq!(ours.into_iter().chain(theirs).collect::<HashSet<_>>().len(), COUNT);
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index", "celery"]), "0");
}
