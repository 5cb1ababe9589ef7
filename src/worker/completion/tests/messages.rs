use std::time::{Duration, SystemTime};

use super::rig::{producer_settings, rig, sig};
use crate::{
    broker::Publish,
    producer::{Apply, Producer},
    protocol::{Message, Route, Signature},
    serialization::{Map, Value, json},
};

async fn sent(app: &str, signature: &str) -> (Route, Message) {
    let rig = rig();
    let Value::Map(app) = json::parse_str(app).unwrap() else { panic!("no settings") };
    let outbox: std::sync::Arc<dyn Publish> = rig.outbox.clone();
    let producer = Producer::new(outbox, producer_settings(app), None, None);
    let signature = Signature::from_value(&json::parse_str(signature).unwrap()).unwrap();
    producer.send(signature, Apply::default()).await.unwrap();
    let (route, message) = rig.outbox.messages.lock().unwrap().pop_front().unwrap();
    (route, message)
}

fn headers(message: &Message) -> String {
    json::to_string(&Value::Map(message.headers.map().clone())).unwrap()
}

fn body(message: &Message) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

#[tokio::test]
async fn protocol_2_is_written_header_for_header() {
    let signature = sig("proj.add", "[1, \"x\"]", r#"{"task_id": "T", "priority": 5, "headers": {"mine": 1}}"#);
    let (route, message) = sent("{}", &signature).await;
    assert_eq!(
        headers(&message),
        r#"{"lang": "py", "task": "proj.add", "id": "T", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "T", "parent_id": null, "argsrepr": "(1, 'x')", "kwargsrepr": "{}", "origin": "gen1@h", "ignore_result": null, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}, "mine": 1}"#
    );
    assert_eq!(
        body(&message),
        r#"[[1, "x"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]"#
    );
    let properties = &message.properties;
    assert_eq!((properties.correlation_id.as_deref(), properties.reply_to.as_deref()), (Some("T"), Some("oid")));
    assert_eq!((properties.priority, properties.delivery_mode), (Some(5), Some(2)));
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert!(properties.other.is_empty(), "{:?}", properties.other);
    assert_eq!((route.exchange.as_str(), route.routing_key.as_str()), ("", "celery"));
    assert_eq!(route.declare.unwrap().name, "celery");
}

#[tokio::test]
async fn protocol_1_is_all_body() {
    let signature = sig("proj.add", "[1]", r#"{"task_id": "T", "link": {"task": "cb"}, "group_id": "g"}"#);
    let (_, message) = sent(r#"{"task_protocol": 1}"#, &signature).await;
    assert_eq!(headers(&message), "{}");
    assert_eq!(
        body(&message),
        r#"{"task": "proj.add", "id": "T", "args": [1], "kwargs": {}, "group": "g", "group_index": null, "retries": 0, "eta": null, "expires": null, "utc": true, "callbacks": [{"task": "cb"}], "errbacks": null, "timelimit": [null, null], "taskset": "g", "chord": null}"#
    );
}

#[tokio::test]
async fn times_are_written_in_the_apps_zone() {
    let (_, message) = sent("{}", &sig("t", "[]", r#"{"countdown": 10, "expires": 60.5}"#)).await;
    let time = |name: &str| {
        let text = message.headers.get(name).unwrap().as_str().unwrap().to_owned();
        SystemTime::from(crate::protocol::time::parse_iso(&text).unwrap())
    };
    let ahead = time("eta").duration_since(SystemTime::now()).unwrap();
    assert!(ahead <= Duration::from_secs(10), "{ahead:?}");
    assert_eq!(time("expires").duration_since(time("eta")).unwrap(), Duration::from_millis(50_500));
    assert_eq!(message.properties.expiration.as_deref(), Some("60500"));
    let past = sig("t", "[]", r#"{"eta": "2020-01-01T00:00:00Z", "expires": "2020-01-01T00:00:00+00:00"}"#);
    let (_, message) = sent("{}", &past).await;
    assert_eq!(message.headers.get("eta"), Some(&"2020-01-01T00:00:00Z".into()));
    assert_eq!(message.properties.expiration.as_deref(), Some("0"));
}

#[tokio::test]
async fn routes_and_options_choose_the_queue() {
    let routes = r#"{"task_routes": {"proj.*": "slow", "other.x": {"exchange": "topics", "exchange_type": "topic", "routing_key": "a.b", "priority": 7}}}"#;
    let rows = [
        ("proj.add", "{}", "", "slow"),
        ("proj.add", r#"{"queue": "fast"}"#, "", "fast"),
        ("plain", "{}", "", "celery"),
        ("plain", r#"{"routing_key": "ignored"}"#, "", "celery"),
        ("plain", r#"{"exchange": "x", "routing_key": "k"}"#, "x", "k"),
        ("other.x", "{}", "topics", "a.b"),
        ("other.x", r#"{"routing_key": "c.d"}"#, "topics", "c.d"),
    ];
    for (task, options, exchange, routing_key) in rows {
        let (route, _) = sent(routes, &sig(task, "[]", options)).await;
        assert_eq!((route.exchange.as_str(), route.routing_key.as_str()), (exchange, routing_key), "{task} {options}");
    }
    let (_, message) = sent(routes, &sig("other.x", "[]", "{}")).await;
    assert_eq!(message.properties.priority, Some(7));
}

#[tokio::test]
async fn stamps_and_compression_are_headers() {
    let options = r#"{"stamped_headers": ["who"], "who": ["me"], "compression": "gzip", "retry": true}"#;
    let (_, message) = sent("{}", &sig("t", "[]", options)).await;
    assert_eq!(message.headers.get("stamped_headers"), Some(&vec![Value::from("who")].into()));
    let stamps = Map::from_iter([("who".to_owned(), Value::from(vec![Value::from("me")]))]);
    assert_eq!(message.headers.get("stamps"), Some(&stamps.into()));
    assert_eq!(message.headers.get("compression"), Some(&"application/x-gzip".into()));
    assert_eq!(message.body[..2], [0x78, 0x9c]);
    assert!(message.properties.other.is_empty());
}

#[tokio::test]
async fn missing_queues_are_refused_when_they_may_not_be_made_up() {
    let Value::Map(app) = json::parse_str(r#"{"task_create_missing_queues": false}"#).unwrap() else { panic!() };
    let producer = Producer::new(rig().outbox, producer_settings(app), None, None);
    let signature = Signature::from_value(&json::parse_str(&sig("t", "[]", r#"{"queue": "nope"}"#)).unwrap()).unwrap();
    let error = producer.send(signature, Apply::default()).await.unwrap_err().to_string();
    assert!(error.contains("nope"), "{error}");
}
