//! The Redis result backend against a real server, and against the real Python client and workers' backend.

#![cfg(all(feature = "redis", feature = "test-util"))]

mod support;

#[path = "redis_backend/chords.rs"]
mod chords;
#[path = "redis_backend/ways.rs"]
mod ways;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use celery_rs::{
    backend::{BackendError, BackendOptions, Format, ResultBackend, StoreRequest, contract, redis::RedisBackend},
    protocol::{ExceptionInfo, ResultMeta, TaskState},
    serialization::{AcceptContent, Map, Value},
};
use futures::future::join_all;
use support::{python::interpreter, redis_server::RedisServer};

const SERIALIZERS: [&str; 4] = ["json", "pickle", "yaml", "msgpack"];

fn options(serializer: &str) -> BackendOptions {
    let accept = AcceptContent::new(SERIALIZERS).expect("known names");
    let mut options = BackendOptions::default().with_serializer(serializer).with_accept(accept);
    options.chords.celery_version = celery_version();
    options
}

fn connect(server: &RedisServer, options: BackendOptions) -> Arc<RedisBackend> {
    Arc::new(RedisBackend::connect(&server.url(0), options).expect("a usable URL"))
}

fn celery_version() -> (u16, u16) {
    let text = run(Command::new(interpreter()).args(["-c", "import celery; print(celery.__version__)"]));
    let mut numbers = text.split('.').map(|n| n.parse().expect("a number"));
    (numbers.next().expect("major"), numbers.next().expect("minor"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

const PRELUDE: &str = r"
import json, sys
from celery import Celery
from celery.app.task import Context
url, serializer = sys.argv[1:3]
app = Celery('app', broker=url[:-1] + '1', backend=url)
app.conf.update(result_serializer=serializer, accept_content=['json', 'pickle', 'yaml', 'msgpack'])
app.set_current()
";

/// Runs a script that finds `app` ready, in a thread of its own so that the backend goes on meanwhile.
async fn python(server: &RedisServer, serializer: &str, script: &str, args: &[&str]) -> String {
    let mut command = command(server, serializer, script, args);
    tokio::task::spawn_blocking(move || run(&mut command)).await.expect("not cancelled")
}

fn command(server: &RedisServer, serializer: &str, script: &str, args: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command.arg("-c").arg(format!("{PRELUDE}{script}")).args([&server.url(0), serializer]).args(args);
    command
}

fn request(document: Bytes, meta: &ResultMeta) -> StoreRequest {
    StoreRequest {
        task_id: meta.task_id.clone(),
        state: meta.state.clone(),
        document,
        reply_to: None,
        correlation_id: None,
    }
}

async fn store(backend: &RedisBackend, meta: &ResultMeta) -> Result<(), BackendError> {
    let document = backend.format().encode(meta).expect("plain data encodes");
    backend.store(request(document, meta)).await
}

fn meta(id: &str, state: TaskState, result: impl Into<Value>) -> ResultMeta {
    let date_done = state.is_ready().then(|| "2026-11-20T17:41:23.655378+00:00".to_owned());
    ResultMeta { children: Some(vec![]), date_done, ..ResultMeta::new(id, state, result.into()) }
}

/// Celery's `Connection to Redis lost` waits take a second each; nothing here should need more than a few.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("within a minute")
}

async fn until(mut fact: impl FnMut() -> bool) {
    soon(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn keeps_the_contract() {
    let server = RedisServer::start();
    let set_size = |group: &str, size: i64| {
        server.cli(&["SET", &format!("celery-taskset-meta-{group}.s"), &size.to_string()]);
    };
    for serializer in SERIALIZERS {
        for compression in [None, Some("gzip".to_owned())] {
            let mut options = options(serializer);
            options.chords.celery_version = (5, 7);
            options.format.compression = compression;
            soon(contract::check(&*connect(&server, options), &set_size)).await;
        }
    }
}

#[tokio::test]
async fn keeps_the_contract_without_scripts() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-@scripting"]);
    let url = format!("redis://limited:pw@127.0.0.1:{}/0", server.port());
    let backend = RedisBackend::connect(&url, options("json")).expect("a usable URL");
    let stores = (0..50).map(|n| {
        let (backend, id) = (&backend, format!("id-{}", n % 5));
        async move { store(backend, &meta(&id, if n < 45 { TaskState::Success } else { TaskState::Failure }, n)).await }
    });
    assert!(soon(join_all(stores)).await.iter().all(Result::is_ok));
    for n in 0..5 {
        let document = backend.fetch(&format!("id-{n}")).await.unwrap().expect("stored");
        assert_eq!(backend.format().decode(&document).unwrap().result, Value::from(n));
    }
    assert_eq!(backend.uri(), url.replace("pw", "**"));
}

#[tokio::test]
async fn the_python_client_reads_every_state() {
    const READ: &str = r"
from celery.result import AsyncResult
out = []
for id in ('success', 'failure', 'retry', 'revoked', 'custom', 'extended'):
    r = AsyncResult(id)
    value = r.get(propagate=False, timeout=20) if r.ready() else r.info
    if isinstance(value, Exception):
        value = [type(value).__module__, type(value).__name__, list(value.args)]
    out.append([r.state, value, r.traceback, r.name, r.worker, r.date_done is not None and r.date_done.isoformat()])
print(json.dumps(out))
";
    let server = RedisServer::start();
    let error = |name| {
        let info =
            ExceptionInfo::new(if name == "TaskRevokedError" { "celery.exceptions" } else { "builtins" }, name, "é");
        info.to_value()
    };
    for serializer in SERIALIZERS {
        server.cli(&["FLUSHALL"]);
        let backend = connect(&server, options(serializer));
        let mut failure = meta("failure", TaskState::Failure, error("ValueError"));
        failure.traceback = Some("Traceback ...\n".to_owned());
        let mut extended = meta("extended", TaskState::Success, 1);
        let fields = [("name", "add".into()), ("args", vec![1, 2].into()), ("worker", "w@h".into())];
        extended.extended = fields.into_iter().map(|(k, v): (_, Value)| (k.to_owned(), v)).collect();
        let progress = Value::Map(Map::from_iter([("done".to_owned(), 3.into())]));
        for meta in [
            meta("success", TaskState::Success, vec![1, 2]),
            failure,
            meta("retry", TaskState::Retry, error("KeyError")),
            meta("revoked", TaskState::Revoked, error("TaskRevokedError")),
            meta("custom", TaskState::Custom("PROGRESS".into()), progress),
            extended,
        ] {
            store(&backend, &meta).await.expect("stored");
        }
        let read = python(&server, serializer, READ, &[]).await;
        let date = r#""2026-11-20T17:41:23.655378+00:00""#;
        let expected = format!(
            r#"[["SUCCESS", [1, 2], null, null, null, {date}], ["FAILURE", ["builtins", "ValueError", ["\u00e9"]], "Traceback ...\n", null, null, {date}], ["RETRY", ["builtins", "KeyError", ["\u00e9"]], null, null, null, false], ["REVOKED", ["celery.exceptions", "TaskRevokedError", ["\u00e9"]], null, null, null, {date}], ["PROGRESS", {{"done": 3}}, null, null, null, false], ["SUCCESS", 1, null, "add", "w@h", {date}]]"#
        );
        assert_eq!(read, expected, "{serializer}");
    }
}

#[tokio::test]
async fn a_waiting_client_is_woken() {
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    let mut client = command(&server, "json", WAIT, &[]);
    let mut client = client.stdout(Stdio::piped()).spawn().expect("the interpreter starts");
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    until(|| server.cli(&["PUBSUB", "NUMSUB", "celery-task-meta-id"]).ends_with('1')).await;
    for state in ["STARTED", "PROGRESS", "RECEIVED", "REJECTED", "SUCCESS"] {
        store(&backend, &meta("id", TaskState::from(state), "woken")).await.expect("stored");
        // What is announced is what a client reads from then on.
        assert_eq!(lines.next().unwrap().unwrap(), format!("{state} {state}"));
    }
    assert_eq!(lines.next().unwrap().unwrap(), "woken");
    assert!(client.wait().expect("it ends").success());
}

/// A client that tells of every state that it hears of, and of the one that it reads then.
const WAIT: &str = "
import json
def heard(meta):
    stored = json.loads(app.backend.client.get('celery-task-meta-id'))
    print(meta['status'], stored['status'], flush=True)
print(app.AsyncResult('id').get(timeout=50, on_message=heard), flush=True)
";

#[tokio::test]
async fn values_too_large_for_redis_are_refused() {
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    let document = Bytes::from(vec![b' '; (512 << 20) + 1]);
    let refused = backend.store(request(document, &meta("id", TaskState::Success, 1))).await;
    assert_eq!(refused.expect_err("refused").to_string(), "result backend refused: value too large for Redis backend");
}

#[tokio::test]
async fn documents_live_as_long_as_the_settings_say() {
    let server = RedisServer::start();
    let ttl = |key: &str| server.cli(&["TTL", key]).parse::<i64>().expect("a number");
    let mut options = BackendOptions { failure_expires: Some(500), expires: 900, ..options("json") };
    options.global_keyprefix = Some("pre".to_owned());
    let backend = connect(&server, options.clone());
    store(&backend, &meta("a", TaskState::Success, 1)).await.expect("stored");
    store(&backend, &meta("b", TaskState::Failure, 1)).await.expect("stored");
    assert!((800..=900).contains(&ttl("pre_celery-task-meta-a")));
    assert!((400..=500).contains(&ttl("pre_celery-task-meta-b")));
    options.expires = 0;
    options.failure_expires = None;
    let backend = connect(&server, options);
    store(&backend, &meta("c", TaskState::Failure, 1)).await.expect("stored");
    assert_eq!(ttl("pre_celery-task-meta-c"), -1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn success_wins_every_race() {
    let server = RedisServer::start();
    for (serializer, compression) in [("json", None), ("json", Some("zstd")), ("pickle", None), ("msgpack", None)] {
        server.cli(&["FLUSHALL"]);
        let mut options = options(serializer);
        options.format.compression = compression.map(str::to_owned);
        // Two backends, as two workers that have the same task.
        let backends = [connect(&server, options.clone()), connect(&server, options)];
        let stores = (0..400).map(|n| {
            let backend = Arc::clone(&backends[n % 2]);
            let state = if n < 40 {
                TaskState::Started
            } else if n < 80 {
                TaskState::Success
            } else {
                TaskState::Failure
            };
            tokio::spawn(async move { store(&backend, &meta(&format!("id-{}", n % 20), state, n as i64)).await })
        });
        for stored in soon(join_all(stores)).await {
            stored.expect("not cancelled").expect("stored");
        }
        for n in 0..20 {
            let document = backends[0].fetch(&format!("id-{n}")).await.unwrap().expect("stored");
            assert_eq!(backends[0].format().decode(&document).unwrap().state, TaskState::Success, "{serializer}");
        }
    }
}

#[tokio::test]
async fn states_written_by_python_in_pickle_are_understood() {
    const STORE: &str = r"
class Odd: pass
app.backend.store_result('done', 1, 'SUCCESS')
app.backend.store_result('failed', ValueError('x'), 'RETRY', request=Context(id='failed', task='t'))
";
    let server = RedisServer::start();
    for serializer in SERIALIZERS {
        server.cli(&["FLUSHALL"]);
        python(&server, serializer, STORE, &[]).await;
        let backend = connect(&server, options(serializer));
        for id in ["done", "failed"] {
            store(&backend, &meta(id, TaskState::Failure, 2)).await.expect("stored");
        }
        let state = async |id| {
            let document = backend.fetch(id).await.unwrap().expect("stored");
            backend.format().status_of(&document).unwrap()
        };
        assert_eq!(state("done").await, TaskState::Success);
        assert_eq!(state("failed").await, TaskState::Failure);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing() {
    let mut server = RedisServer::durable();
    let backend = connect(&server, options("json"));
    let stores: Vec<_> = (0..2000)
        .map(|n| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(n / 4)).await;
                store(&backend, &meta(&format!("id-{n}"), TaskState::Success, n as i64)).await
            })
        })
        .collect();
    until(|| server.cli(&["DBSIZE"]).parse::<u32>().is_ok_and(|count| count > 200)).await;
    server.restart();
    for stored in soon(join_all(stores)).await {
        stored.expect("not cancelled").expect("stored");
    }
    assert_eq!(server.cli(&["DBSIZE"]), "2000");
}

#[tokio::test]
async fn results_wait_for_a_server_that_cannot_take_them() {
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    store(&backend, &meta("first", TaskState::Success, 1)).await.expect("stored");
    let obstacles: [(&[&str], &[&str]); 2] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ];
    for (n, (begin, end)) in obstacles.into_iter().enumerate() {
        server.cli(begin);
        let id = format!("waiting-{n}");
        let waiting = tokio::spawn({
            let (backend, meta) = (Arc::clone(&backend), meta(&id, TaskState::Success, 1));
            async move { store(&backend, &meta).await }
        });
        // Two refusals at least, so that it was really tried and kept.
        until(|| errors(&server) > n as u64).await;
        assert!(!waiting.is_finished());
        server.cli(end);
        soon(waiting).await.expect("not cancelled").expect("stored");
        assert_eq!(server.cli(&["EXISTS", &format!("celery-task-meta-{id}")]), "1");
    }
}

/// How many commands the server has refused.
fn errors(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "errorstats"]);
    let counts = stats.lines().filter_map(|line| line.trim().rsplit_once("count=")?.1.parse::<u64>().ok());
    counts.filter(|&count| count > 0).count() as u64
}

