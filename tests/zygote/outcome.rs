//! Every way a task can end.

use celery_rs::ipc::{Ended, FromChild, ToChild};

use crate::parent::{document, job, proj};

#[test]
fn success_carries_the_result_for_the_parent_to_store() {
    let mut parent = proj();
    let report = parent.child().perform("proj.add", "[2, 3]");
    assert_eq!(report.ended, Ended::Success { repr: "5".into() });
    let stored = report.stored.as_ref().unwrap();
    assert_eq!((stored.task_id.as_str(), stored.state.as_str()), ("id-1", "SUCCESS"));
    let document = document(Some(stored));
    assert_eq!(document["result"], 5);
    assert_eq!(document["status"], "SUCCESS");
    assert_eq!(document["task_id"], "id-1");
}

#[test]
fn failure_carries_exception_and_traceback() {
    let mut parent = proj();
    let report = parent.child().perform("proj.fail", "[]");
    let Ended::Failure { exception, traceback, is_timeout: false } = &report.ended else { panic!("{report:?}") };
    assert_eq!(exception, "KeyError('nothing there')");
    assert!(traceback.starts_with("Traceback (most recent call last):"), "{traceback}");
    let document = document(report.stored.as_ref());
    assert_eq!(document["status"], "FAILURE");
    assert_eq!(document["result"]["exc_type"], "KeyError");
    assert_eq!(document["traceback"].as_str().unwrap().trim_end(), traceback.trim_end());
}

#[test]
fn retry_carries_its_cause() {
    let mut parent = proj();
    let report = parent.child().perform("proj.again", "[]");
    let Ended::Retry { exception, .. } = &report.ended else { panic!("{report:?}") };
    assert_eq!(exception, "ValueError('why')");
    assert_eq!(document(report.stored.as_ref())["status"], "RETRY");
}

#[test]
fn ignored_stores_nothing() {
    let mut parent = proj();
    let report = parent.child().perform("proj.ignore", "[]");
    assert_eq!((report.ended, report.stored), (Ended::Ignored, None));
}

#[test]
fn rejected_says_whether_to_requeue() {
    let mut parent = proj();
    let fails =
        !parent.manifest.celery_version.starts_with("5.5") && !parent.manifest.celery_version.starts_with("5.6");
    let mut child = parent.child();
    let report = child.perform("proj.reject", "[true]");
    let Ended::Rejected { requeue: true, stores_failure: false, .. } = report.ended else { panic!("{report:?}") };
    assert_eq!(report.stored, None);
    let report = child.perform("proj.reject", "[false]");
    let Ended::Rejected { requeue: false, stores_failure, .. } = report.ended else { panic!("{report:?}") };
    assert_eq!(stores_failure, fails);
    assert_eq!(report.stored.is_some(), fails);
}

#[test]
fn exhausted_memory_is_told_apart() {
    let mut parent = proj();
    let ended = parent.child().perform("proj.exhaust", "[]").ended;
    assert!(matches!(ended, Ended::OutOfMemory { exception, .. } if exception.starts_with("MemoryError(")));
}

#[test]
fn a_body_that_cannot_be_decoded_never_runs() {
    let mut parent = proj();
    let mut child = parent.child();
    let mut malformed = job(1, "proj.noted", "[1]");
    malformed.body = "[[".into();
    child.run_job(malformed);
    child.accepted(1);
    assert!(matches!(child.done(1).ended, Ended::Undecodable { disallowed: false, .. }));
    let mut disallowed = job(2, "proj.noted", "[1]");
    disallowed.content_type = "application/x-python-serialize".into();
    child.run_job(disallowed);
    child.accepted(2);
    assert!(matches!(child.done(2).ended, Ended::Undecodable { disallowed: true, .. }));
    assert_eq!(child.perform("proj.add", "[1, 1]").ended, Ended::Success { repr: "2".into() });
}

#[test]
fn a_tracer_that_breaks_is_recorded() {
    let mut parent = proj();
    let report = parent.child().perform("proj.add", "1, 2, 3, 4");
    assert!(matches!(report.ended, Ended::Internal { .. }), "{report:?}");
    assert_eq!(document(report.stored.as_ref())["status"], "FAILURE");
}

#[test]
fn who_may_look_at_the_result_waits_until_it_is_stored() {
    let mut parent = proj();
    let mut child = parent.child();
    let number = child.run("proj.hooked", "[]");
    child.accepted(number);
    let FromChild::Store { number: asked, stored } = child.receive() else { panic!("no store") };
    assert_eq!((asked, stored.state.as_str()), (number, "SUCCESS"));
    assert!(!parent.journal().contains(&"on_success".to_owned()));
    child.tell(&ToChild::StoreDone(number, String::new()));
    let report = child.done(number);
    assert_eq!((report.ended, report.stored), (Ended::Success { repr: "'done'".into() }, None));
    assert!(parent.journal().contains(&"on_success".to_owned()));
}

#[test]
fn the_request_is_celerys() {
    let mut parent = proj();
    let mut job = job(1, "proj.context", "[]");
    job.headers = String::from_utf8(job.headers.to_vec()).unwrap().replacen('{', r#"{"tenant": "acme", "#, 1).into();
    (job.exchange, job.redelivered, job.priority) = ("tasks".into(), true, Some(4));
    let mut child = parent.child();
    child.run_job(job);
    child.accepted(1);
    let request = document(child.done(1).stored.as_ref())["result"].clone();
    assert_eq!(request["hostname"], "w1@box");
    assert_eq!(request["reply_to"], "reply-queue");
    assert_eq!(request["correlation_id"], "id-1");
    assert_eq!(request["headers"]["tenant"], "acme");
    assert_eq!(request["properties"]["delivery_mode"], 2);
    let expected =
        serde_json::json!({"exchange": "tasks", "routing_key": "celery", "priority": 4, "redelivered": true});
    assert_eq!(request["delivery_info"], expected);
}
