//! The Redis transport against a real redis-server.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use celery_rs::broker::{
    contract,
    redis::{RedisOptions, RedisTransport},
};
use support::redis_server::RedisServer;

fn transport(server: &RedisServer, options: RedisOptions) -> RedisTransport {
    RedisTransport::new(&server.url(1), options).expect("a good URL")
}

#[test]
fn a_private_server_keeps_its_data_over_a_kill() {
    let mut server = RedisServer::durable();
    assert_eq!(server.cli(&["LPUSH", "celery", "one"]), "1");
    server.kill();
    server.restart();
    assert_eq!(server.cli(&["LRANGE", "celery", "0", "-1"]), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_transport_must() {
    let server = RedisServer::start();
    contract::run(&transport(&server, RedisOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_without_notes_and_with_a_prefix() {
    let server = RedisServer::start();
    let options = RedisOptions { ack_emulation: false, global_keyprefix: "app:".to_owned(), ..RedisOptions::default() };
    contract::run(&transport(&server, options)).await;
    assert_eq!(server.cli(&["-n", "1", "EXISTS", "app:unacked"]), "0");
}
