//! The Redis transport on bad days: crashes, full servers, rubbish in the queue. Nothing may be lost.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use std::{sync::Arc, time::Duration};

use celery_rs::{
    broker::{
        BrokerErrorKind, Connection, Deliveries, Delivery, Transport,
        redis::{RedisOptions, RedisTransport},
    },
    protocol::{Exchange, ExchangeType, Message, Queue, Route},
};
use support::{
    proxy::Proxy,
    redis_client::{take, until},
    redis_server::RedisServer,
};

fn transport(server: &RedisServer, options: RedisOptions) -> RedisTransport {
    RedisTransport::new(&server.url(0), options).expect("a good URL")
}

async fn consume(connection: &Arc<dyn Connection>, prefetch: u32) -> Deliveries {
    connection.set_prefetch(prefetch);
    connection.consume(&Queue::direct("q")).await.expect("consume");
    connection.deliveries()
}

async fn publish(connection: &Arc<dyn Connection>, texts: &[&str]) {
    for text in texts {
        let message = Message { body: (*text).to_owned().into(), ..Message::default() };
        connection.publish(&Route::queue("q"), message).await.expect("publish");
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    let body = |d: &Delivery| String::from_utf8_lossy(&d.message.as_ref().expect("a message").body).into_owned();
    deliveries.iter().map(body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settlements_survive_a_crash_of_the_server() {
    let mut server = RedisServer::durable();
    let transport = transport(&server, RedisOptions::default());
    let first = transport.connect().await.expect("connect");
    publish(&first, &["done", "dropped", "running", "again", "waiting"]).await;
    let mut held = take(&mut consume(&first, 4).await, 4).await;
    server.kill();
    assert_eq!(first.closed().await.kind(), BrokerErrorKind::ConnectionLost);
    let again = held.pop().expect("four");
    let running = held.pop().expect("four");
    again.acker.reject(true);
    drop(held.pop());
    held.pop().expect("four").acker.ack();
    server.restart();
    let second = transport.connect().await.expect("connect");
    until("settled and given back", || server.cli(&["HLEN", "unacked"]) == "1").await;
    let mut deliveries = consume(&second, 0).await;
    let taken = take(&mut deliveries, 3).await;
    assert_eq!(bodies(&taken), ["dropped", "waiting", "again"]);
    assert_eq!(taken.iter().map(|d| d.redelivered).collect::<Vec<_>>(), [true, false, true]);
    running.acker.ack();
    taken.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(second.close().await.expect("close"), 0);
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index", "q"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_when_a_connection_ended_comes_back() {
    let server = RedisServer::start();
    let transport = transport(&server, RedisOptions::default());
    let first = transport.connect().await.expect("connect");
    let deliveries = consume(&first, 10).await;
    until("asked once", || server.cli(&["CLIENT", "LIST"]).contains("flags=t")).await;
    publish(&transport.connect().await.expect("connect"), &["lost on the way"]).await;
    drop(first);
    drop(deliveries);
    let second = transport.connect().await.expect("connect");
    let taken = take(&mut consume(&second, 1).await, 1).await;
    assert_eq!(bodies(&taken), ["lost on the way"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_noticed() {
    let server = RedisServer::start();
    let options = RedisOptions { health_check_interval: Some(Duration::from_millis(100)), ..RedisOptions::default() };
    let connection = transport(&server, options).connect().await.expect("connect");
    server.freeze();
    let reason = connection.closed().await;
    server.thaw();
    assert_eq!(reason.kind(), BrokerErrorKind::ConnectionLost);
    assert!(reason.to_string().contains("PING"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_subscription_is_noticed() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let options = RedisOptions { health_check_interval: Some(Duration::from_secs(2)), ..RedisOptions::default() };
    let transport = RedisTransport::new(&format!("redis://127.0.0.1:{}/0", proxy.port()), options).expect("a good URL");
    let connection = transport.connect().await.expect("connect");
    let queue = Queue { exchange: Exchange::new("news", ExchangeType::Fanout), ..Queue::direct("listener") };
    let mut broadcasts = connection.subscribe(&queue).await.expect("subscribe");
    assert_eq!(proxy.connections(), 2, "one for messages and one for broadcasts");
    proxy.silence(1);
    let reason = connection.closed().await;
    assert_eq!(reason.kind(), BrokerErrorKind::ConnectionLost);
    assert!(reason.to_string().contains("PING"), "{reason}");
    let ended = tokio::time::timeout(Duration::from_secs(60), broadcasts.recv()).await.expect("whoever reads is told");
    assert!(ended.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_loses_nothing() {
    let server = RedisServer::start();
    let connection = transport(&server, RedisOptions::default()).connect().await.expect("connect");
    publish(&connection, &["a", "b", "c"]).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = connection.publish(&Route::queue("q"), Message::default()).await.expect_err("no memory");
    assert_eq!(refused.kind(), BrokerErrorKind::Passing);
    let mut deliveries = consume(&connection, 2).await;
    let mut taken = take(&mut deliveries, 2).await;
    assert_eq!(bodies(&taken), ["a", "b"]);
    assert_eq!((server.cli(&["HLEN", "unacked"]), server.cli(&["ZCARD", "unacked_index"])), ("2".into(), "2".into()));
    taken.pop().expect("two").acker.reject(true);
    taken.pop().expect("two").acker.ack();
    let taken = take(&mut deliveries, 2).await;
    assert_eq!(bodies(&taken), ["c", "b"]);
    assert_eq!(connection.close().await.expect("close"), 2);
    assert_eq!(server.cli(&["LLEN", "q"]), "2");
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_delivered_as_such_and_can_be_settled() {
    let server = RedisServer::start();
    let connection = transport(&server, RedisOptions::default()).connect().await.expect("connect");
    server.cli(&["LPUSH", "q", "not json"]);
    let mut deliveries = consume(&connection, 1).await;
    let delivery = take(&mut deliveries, 1).await.remove(0);
    let malformed = delivery.message.expect_err("no envelope");
    assert_eq!(malformed.excerpt, "not json");
    delivery.acker.reject(true);
    let delivery = take(&mut deliveries, 1).await.remove(0);
    assert_eq!(delivery.message.expect_err("still none").excerpt, "not json");
    delivery.acker.reject(false);
    assert_eq!(connection.close().await.expect("close"), 0);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_wrong_type_cost_nothing_else() {
    let server = RedisServer::start();
    let connection = transport(&server, RedisOptions::default()).connect().await.expect("connect");
    server.cli(&["SET", "broken", "a string"]);
    publish(&connection, &["a", "b"]).await;
    connection.consume(&Queue::direct("broken")).await.expect("consume");
    let taken = take(&mut consume(&connection, 0).await, 2).await;
    assert_eq!(bodies(&taken), ["a", "b"]);
    assert_eq!(server.cli(&["HLEN", "unacked"]), "2");
    server.cli(&["SCRIPT", "FLUSH"]);
    taken.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(connection.close().await.expect("close"), 0);
    assert_eq!(server.cli(&["HLEN", "unacked"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unacked_key_of_the_wrong_type_is_found_before_anything_is_taken() {
    let server = RedisServer::start();
    let connection = transport(&server, RedisOptions::default()).connect().await.expect("connect");
    server.cli(&["SET", "unacked", "a string"]);
    publish(&connection, &["a"]).await;
    let mut deliveries = consume(&connection, 0).await;
    until("refused", || server.cli(&["INFO", "errorstats"]).contains("WRONGTYPE")).await;
    assert_eq!(server.cli(&["LLEN", "q"]), "1");
    server.cli(&["DEL", "unacked"]);
    assert_eq!(bodies(&take(&mut deliveries, 1).await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_gives_back_in_the_order_of_taking() {
    let server = RedisServer::start();
    let transport = transport(&server, RedisOptions::default());
    let connection = transport.connect().await.expect("connect");
    publish(&connection, &["a", "b", "c", "d"]).await;
    let held = take(&mut consume(&connection, 3).await, 3).await;
    assert_eq!(connection.close().await.expect("close"), 3);
    drop(held);
    let next = transport.connect().await.expect("connect");
    let taken = take(&mut consume(&next, 0).await, 4).await;
    assert_eq!(bodies(&taken), ["a", "b", "c", "d"]);
    assert_eq!(taken.iter().map(|d| d.redelivered).collect::<Vec<_>>(), [true, true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_does_not_grow_old() {
    let server = RedisServer::start();
    let options = RedisOptions { visibility_timeout: Duration::from_millis(400), ..RedisOptions::default() };
    let connection = transport(&server, options).connect().await.expect("connect");
    publish(&connection, &["long"]).await;
    let held = take(&mut consume(&connection, 1).await, 1).await;
    let score = || server.cli(&["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"]);
    let before = score();
    until("refreshed", || score() != before).await;
    assert_eq!(server.cli(&["ZCARD", "unacked_index"]), "1");
    held.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(connection.close().await.expect("close"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_connecting_say_whether_to_try_again() {
    let server = RedisServer::with(&["--requirepass", "secret"]);
    let port = server.port();
    let table = [
        (format!("redis://:wrong@127.0.0.1:{port}"), BrokerErrorKind::Unusable),
        (format!("redis://127.0.0.1:{port}"), BrokerErrorKind::Unusable),
        (format!("redis://:secret@127.0.0.1:{port}/99"), BrokerErrorKind::Unusable),
        (format!("redis://:secret@127.0.0.1:{}", support::redis_server::free_port()), BrokerErrorKind::ConnectionLost),
    ];
    for (url, kind) in table {
        let transport = RedisTransport::new(&url, RedisOptions::default()).expect("a good URL");
        let error = transport.connect().await.err().expect("no connection");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("wrong@"), "{error}");
    }
    let socket = format!("redis+socket://:secret@{}?virtual_host=2", server.socket().display());
    let transport = RedisTransport::new(&socket, RedisOptions::default()).expect("a good URL");
    publish(&transport.connect().await.expect("connect"), &["x"]).await;
    assert_eq!(server.cli(&["-a", "secret", "-n", "2", "LLEN", "q"]), "1");
}

fn numbers(deliveries: Vec<Delivery>) -> Vec<u64> {
    deliveries
        .into_iter()
        .map(|delivery| {
            let number = delivery.acker.number().expect("a number");
            assert_eq!(delivery.acker.into_tag(), celery_rs::broker::Tag::Number(number));
            number
        })
        .collect()
}

/// What the server holds for us can be let go of and read again: not what others have taken back, and whatever happens to
/// the connection, the server or its memory meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_can_be_read_again() {
    let mut server = RedisServer::durable();
    let transport = transport(&server, RedisOptions::default());
    let first = transport.connect().await.expect("connect");
    let large = "x".repeat(2 << 20);
    publish(&first, &["a", "b", "c", &large, &large, "d"]).await;
    server.cli(&["LPUSH", "q", "not json"]);
    let tags = numbers(take(&mut consume(&first, 0).await, 7).await);
    let unacked = first.unacked().expect("redis keeps what is held");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let old = server.cli(&["ZRANGE", "unacked_index", "0", "0", "WITHSCORES"]);
    assert_eq!(unacked.read(vec![tags[1], tags[0]]).await.len(), 2);
    assert_ne!(server.cli(&["ZRANGE", "unacked_index", "0", "0", "WITHSCORES"]), old);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);

    let gone = server.cli(&["HKEYS", "unacked"]).lines().find(|key| key.ends_with("-2")).expect("b").to_owned();
    server.cli(&["HDEL", "unacked", &gone]);
    server.kill();
    first.closed().await;
    let reading = tokio::spawn({
        let (unacked, tags) = (unacked.clone(), tags.clone());
        async move { unacked.read(tags).await }
    });
    server.restart();
    let second = transport.connect().await.expect("connect");
    let read = reading.await.expect("no panic");
    // The second large one is too much for one reading.
    assert_eq!(read.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
    let rest = unacked.read(tags[read.len()..].to_vec()).await;
    let (rubbish, rest): (Vec<_>, Vec<_>) =
        read.into_iter().chain(rest).flatten().partition(|delivery| delivery.message.is_err());
    assert_eq!(bodies(&rest), ["a", "c", &large, &large, "d"]);
    assert_eq!(rubbish[0].message.as_ref().expect_err("no envelope").excerpt, "not json");
    assert_eq!(&*rest[0].queue, "q");
    // Copies settle nothing; the right to do so is had from the broker.
    drop((rest, rubbish));
    unacked.acker(tags[0]).ack();
    unacked.acker(tags[1]).ack();
    unacked.acker(tags[2]).reject(true);
    until("settled", || server.cli(&["LLEN", "q"]) == "1").await;
    assert_eq!(second.close().await.expect("close"), 4);
    assert_eq!(server.cli(&["EXISTS", "unacked", "unacked_index"]), "0");
    assert_eq!(server.cli(&["LLEN", "q"]), "5");
}

/// The server gives back by itself what looks as usual, and only the rest is read by us: to the lists where kombu expects it,
/// in the order of taking, marked as kombu marks it.
#[tokio::test(flavor = "multi_thread")]
async fn closing_gives_back_many_and_odd_ones() {
    let server = RedisServer::start();
    let options = RedisOptions { global_keyprefix: "p:".to_owned(), ..RedisOptions::default() };
    let transport = transport(&server, options);
    let connection = transport.connect().await.expect("connect");
    let usual = |n: usize, priority: i64| {
        let mut message = Message { body: format!("[[{n}], {{}}, {{}}]").into(), ..Message::default() };
        message.headers.insert("task", "t");
        message.properties.content_type = Some("application/json".to_owned());
        message.properties.content_encoding = Some("utf-8".to_owned());
        message.properties.priority = Some(priority);
        message
    };
    for n in 0..1500 {
        // One that has a name of ours in its headers, and one without headers: they are not as usual.
        let mut message = usual(n, if n % 3 == 0 { 6 } else { 0 });
        match n % 50 {
            7 => message.headers.insert("properties", celery_rs::serialization::Value::Map(Default::default())),
            8 => message.headers = Default::default(),
            _ => {}
        }
        connection.publish(&Route::queue("q"), message).await.expect("publish");
    }
    server.cli(&["LPUSH", "p:q", "not json"]);
    let before = (server.cli(&["LRANGE", "p:q", "0", "-1"]), server.cli(&["LRANGE", "p:q\x06\x166", "0", "-1"]));
    let held = take(&mut consume(&connection, 0).await, 1501).await;
    assert_eq!(server.cli(&["HLEN", "p:unacked"]), "1501");
    assert_eq!(connection.close().await.expect("close"), 1501);
    drop(held);
    assert_eq!(server.cli(&["EXISTS", "p:unacked", "p:unacked_index"]), "0");
    let after = (server.cli(&["LRANGE", "p:q", "0", "-1"]), server.cli(&["LRANGE", "p:q\x06\x166", "0", "-1"]));
    // Within a step of a thousand the odd ones come after the usual ones.
    let lines = |text: &str| {
        let plain = text.replace(", \"redelivered\": true", "").replace("\"redelivered\": true", "");
        let mut lines: Vec<String> = plain.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&after.0), lines(&before.0));
    assert_eq!(lines(&after.1), lines(&before.1));
    let marks = |text: &str| text.matches("\"redelivered\": true").count();
    assert_eq!(marks(&after.0) + marks(&after.1), 2 * 1500);
    let next = transport.connect().await.expect("connect");
    let again = take(&mut consume(&next, 0).await, 1501).await;
    let order: Vec<usize> = again.iter().filter_map(number_in).filter(|n| !matches!(n % 50, 7 | 8)).collect();
    let mut sorted = order.clone();
    sorted.sort_by_key(|n| (n % 3 == 0, *n));
    assert_eq!(order, sorted);
    // What has been marked once stays as it is.
    assert_eq!(next.close().await.expect("close"), 1501);
    assert_eq!(server.cli(&["LRANGE", "p:q\x06\x166", "0", "-1"]).lines().count(), after.1.lines().count());
    assert_eq!(marks(&server.cli(&["LRANGE", "p:q\x06\x166", "0", "-1"])), marks(&after.1));
}

fn number_in(delivery: &Delivery) -> Option<usize> {
    let body = delivery.message.as_ref().ok()?.body.clone();
    String::from_utf8_lossy(&body).strip_prefix("[[")?.split(']').next()?.parse().ok()
}
