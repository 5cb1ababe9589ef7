//! The database result backend against real servers. That Celery reads and writes the same is shown from end to end, by
//! `tests/e2e/test_database.py`.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "test-util"))]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use celery_rs::{
    backend::{BackendError, BackendOptions, ResultBackend, StoreRequest, contract, database::DatabaseBackend},
    protocol::{ResultMeta, TaskState},
    serialization::Value,
};
use futures::join;

/// Serves until its standard input is closed, which it is when this process ends, however.
const SERVE: &str = "
import sys
import brokers
with getattr(brokers, sys.argv[1])() as server, server.fresh() as url:
    print(url, flush=True)
    sys.stdin.read()
";

/// A server of its own, with an empty database.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(class: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", SERVE, class])
            .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut url).expect("an URL");
        assert!(!url.is_empty(), "no server: is it installed?");
        Self { child, url: url.trim_end().to_owned() }
    }

    fn open(&self) -> DatabaseBackend {
        DatabaseBackend::open(&self.url, BackendOptions::default()).expect("a usable URL")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn store(backend: &DatabaseBackend, task_id: &str, result: Value) -> Result<(), BackendError> {
    let document = backend.format().encode(&ResultMeta::new(task_id, TaskState::Success, result)).expect("plain data");
    let request = StoreRequest {
        task_id: task_id.to_owned(),
        state: TaskState::Success,
        document,
        reply_to: None,
        correlation_id: None,
    };
    backend.store(request).await
}

/// What every backend must do, and that a row which the database refuses takes no other with it.
async fn check(server: &Server) {
    let backend = server.open();
    contract::check_results(&backend).await;
    let too_long = "x".repeat(156);
    let (first, refused, last) = join!(
        store(&backend, "first", 1.into()),
        store(&backend, &too_long, 2.into()),
        store(&backend, "last", 3.into())
    );
    assert_eq!((first, last), (Ok(()), Ok(())));
    let refused = refused.expect_err("an id of 156 characters does not fit");
    assert!(matches!(&refused, BackendError::Refused(reason) if reason.contains("too long")), "{refused}");
    assert_eq!(backend.retries(), 0, "trying again would not help");
    backend.close().await;
    assert!(store(&backend, "late", 4.into()).await.is_err());
    let other = server.open();
    let document = other.fetch("last").await.expect("fetched").expect("kept");
    assert_eq!(other.format().decode(&document).expect("a document").result, 3.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_the_contract() {
    let server = Server::start("PostgreSQL");
    check(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_keeps_the_contract() {
    let server = Server::start("MariaDB");
    check(&server).await;
}
