//! The ways to the server: TLS, Unix sockets, sentinels, names.

use celery_rs::{
    backend::{BackendError, BackendOptions, ResultBackend, contract, redis::RedisBackend},
    protocol::TaskState,
    serialization::Map,
};

use crate::{
    meta, options, soon, store,
    support::{
        redis_server::{RedisServer, free_port},
        sentinel::Sentinel,
        tls::make_certificate,
    },
    until,
};

/// Gives up after the first failure instead of looking for the server for ever.
fn impatient() -> BackendOptions {
    let policy = Map::from_iter([("max_retries".to_owned(), 0.into())]);
    let mut options = options("json");
    let transport = Map::from_iter([("retry_policy".to_owned(), policy.into())]);
    options.apply_transport_options(&transport).expect("known options");
    options
}

async fn round_trip(url: &str, options: BackendOptions) -> Result<(), BackendError> {
    let backend = RedisBackend::connect(url, options)?;
    soon(store(&backend, &meta("id", TaskState::Success, 1))).await?;
    assert!(soon(backend.fetch("id")).await?.is_some());
    soon(backend.close()).await;
    Ok(())
}

/// All that a backend must do, in the database `db` of the server.
async fn keeps_the_contract(server: &RedisServer, db: &str, url: &str, mut options: BackendOptions) {
    let set_size = |group: &str, size: i64| {
        server.cli(&["-n", db, "SET", &format!("celery-taskset-meta-{group}.s"), &size.to_string()]);
    };
    options.chords.celery_version = (5, 7);
    let backend = RedisBackend::connect(url, options).expect("a usable URL");
    soon(contract::check(&backend, &set_size)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_checks_what_it_is_told_to_check() {
    let dir = tempfile::tempdir().expect("a directory");
    make_certificate(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let (cert, key, port) = (path("cert.pem"), path("key.pem"), free_port().to_string());
    let server = RedisServer::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "optional",
    ]);
    let good = format!("ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={cert}");
    for url in [
        format!("rediss://127.0.0.1:{port}?ssl_cert_reqs=none"),
        format!("rediss://localhost:{port}/1?{good}"),
        format!("rediss://127.0.0.1:{port}?{good}&ssl_check_hostname=false"),
        format!("rediss://localhost:{port}?{good}&ssl_certfile={cert}&ssl_keyfile={key}"),
    ] {
        round_trip(&url, options("json")).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    for url in [
        format!("rediss://localhost:{port}?ssl_cert_reqs=required"),
        format!("rediss://127.0.0.1:{port}?{good}"),
        format!("rediss://localhost:{port}?ssl_cert_reqs=required&ssl_ca_certs=/nowhere"),
        format!("rediss://localhost:{port}"),
        format!("redis://localhost:{port}"),
    ] {
        assert!(round_trip(&url, impatient()).await.is_err(), "{url}");
    }
    keeps_the_contract(&server, "1", &format!("rediss://localhost:{port}/1?{good}"), options("json")).await;
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let server = RedisServer::start();
    let url = format!("redis+socket://{}?virtual_host=2", server.socket().display());
    round_trip(&url, options("json")).await.expect("a round trip");
    assert_eq!(server.cli(&["-n", "2", "EXISTS", "celery-task-meta-id"]), "1");
    keeps_the_contract(&server, "2", &url, options("json")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_tell_where_the_master_is() {
    let (server, dir, port) = (RedisServer::start(), tempfile::tempdir().expect("a directory"), free_port());
    let _sentinel = Sentinel::watching(&server, dir.path(), port);
    until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    let url = format!("sentinel://127.0.0.1:{}/1;sentinel://127.0.0.1:{port}/1", free_port());
    let refused = round_trip(&url, options("json")).await;
    assert!(matches!(refused, Err(BackendError::Unusable(_))), "no master_name: {refused:?}");
    let mut known = options("json");
    known.redis.master_name = Some("mymaster".to_owned());
    round_trip(&url, known.clone()).await.expect("a round trip");
    assert_eq!(server.cli(&["-n", "1", "EXISTS", "celery-task-meta-id"]), "1");
    keeps_the_contract(&server, "1", &url, known).await;
}

#[tokio::test]
async fn the_connection_has_the_name_that_was_chosen() {
    let server = RedisServer::start();
    let backend =
        RedisBackend::connect(&format!("{}?client_name=mine", server.url(0)), options("json")).expect("usable");
    store(&backend, &meta("id", TaskState::Success, 1)).await.expect("stored");
    until(|| server.cli(&["CLIENT", "LIST"]).contains("name=mine")).await;
}
