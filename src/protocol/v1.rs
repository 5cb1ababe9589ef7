//! Protocol 1, and the hybrid of 1 and 2, lifted to 2 (`celery/worker/strategy.py`).
//!
//! Nothing else in the worker knows that there ever was a protocol 1.

use crate::{
    protocol::{Headers, Message, ProtocolError, body::decode_payload, repr},
    serialization::{self, AcceptContent, DecodeError, Map, Value},
};

/// Keys of the body that protocol 2 has in the body, too.
const BODY_KEYS: [&str; 5] = ["args", "kwargs", "callbacks", "errbacks", "chord"];

/// Headers that a hybrid message may have in its body instead.
const HYBRID_KEYS: [&str; 15] = [
    "lang",
    "task",
    "id",
    "root_id",
    "parent_id",
    "group",
    "meth",
    "shadow",
    "eta",
    "expires",
    "retries",
    "timelimit",
    "argsrepr",
    "kwargsrepr",
    "origin",
];

/// Makes a protocol 2 message of any task message. Protocol 2 itself passes through untouched and is not decoded.
///
/// A lifted body keeps its serializer, and loses its compression.
///
/// # Errors
/// `UnknownMessage` for what is no task message at all, `InvalidTask` when `kwargs` is no mapping, `Undecodable`.
pub fn lift(message: Message, accept: &AcceptContent) -> Result<Message, ProtocolError> {
    if message.headers.get("task").is_some() {
        return if may_be_hybrid(&message) { lift_hybrid(message, accept) } else { Ok(message) };
    }
    if message.headers.is_absent() {
        return Err(ProtocolError::UnknownMessage("it has no headers".to_owned()));
    }
    match decode_payload(&message, accept)? {
        // As in Celery, almost all of protocol 1 goes the hybrid's way.
        Value::Map(body) if body.contains_key("task") && body.contains_key("args") => hybrid(message, body),
        Value::Map(body) if body.contains_key("task") => lift_v1(message, body),
        _ => Err(ProtocolError::UnknownMessage("neither its headers nor its body name a task".to_owned())),
    }
}

/// Whether the body is a dict, as far as its first byte tells; protocol 2 has a list there.
fn may_be_hybrid(message: &Message) -> bool {
    let is_compressed = message.headers.get("compression").is_some_and(|name| !name.is_null());
    let first = message.body.iter().find(|byte| !byte.is_ascii_whitespace());
    match (message.properties.content_type.as_deref(), first) {
        _ if is_compressed => false,
        (Some("application/json" | "application/x-yaml"), Some(b'{')) => true,
        (Some("application/x-msgpack"), Some(0x80..=0x8f | 0xde | 0xdf)) => true,
        _ => false,
    }
}

fn lift_v1(message: Message, mut body: Map) -> Result<Message, ProtocolError> {
    let v2_body = take_body(&mut body)?;
    let shown = |value: &Value| Value::Str(repr::saferepr(value, 0));
    if let Value::List(parts) = &v2_body {
        body.insert("argsrepr".to_owned(), shown(&parts[0]));
        body.insert("kwargsrepr".to_owned(), shown(&parts[1]));
    }
    body.insert("headers".to_owned(), Value::Map(message.headers.map().clone()));
    if let Some(taskset) = body.get("taskset").cloned() {
        body.insert("group".to_owned(), taskset);
    }
    rebuild(message, body, &v2_body)
}

fn lift_hybrid(message: Message, accept: &AcceptContent) -> Result<Message, ProtocolError> {
    match decode_payload(&message, accept)? {
        Value::Map(body) if body.contains_key("args") => hybrid(message, body),
        _ => Ok(message),
    }
}

fn hybrid(message: Message, mut body: Map) -> Result<Message, ProtocolError> {
    let v2_body = take_body(&mut body)?;
    let mut headers = Map::new();
    for key in HYBRID_KEYS {
        let value = body.swap_remove(key).unwrap_or_else(|| absent(key));
        headers.insert(key.to_owned(), value);
    }
    headers.extend(message.headers.map().clone());
    rebuild(message, headers, &v2_body)
}

/// What Celery takes for a field that the body does not have.
fn absent(key: &str) -> Value {
    match key {
        "retries" => 0.into(),
        "timelimit" => Value::List(vec![Value::Null, Value::Null]),
        _ => Value::Null,
    }
}