#[tokio::test]
async fn limited_retries_end() {
    let mut server = RedisServer::start();
    let policy = Map::from_iter([("max_retries".to_owned(), 1.into()), ("interval_step".to_owned(), 0.01.into())]);
    let mut options = options("json");
    let transport = Map::from_iter([("retry_policy".to_owned(), policy.into())]);
    options.apply_transport_options(&transport).expect("known options");
    server.kill();
    let backend = connect(&server, options);
    let refused = soon(store(&backend, &meta("id", TaskState::Success, 1))).await;
    assert!(matches!(refused, Err(BackendError::Unreachable(_))), "{refused:?}");
    soon(backend.close()).await;
}

#[tokio::test]
async fn close_writes_what_is_queued() {
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    let metas: Vec<_> = (0..500).map(|n| meta(&format!("id-{n}"), TaskState::Success, n)).collect();
    let stores = join_all(metas.iter().map(|meta| store(&backend, meta)));
    let (stored, ()) = soon(futures::future::join(stores, backend.close())).await;
    assert!(stored.iter().all(Result::is_ok));
    assert_eq!(server.cli(&["DBSIZE"]), "500");
    let late = store(&backend, &meta("late", TaskState::Success, 1)).await;
    assert!(matches!(late, Err(BackendError::Unreachable(_))));
}

#[tokio::test]
async fn compressed_documents_are_read_by_python() {
    if celery_version() < (5, 7) {
        return; // result_compression is new in 5.7.
    }
    let server = RedisServer::start();
    let format = Format { compression: Some("gzip".to_owned()), ..Format::default() };
    let backend = connect(&server, BackendOptions { format, ..options("json") });
    store(&backend, &meta("id", TaskState::Success, "x".repeat(5000))).await.expect("stored");
    assert!(server.cli(&["STRLEN", "celery-task-meta-id"]).parse::<u32>().unwrap() < 500);
    assert_eq!(python(&server, "json", "print(len(app.AsyncResult('id').get(timeout=20)))", &[]).await, "5000");
}
