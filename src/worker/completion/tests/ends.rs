use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures::FutureExt;

use super::rig::{Rig, chain, chord, group, rig, sig};
use crate::{
    backend::{Format, ResultBackend},
    ipc::Ended,
    protocol::{Message, TaskHeaders, TaskState},
    serialization::Value,
    task::{Context, NativeTask, Retry, TaskError, TaskOptions},
    worker::completion::RequestInfo,
};

#[tokio::test]
async fn a_failure_reaches_the_rest_of_its_chain() {
    let rig = rig();
    let id = rig
        .run(&chain(&[sig("fail", "[1]", "{}"), sig("add", "[1]", r#"{"task_id": "mid"}"#), sig("add", "[1]", "{}")]))
        .await;
    assert_eq!(rig.ran(), ["fail[1]"]);
    assert_eq!(rig.state("mid").await, "FAILURE ValueError('boom')");
    assert_eq!(rig.state(&id).await, "FAILURE ValueError('boom')");
    let meta = rig.meta(&id).await.unwrap();
    assert_eq!(meta.children, Some(Vec::new()));
    assert!(meta.traceback.unwrap().ends_with("ValueError: boom\n"));
}

#[tokio::test]
async fn errbacks_get_the_id() {
    let rig = rig();
    let errbacks = [sig("errback", "[]", r#"{"task_id": "eb"}"#), sig("errback", "[]", "{}")].join(", ");
    rig.run(&sig("fail", "[1]", &format!(r#"{{"task_id": "failed", "link_error": [{errbacks}]}}"#))).await;
    assert_eq!(rig.state("eb").await, "SUCCESS \"failed\"");
    assert_eq!(rig.ran(), ["fail[1]", "errback[\"failed\"]", "errback[\"failed\"]"]);
    assert_eq!(rig.meta("eb").await.unwrap().parent_id.as_deref(), Some("failed"));
}

#[tokio::test]
async fn a_failed_part_fails_the_body() {
    let rig = rig();
    let errback = sig("errback", "[]", "{}");
    let body = sig("xsum", "[]", &format!(r#"{{"task_id": "body", "link_error": [{errback}]}}"#));
    rig.run(&chord(&[sig("add", "[1, 1]", "{}"), sig("fail", "[1]", r#"{"task_id": "bad"}"#)], &body)).await;
    assert_eq!(rig.state("body").await, r#"FAILURE ChordError("Dependency bad raised ValueError('boom')")"#);
    assert_eq!(rig.meta("body").await.unwrap().children, None);
    assert_eq!(rig.ran(), ["add[1, 1]", "fail[1]", "errback[\"body\"]"]);
}

#[tokio::test]
async fn a_failed_part_fails_every_member_of_a_group_body() {
    let rig = rig();
    let body = group(&[sig("xsum", "[]", r#"{"task_id": "x"}"#), sig("xsum", "[]", r#"{"task_id": "y"}"#)]);
    rig.run(&chord(&[sig("add", "[1, 1]", "{}"), sig("fail", "[1]", "{}")], &body)).await;
    assert_eq!(rig.state("x").await, "FAILURE ValueError('boom')");
    assert_eq!(rig.state("y").await, "FAILURE ValueError('boom')");
}

#[tokio::test]
async fn a_chain_that_fails_in_a_header_fails_the_body() {
    let rig = rig();
    let header = [chain(&[sig("fail", "[1]", "{}"), sig("add", "[1]", "{}")]), sig("add", "[1, 1]", "{}")];
    rig.run(&chord(&header, &sig("xsum", "[]", r#"{"task_id": "body"}"#))).await;
    assert!(rig.state("body").await.starts_with("FAILURE ChordError("), "{}", rig.state("body").await);
}

#[tokio::test]
async fn a_retry_keeps_what_hangs_on_the_task() {
    let rig = rig();
    let id = rig.run(&chain(&[sig("flaky", "[4]", r#"{"task_id": "f"}"#), sig("add", "[1]", "{}")])).await;
    assert_eq!(rig.ran(), ["flaky[4]", "flaky[4]", "flaky[4]", "add[4, 1]"]);
    assert_eq!(rig.state(&id).await, "SUCCESS 5");
    let body = sig("xsum", "[]", r#"{"task_id": "sum"}"#);
    rig.run(&chord(&[sig("flaky", "[4]", "{}"), sig("add", "[1, 1]", "{}")], &body)).await;
    assert_eq!(rig.state("sum").await, "SUCCESS 6");
}

#[tokio::test]
async fn a_retry_is_told_and_its_message_is_the_old_one_again() {
    let rig = rig();
    let options = r#"{"task_id": "f", "priority": 3, "headers": {"mine": 1, "x-death": []}, "shadow": "s", "queue": "slow", "time_limit": 9}"#;
    let signature = crate::protocol::Signature::from_value(
        &crate::serialization::json::parse_str(&sig("flaky", "[4]", options)).unwrap(),
    );
    rig.producer.send(signature.unwrap(), Default::default()).await.unwrap();
    let first = rig.pop().unwrap();
    let Ended::Retry { exception, traceback } = rig.execute(first.clone()).await else { panic!("no retry") };
    assert_eq!(exception, "OSError('down')");
    assert!(traceback.contains("During handling of the above exception"), "{traceback}");
    assert_eq!(rig.state("f").await, "RETRY OSError('down')");
    // Celery's `send_task` lists what a running task sends, itself included.
    let children = crate::serialization::json::parse_str(r#"[[["f", null], null]]"#).unwrap();
    assert_eq!(rig.meta("f").await.unwrap().children.map(Value::List), Some(children));
    let again = rig.pop().unwrap();
    for name in ["id", "root_id", "shadow", "origin", "timelimit", "argsrepr", "mine", "ignore_result"] {
        let expected = if name == "ignore_result" { &Value::Bool(false) } else { first.headers.get(name).unwrap() };
        assert_eq!(again.headers.get(name), Some(expected), "{name}");
    }
    assert_eq!(again.headers.get("retries"), Some(&1i64.into()));
    // Celery's send_task takes the running task for the parent of a message that has none, a retry included.
    assert_eq!(again.headers.get("parent_id"), Some(&"f".into()));
    assert_eq!(again.headers.get("x-death"), None);
    assert!(again.headers.get("eta").unwrap().as_str().unwrap().ends_with("+00:00"));
    assert_eq!(again.properties.delivery_info.routing_key, "slow");
    assert_eq!(again.properties.priority, Some(3));
    assert_eq!(again.properties.reply_to, first.properties.reply_to);
}

/// With a broker that is quick, the next run is over before this one has heard that its message was taken.
#[tokio::test]
async fn a_retry_is_told_before_its_message_is_sent() {
    let rig = rig();
    let (states, backend) = (Arc::new(Mutex::new(Vec::new())), rig.backend.clone());
    let seen = states.clone();
    *rig.outbox.witness.lock().unwrap() = Some(Box::new(move || {
        let document = backend.fetch("f").now_or_never().unwrap().unwrap();
        seen.lock().unwrap().push(document.map(|document| Format::default().decode(&document).unwrap().state));
    }));
    rig.run(&sig("flaky", "[4]", r#"{"task_id": "f"}"#)).await;
    assert_eq!(*states.lock().unwrap(), [None, Some(TaskState::Retry), Some(TaskState::Retry)]);
}

async fn never(cx: Context) -> Result<(), TaskError> {
    let _ = cx;
    Err(Retry::new().max_retries(1).into())
}

#[tokio::test]
async fn retries_are_used_up_at_last() {
    let rig = Rig::new(vec![NativeTask::new("never", never)]);
    rig.run(&sig("never", "[]", r#"{"task_id": "n"}"#)).await;
    assert_eq!(rig.ran().len(), 2);
    assert_eq!(rig.state("n").await, "FAILURE MaxRetriesExceededError(\"Can't retry never[n] args:() kwargs:{}\")");
}

#[tokio::test]
async fn what_cannot_be_sent_is_a_failure() {
    let rig = rig();
    let link = format!(r#"{{"task_id": "t", "link": [{}]}}"#, sig("add", "[10]", "{}"));
    let signature = crate::serialization::json::parse_str(&sig("add", "[1, 2]", &link)).unwrap();
    rig.producer.send(crate::protocol::Signature::from_owned(signature).unwrap(), Default::default()).await.unwrap();
    rig.outbox.is_closed.store(true, Ordering::Relaxed);
    rig.drain().await;
    assert_eq!(rig.state("t").await, "FAILURE OperationalError('no broker')");
}

fn message(group: &str) -> Message {
    let rig = super::rig::producer_settings(Default::default());
    assert_eq!(rig.protocol, 2);
    let mut message = Message { body: (&br#"[[], {}, {"errbacks": [{"task": "errback"}], "chain": [{"task": "add", "options": {"task_id": "next"}}], "chord": {"task": "xsum", "options": {"task_id": "body"}}}]"#[..]).into(), ..Message::default() };
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.content_encoding = Some("utf-8".to_owned());
    for (name, value) in [("task", "proj.x"), ("id", "gone"), ("group", group)] {
        message.headers.insert(name, value);
    }
    message
}

async fn ended(end: impl AsyncFnOnce(&Rig, &RequestInfo<'_>)) -> Rig {
    let rig = rig();
    rig.backend.set_chord_size("g", 1);
    let message = message("g");
    let headers = TaskHeaders::from_message(&message).unwrap();
    let options = TaskOptions::default();
    let info = RequestInfo { headers: &headers, message: &message, options: &options, hostname: "w@h" };
    end(&rig, &info).await;
    rig
}

#[tokio::test]
async fn a_lost_worker_fails_all_that_hangs_on_the_task() {
    let text = "Worker exited prematurely: signal 9 (SIGKILL) Job: 3.";
    let rig = ended(async |rig, info| drop(rig.completion.worker_lost(info, text).await)).await;
    assert_eq!(rig.state("gone").await, format!("FAILURE WorkerLostError('{text}')"));
    assert_eq!(rig.state("next").await, format!("FAILURE WorkerLostError('{text}')"));
    assert!(rig.state("body").await.starts_with("FAILURE ChordError"));
    rig.drain().await;
    assert_eq!(rig.ran(), ["errback[\"gone\"]"]);
}

#[tokio::test]
async fn a_time_limit_is_told_in_seconds() {
    let rig =
        ended(async |rig, info| drop(rig.completion.time_limit_exceeded(info, Duration::from_secs(2)).await)).await;
    assert_eq!(rig.state("gone").await, "FAILURE TimeLimitExceeded(2)");
    let meta = rig.meta("gone").await.unwrap();
    assert_eq!(meta.result.as_map().unwrap()["exc_module"], "billiard.exceptions".into());
    assert_eq!((meta.traceback, meta.group_id.as_deref()), (None, Some("g")));
}

#[tokio::test]
async fn a_revoked_task_tells_its_chord_only() {
    let rig = ended(async |rig, info| rig.completion.revoked(info, "expired").await).await;
    assert_eq!(rig.meta("gone").await.unwrap().state, TaskState::Revoked);
    assert_eq!(rig.state("gone").await, "REVOKED TaskRevokedError('expired')");
    assert_eq!(rig.state("next").await, "PENDING");
    assert!(rig.state("body").await.starts_with("FAILURE ChordError"));
    assert!(rig.pop().is_none());
}

#[tokio::test]
async fn an_unknown_task_is_a_failure_of_its_own() {
    let rig = ended(async |rig, info| rig.completion.unregistered(info.headers, info.message).await).await;
    assert_eq!(rig.state("gone").await, "FAILURE NotRegistered('proj.x')");
    assert_eq!(rig.state("next").await, "PENDING");
}

#[tokio::test]
async fn a_rejected_task_has_failed() {
    let rig =
        ended(async |rig, info| rig.completion.rejected(info, "reject requeue=False: no", "Traceback").await).await;
    assert_eq!(rig.state("gone").await, "FAILURE Reject('no', False)");
}

#[tokio::test]
async fn a_cancelled_task_is_in_retry() {
    let rig = ended(async |rig, info| rig.completion.cancelled(info).await).await;
    assert_eq!(rig.state("gone").await, "RETRY Retry('Retry(Retry(...), None, None)', None, None)");
}

#[tokio::test]
async fn an_ignored_result_is_not_kept() {
    let rig = rig();
    let id = rig.run(&sig("quiet", "[1]", "{}")).await;
    assert_eq!(rig.state(&id).await, "PENDING");
    let id = rig.run(&sig("quiet", "[1]", r#"{"ignore_result": false}"#)).await;
    assert_eq!(rig.state(&id).await, "SUCCESS 1");
}
