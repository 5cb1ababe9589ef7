//! Chords whose parts come from Python's backend and from ours.

use celery_rs::{
    backend::{ChordPart, ChordProgress, ResultBackend, contract},
    protocol::{Signature, TaskState},
    serialization::{Value, json},
};
use futures::future::join_all;

use crate::{celery_version, connect, options, python, soon, support::redis_server::RedisServer};

/// One part of a chord, as a Python worker returns it; the body goes to the queue `celery` in database 1.
const RETURN_PART: &str = r"
gid, first, last = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
body = app.signature('body')
for index in range(first, last):
    state, result = 'SUCCESS', index * 10
    request = Context(id=f'part-{index}', group=gid, group_index=index, chord=body)
    app.backend.on_chord_part_return(request, state, result)
";

fn part(group: &str, index: i64) -> ChordPart {
    contract::part(group, index, TaskState::Success, (index * 10).into())
}

fn set_size(server: &RedisServer, group: &str, size: i64) {
    server.cli(&["SET", &format!("celery-taskset-meta-{group}.s"), &size.to_string()]);
}

fn bodies_by_python(server: &RedisServer) -> Vec<String> {
    let bodies = server.cli(&["-n", "1", "LRANGE", "celery", "0", "-1"]);
    bodies.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_and_we_finish_one_chord() {
    let server = RedisServer::start();
    // Python first, we first, and both at once; for the other formats the last is enough.
    for (serializer, is_ordered, rounds) in [
        ("json", true, 0..3),
        ("json", false, 0..3),
        ("pickle", true, 2..3),
        ("msgpack", true, 2..3),
        ("yaml", true, 2..3),
    ] {
        let mut options = options(serializer);
        options.chords.is_ordered = is_ordered;
        let backend = connect(&server, options);
        let ordering = format!(
            "app.conf.result_backend_transport_options = {{'result_chord_ordered': {}}}\n",
            if is_ordered { "True" } else { "False" }
        );
        let script = format!("{ordering}{RETURN_PART}");
        for round in rounds {
            server.cli(&["FLUSHALL"]);
            let group = format!("{serializer}-{is_ordered}-{round}");
            set_size(&server, &group, 20);
            let ours = async {
                let parts = (10..20).map(|index| backend.chord_part(part(&group, index)));
                let mut ready = Vec::new();
                for progress in join_all(parts).await {
                    match progress.expect("counted") {
                        ChordProgress::Ready { results, claim } => ready.push((results, claim)),
                        ChordProgress::Waiting => {}
                        other => panic!("{other:?}"),
                    }
                }
                ready
            };
            let args = [group.as_str(), "0", "10"];
            let theirs = python(&server, serializer, &script, &args);
            let ready = match round {
                0 => {
                    theirs.await;
                    ours.await
                }
                1 => {
                    let ready = ours.await;
                    theirs.await;
                    ready
                }
                _ => soon(futures::future::join(ours, theirs)).await.0,
            };
            let bodies = bodies_by_python(&server);
            assert_eq!(ready.len() + bodies.len(), 1, "the body is published once: {group}");
            if let Some((mut results, claim)) = ready.into_iter().next() {
                if !is_ordered {
                    results.sort_by_key(Value::as_i64);
                }
                assert_eq!(results, (0..20).map(|n| Value::from(n * 10)).collect::<Vec<_>>());
                assert!(backend.extend_claim(&group, &claim, &Signature::default()).await.unwrap());
                backend.chord_done(&group, &claim).await.unwrap();
            }
            let left = server.cli(&["KEYS", "celery-taskset-meta-*"]);
            let done = format!("celery-taskset-meta-{group}.c");
            assert_eq!(left, if celery_version() >= (5, 7) { done.as_str() } else { "" });
        }
    }
}

#[tokio::test]
async fn late_duplicates_stay_without_effect_on_either_side() {
    if celery_version() < (5, 7) {
        return; // Nothing knew duplicates before.
    }
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    set_size(&server, "g", 2);
    python(&server, "json", RETURN_PART, &["g", "0", "1"]).await;
    assert_eq!(backend.chord_part(part("g", 0)).await, Ok(ChordProgress::Waiting), "Python has counted it");
    let ChordProgress::Ready { claim, .. } = backend.chord_part(part("g", 1)).await.unwrap() else {
        panic!("not ready")
    };
    python(&server, "json", RETURN_PART, &["g", "0", "2"]).await;
    assert!(bodies_by_python(&server).is_empty(), "the claim is ours");
    backend.chord_done("g", &claim).await.unwrap();
    python(&server, "json", RETURN_PART, &["g", "0", "2"]).await;
    assert!(bodies_by_python(&server).is_empty(), "the chord is done");
}

#[tokio::test]
async fn headers_with_groups_are_left_to_python() {
    const SAVE: &str = r"
from celery.result import GroupResult, AsyncResult
inner = GroupResult('inner', [AsyncResult('part-1')])
outer = ('g', [AsyncResult('part-0'), inner])
app.backend.set_chord_size('g', 2)
app.backend.apply_chord(outer, app.signature('body'))
for n in range(2):
    app.backend.store_result(f'part-{n}', n * 10, 'SUCCESS')
";
    let server = RedisServer::start();
    for is_ordered in [true, false] {
        server.cli(&["FLUSHALL"]);
        let mut options = options("json");
        options.chords.is_ordered = is_ordered;
        let backend = connect(&server, options);
        python(&server, "json", SAVE, &[]).await;
        assert_eq!(backend.chord_part(part("g", 0)).await, Ok(ChordProgress::Waiting));
        assert_eq!(backend.chord_part(part("g", 1)).await, Ok(ChordProgress::NeedsPython));
        let ordering = format!(
            "app.conf.result_backend_transport_options = {{'result_chord_ordered': {}}}\n",
            if is_ordered { "True" } else { "False" }
        );
        python(&server, "json", &format!("{ordering}{RETURN_PART}"), &["g", "1", "2"]).await;
        let bodies = bodies_by_python(&server);
        assert_eq!(bodies.len(), 1);
        let envelope = json::parse(bodies[0].as_bytes()).expect("JSON");
        let argsrepr = envelope.as_map().unwrap()["headers"].as_map().unwrap()["argsrepr"].as_str().unwrap().to_owned();
        assert_eq!(argsrepr, "([0, [10]],)");
    }
}

/// Each key's time to live, in hundreds of seconds; 0 is for ever.
fn lives(server: &RedisServer) -> String {
    let keys = server.cli(&["KEYS", "*"]);
    let life = |key: &str| server.cli(&["TTL", key]).parse::<i64>().map(|seconds| (seconds + 99) / 100);
    let mut found: Vec<_> = keys.lines().map(|key| (key, life(key).expect("seconds"))).collect();
    found.sort_unstable();
    serde_json::to_string(&found).expect("JSON")
}

/// `result_chord_expires` beside `result_expires`, either of them also for ever: while a part is awaited, and afterwards.
#[tokio::test]
async fn keys_of_a_chord_live_as_long_as_with_celery() {
    /// A chord from its beginning to its end, with what lives in between; and the beginning of another one.
    const CHORD: &str = r"
app.conf.result_expires = int(sys.argv[3])
app.conf.result_chord_expires = None if sys.argv[4] == 'none' else int(sys.argv[4])
client = app.backend.client

def begin():
    client.flushall()
    app.backend.set_chord_size('g', 2)
    for index in range(2):
        app.backend.store_result(f'part-{index}', index, 'SUCCESS')

def end(index):
    request = Context(id=f'part-{index}', group='g', group_index=index, chord=app.signature('body'))
    app.backend.on_chord_part_return(request, 'SUCCESS', index)
    lives = sorted((key.decode(), (client.ttl(key) + 99) // 100) for key in client.keys('*'))
    print(json.dumps(lives, separators=(',', ':')))

begin(), end(0), end(1), begin()
";
    if celery_version() < (5, 7) {
        return; // Chords had no setting of their own.
    }
    let server = RedisServer::start();
    for (expires, of_chords) in
        [(900, None), (900, Some(300)), (900, Some(2000)), (900, Some(0)), (0, Some(300)), (0, None), (0, Some(0))]
    {
        let shown = of_chords.map_or_else(|| "none".to_owned(), |seconds: u64| seconds.to_string());
        let theirs = python(&server, "json", CHORD, &[&expires.to_string(), &shown]).await;
        let mut options = options("json");
        options.expires = expires;
        options.chords.expires = of_chords;
        let backend = connect(&server, options);
        backend.set_chord_size("g", 2).await.unwrap();
        assert_eq!(backend.chord_part(part("g", 0)).await, Ok(ChordProgress::Waiting));
        let awaited = lives(&server);
        let ChordProgress::Ready { claim, .. } = backend.chord_part(part("g", 1)).await.unwrap() else {
            panic!("not ready")
        };
        backend.chord_done("g", &claim).await.unwrap();
        let ours = format!("{awaited}\n{}", lives(&server));
        assert_eq!(ours, theirs, "result_expires {expires}, result_chord_expires {shown}");
    }
}

#[tokio::test]
async fn chords_that_we_send_are_finished_by_python() {
    let server = RedisServer::start();
    let backend = connect(&server, options("json"));
    // A frozen chord that is sent again begins anew.
    server.cli(&["SET", "celery-taskset-meta-g.c", "done"]);
    backend.set_chord_size("g", 2).await.unwrap();
    let size_lives = server.cli(&["TTL", "celery-taskset-meta-g.s"]);
    assert!(size_lives.parse::<i64>().expect("seconds") > 86_000, "{size_lives}");
    python(&server, "json", RETURN_PART, &["g", "0", "2"]).await;
    assert_eq!(bodies_by_python(&server).len(), 1);

    const RESTORE: &str = r"
from celery.result import GroupResult
print(GroupResult.restore('h', backend=app.backend).as_tuple())
";
    let result = json::parse(br#"[["h", null], [[["a", null], null], [["i", null], [[["b", null], null]]]]]"#).unwrap();
    backend.save_group("h", &result).await.unwrap();
    let restored = python(&server, "json", RESTORE, &[]).await;
    assert_eq!(restored.trim(), "(('h', None), [(('a', None), None), (('i', None), [(('b', None), None)])])");
}

#[tokio::test]
async fn chord_errors_read_like_celerys() {
    const FAIL: &str = r"
import logging
logging.disable(logging.CRITICAL)
app.backend.set_chord_size('g', 1)
errors = []
app.backend.chord_error_from_stack = lambda callback, exc: errors.append(str(exc))
request = Context(id='part-0', group='g', group_index=0, chord=app.signature('body'))
app.backend.on_chord_part_return(request, 'FAILURE', KeyError('it\'s', 1.5, None, {'a': [b'x']}))
print(errors[0])
";
    let server = RedisServer::start();
    let theirs = python(&server, "json", FAIL, &[]).await;
    let stored = server.cli(&["ZRANGE", "celery-taskset-meta-g.j", "0", "0"]);
    let Value::List(items) = json::parse(stored.as_bytes()).expect("JSON") else { panic!("a list") };
    let backend = connect(&server, options("json"));
    set_size(&server, "h", 1);
    let failed = contract::part("h", 0, TaskState::Failure, items[3].clone());
    assert_eq!(backend.chord_part(failed).await, Ok(ChordProgress::Failed { reason: theirs }));
    backend.chord_failed("h").await.unwrap();
    let size = server.cli(&["EXISTS", "celery-taskset-meta-h.s"]);
    assert_eq!(size, if celery_version() >= (5, 7) { "0" } else { "1" });
}
