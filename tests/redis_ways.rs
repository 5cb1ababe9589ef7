//! The ways to a Redis server: TLS, Unix sockets, sentinels.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use celery_rs::{
    broker::{
        BrokerError, BrokerErrorKind, Transport, contract,
        redis::{RedisOptions, RedisTransport},
    },
    protocol::{Message, Queue, Route},
    serialization::json,
};
use support::{
    redis_server::{RedisServer, free_port},
    sentinel::Sentinel,
    tls::make_certificate,
};

async fn round_trip(url: &str, options: RedisOptions) -> Result<(), BrokerError> {
    let connection = RedisTransport::new(url, options)?.connect().await?;
    connection.publish(&Route::queue("q"), Message { body: "x".into(), ..Message::default() }).await?;
    connection.consume(&Queue::direct("q")).await?;
    let delivery = connection.deliveries().recv().await.expect("a delivery").remove(0);
    assert_eq!(delivery.message.expect("a message").body, "x");
    delivery.acker.ack();
    connection.close().await.map(drop)
}

/// All that a transport must do.
async fn keeps_the_contract(url: &str, options: RedisOptions) {
    contract::run(&RedisTransport::new(url, options).expect("a good URL")).await;
}

fn options(text: &str) -> RedisOptions {
    RedisOptions::from_settings(json::parse(text.as_bytes()).unwrap().as_map().unwrap()).expect("good options")
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_checks_what_it_is_told_to_check() {
    let dir = tempfile::tempdir().expect("a directory");
    make_certificate(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (cert, key, port) = (cert.to_str().unwrap(), key.to_str().unwrap(), free_port());
    let tls = ["--tls-port", &port.to_string(), "--tls-cert-file", cert, "--tls-key-file", key].map(str::to_owned);
    let mut arguments: Vec<&str> = tls.iter().map(String::as_str).collect();
    arguments.extend(["--tls-ca-cert-file", cert, "--tls-auth-clients", "optional"]);
    let _server = RedisServer::with(&arguments);
    let good = format!("ssl_cert_reqs=required&ssl_ca_certs={cert}");
    for url in [
        format!("rediss://localhost:{port}"),
        format!("rediss://127.0.0.1:{port}?ssl_cert_reqs=none"),
        format!("rediss://localhost:{port}/1?{good}"),
        format!("rediss://127.0.0.1:{port}?{good}&ssl_check_hostname=false"),
        format!("rediss://localhost:{port}?{good}&ssl_certfile={cert}&ssl_keyfile={key}"),
    ] {
        round_trip(&url, RedisOptions::default()).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    for url in [
        format!("rediss://localhost:{port}?ssl_cert_reqs=required"),
        format!("rediss://127.0.0.1:{port}?{good}"),
        format!("rediss://localhost:{port}?ssl_cert_reqs=required&ssl_ca_certs=/nowhere"),
        format!("redis://localhost:{port}"),
    ] {
        assert!(round_trip(&url, RedisOptions::default()).await.is_err(), "{url}");
    }
    keeps_the_contract(&format!("rediss://localhost:{port}/1?{good}"), RedisOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_will_do() {
    let server = RedisServer::start();
    let url = format!("redis+socket://{}?virtual_host=2", server.socket().display());
    keeps_the_contract(&url, RedisOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_tell_where_the_master_is() {
    let (server, dir, port) = (RedisServer::start(), tempfile::tempdir().expect("a directory"), free_port());
    let _sentinel = Sentinel::watching(&server, dir.path(), port);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::task::yield_now().await;
    }
    let url = format!("sentinel://127.0.0.1:{};sentinel://127.0.0.1:{port}/1", free_port());
    let error = round_trip(&url, RedisOptions::default()).await.expect_err("no master_name");
    assert_eq!(error.kind(), BrokerErrorKind::Unusable);
    keeps_the_contract(&url, options(r#"{"master_name": "mymaster"}"#)).await;
    assert!(round_trip(&url, options(r#"{"master_name": "nobody"}"#)).await.is_err());
}