/// `[args, kwargs, embed]` out of a protocol 1 body.
fn take_body(body: &mut Map) -> Result<Value, ProtocolError> {
    let [args, kwargs, callbacks, errbacks, chord] = BODY_KEYS.map(|key| body.shift_remove(key));
    let kwargs = kwargs.unwrap_or_else(|| Value::Map(Map::new()));
    if !matches!(kwargs, Value::Map(_) | Value::Pairs(_)) {
        return Err(ProtocolError::InvalidTask("Task keyword arguments must be a mapping".to_owned()));
    }
    let embed = Map::from_iter([
        ("callbacks".to_owned(), callbacks.unwrap_or_default()),
        ("errbacks".to_owned(), errbacks.unwrap_or_default()),
        ("chain".to_owned(), Value::Null),
        ("chord".to_owned(), chord.unwrap_or_default()),
    ]);
    Ok(Value::List(vec![args.unwrap_or_else(|| Value::List(Vec::new())), kwargs, Value::Map(embed)]))
}

fn rebuild(mut message: Message, mut headers: Map, body: &Value) -> Result<Message, ProtocolError> {
    headers.shift_remove("compression");
    let content_type = message.properties.content_type.as_deref().unwrap_or_default();
    let encoded = serialization::encode(body, content_type)
        .map_err(|error| DecodeError::Malformed { format: "protocol 1", reason: error.to_string() })?;
    message.properties.content_encoding = Some(encoded.content_encoding.to_owned());
    message.body = encoded.body;
    message.headers = Headers::new(headers);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{Body, Properties, TaskHeaders},
        serialization::json,
    };

    fn message(headers: &str, body: &str) -> Message {
        let headers = match json::parse_str(headers).unwrap() {
            Value::Map(map) => Headers::new(map),
            _ => Headers::absent(),
        };
        let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::default() };
        Message { headers, properties, body: body.to_owned().into() }
    }

    fn lifted(headers: &str, body: &str) -> Result<(TaskHeaders, Body, Map), ProtocolError> {
        let accept = AcceptContent::default();
        let message = lift(message(headers, body), &accept)?;
        Ok((TaskHeaders::from_message(&message)?, Body::decode(&message, &accept)?, message.headers.map().clone()))
    }

    #[test]
    fn protocol_2_is_not_even_decoded() {
        let message = lift(message(r#"{"task": "t", "id": "1"}"#, "[[broken"), &AcceptContent::default()).unwrap();
        assert_eq!(message.body, "[[broken");
    }

    #[test]
    fn protocol_1_becomes_2() {
        let (headers, body, raw) = lifted(
            "{}",
            r#"{"task": "t", "id": "1", "args": [1], "kwargs": {"a": "x"}, "retries": 2, "eta": null, "expires": null,
                "utc": false, "group": "g", "taskset": "g", "timelimit": [10, 5], "callbacks": [{"task": "n"}], "errbacks": null, "chord": null}"#,
        )
        .unwrap();
        assert_eq!((&*headers.task, &*headers.id, headers.retries, headers.group.as_deref()), ("t", "1", 2, Some("g")));
        assert_eq!((headers.argsrepr.as_deref(), headers.kwargsrepr.as_deref()), (None, None));
        assert_eq!((headers.time_limit, headers.soft_time_limit), (Some(10.0), Some(5.0)));
        assert_eq!((body.args.len(), body.kwargs.len(), body.embed.callbacks.len()), (1, 1, 1));
        assert_eq!((raw.get("lang"), raw.get("args")), (Some(&Value::Null), None));
    }

    #[test]
    fn protocol_1_without_arguments_keeps_its_fields() {
        let (headers, _, raw) = lifted("{}", r#"{"task": "t", "id": "1", "utc": false, "taskset": "g"}"#).unwrap();
        assert_eq!((headers.group.as_deref(), headers.argsrepr.as_deref()), (Some("g"), Some("[]")));
        assert_eq!(raw.get("utc"), Some(&Value::Bool(false)));
    }

    #[test]
    fn arguments_may_be_missing_and_keyword_arguments_must_be_a_mapping() {
        assert_eq!(lifted("{}", r#"{"task": "t", "id": "1"}"#).unwrap().1, Body::default());
        let refused = lifted("{}", r#"{"task": "t", "id": "1", "kwargs": []}"#);
        assert!(matches!(refused, Err(ProtocolError::InvalidTask(_))));
    }

    #[test]
    fn hybrids_have_headers_that_win() {
        let (headers, body, _) = lifted(
            r#"{"task": "t", "id": "1"}"#,
            r#"{"task": "other", "id": "2", "args": [1], "kwargs": {}, "retries": 3, "chord": null}"#,
        )
        .unwrap();
        assert_eq!((&*headers.task, &*headers.id, headers.retries, body.args.len()), ("t", "1", 3, 1));
    }

    #[test]
    fn other_messages_are_unknown() {
        for (headers, body) in [("null", "{}"), ("{}", "[]"), ("{}", "{}"), ("{}", "1")] {
            assert!(matches!(lifted(headers, body), Err(ProtocolError::UnknownMessage(_))), "{headers} {body}");
        }
        assert!(matches!(lifted("{}", "{"), Err(ProtocolError::Undecodable(_))));
    }
}
