//! Everything that real Celery sends and stores is read, and written again as Celery writes it.

mod support;

use celery_rs::{
    protocol::{Body, Message, ResultMeta, TaskHeaders, lift, repr},
    serialization::{self, AcceptContent, Value, compression, json},
};
use support::{fixtures, python};

const SERIALIZERS: [&str; 4] = ["json", "msgpack", "yaml", "pickle"];

fn accept() -> AcceptContent {
    AcceptContent::new(SERIALIZERS).unwrap()
}

fn show(value: &Value) -> String {
    json::to_string(value).unwrap()
}

#[test]
fn messages_are_understood() {
    for row in fixtures::rows("messages") {
        let message = row.message();
        let expected =
            row.maybe_text("decoded").map_or_else(|| String::from_utf8(message.body.to_vec()).unwrap(), str::to_owned);
        let is_v2 = message.headers.get("task").is_some();
        let lifted = lift(message.clone(), &accept()).unwrap_or_else(|error| panic!("{}: {error}", row.place));
        let headers = TaskHeaders::from_message(&lifted).unwrap_or_else(|error| panic!("{}: {error}", row.place));
        assert!(headers.task.starts_with("fixtures.") || headers.task.starts_with("celery."), "{}", row.place);
        let body = Body::decode(&lifted, &accept()).unwrap_or_else(|error| panic!("{}: {error}", row.place));
        if row.place.ends_with("yaml") {
            // safe_dump sorts the keys.
            assert_eq!(body.to_value(), json::parse_str(&expected).unwrap(), "{}", row.place);
        } else {
            assert_eq!(show(&body.to_value()), expected, "{}", row.place);
        }
        if is_v2 {
            assert_eq!(lifted.body, message.body, "{}", row.place);
        } else {
            assert_eq!(
                Some(show(&Value::Map(lifted.headers.map().clone())).as_str()),
                row.maybe_text("lifted"),
                "{}",
                row.place
            );
        }
    }
}

#[test]
fn argument_reprs_are_those_of_the_producer() {
    for row in fixtures::rows("messages") {
        // Arguments hidden by the caller, tuples within them, text that no `String` holds; and Celery before 5.7 closes
        // what it cuts in another way.
        let others = ["argsrepr", "map", "chunks", "surrogates"];
        if others.iter().any(|other| row.place.contains(other)) || !row.place.starts_with("5.7") {
            continue;
        }
        let message = row.message();
        let Some(headers) = message.headers.get("task").and_then(|_| TaskHeaders::from_message(&message).ok()) else {
            continue;
        };
        let body = Body::decode(&message, &accept()).unwrap();
        let ours = repr::args_repr(&body.args, 1024);
        let as_list = repr::saferepr(&Value::List(body.args.clone()), 1024);
        let theirs = headers.argsrepr.unwrap();
        assert!(ours == theirs || as_list == theirs, "{}: {ours} {theirs}", row.place);
        assert_eq!(Some(repr::kwargs_repr(&body.kwargs, 1024)), headers.kwargsrepr, "{}", row.place);
    }
}

#[test]
fn envelopes_and_bodies_are_written_byte_for_byte() {
    for row in fixtures::rows("messages") {
        let envelope = row.text("envelope");
        assert_eq!(show(&json::parse_str(envelope).unwrap()), envelope, "{}", row.place);
        let message = row.message();
        let kind = message.properties.content_type.as_deref().unwrap();
        if message.headers.get("compression").is_some() || !matches!(kind, "application/json" | "application/x-msgpack")
        {
            continue;
        }
        let value = serialization::decode(&message.body, kind, "", &accept()).unwrap();
        assert_eq!(serialization::encode(&value, kind).unwrap().body, message.body, "{}", row.place);
    }
}

#[test]
fn values_are_read_from_every_format_and_shown_as_python_shows_them() {
    for row in fixtures::rows("values") {
        let text = row.text("json");
        let value = json::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", row.place));
        assert_eq!(show(&value), text, "{}", row.place);
        for (number, bytes) in row.each("pickle") {
            let read = serialization::decode(&bytes, "application/x-python-serialize", "binary", &accept());
            assert_eq!(read.map(|value| show(&value)).as_deref(), Ok(text), "{} pickle {number}", row.place);
        }
        if let Some(bytes) = row.bytes("msgpack") {
            let read = serialization::decode(&bytes, "application/x-msgpack", "binary", &accept()).unwrap();
            assert_eq!(show(&read), text, "{} msgpack", row.place);
        }
        if let Some(bytes) = row.bytes("yaml").filter(|_| !row.place.ends_with("surrogates")) {
            // safe_dump sorts the keys, and NaN does not equal itself.
            let read = serialization::decode(&bytes, "application/x-yaml", "utf-8", &accept()).unwrap();
            assert!(read == value || show(&read) == text, "{} yaml: {read:?}", row.place);
        }
        if row.place.ends_with("surrogates") {
            continue;
        }
        assert_eq!(repr::repr(&value).as_bytes(), row.bytes("repr").unwrap(), "{}", row.place);
        // Celery before 5.7 closes what it cuts in another way.
        let shortened = if row.place.starts_with("5.7") { row.each("saferepr") } else { Vec::new() };
        for (size, expected) in shortened {
            assert_eq!(repr::saferepr(&value, size.parse().unwrap()).as_bytes(), expected, "{} {size}", row.place);
        }
    }
}

#[test]
fn results_are_written_byte_for_byte() {
    for row in fixtures::rows("results") {
        let text = row.text("document");
        let meta = ResultMeta::from_value(json::parse_str(text).unwrap()).unwrap();
        assert_eq!(show(&meta.to_value()), text, "{}", row.place);
    }
}

#[test]
fn compressed_data_is_unpacked() {
    for row in fixtures::rows("compression") {
        let packed = row.bytes("packed").unwrap();
        for name in [row.text("name"), row.text("mime")] {
            let text = compression::decompress(name, &packed, 1 << 20).unwrap();
            assert_eq!(text, row.text("text").as_bytes(), "{}", row.place);
        }
    }
}

/// Reads what we wrote with kombu and shows it as kombu's JSON, one line each.
const READ_BACK: &str = r#"
import base64, sys
from kombu import compression, serialization
from kombu.utils.json import dumps, loads
for line in sys.stdin:
    kind, encoding, method, body = line.rstrip("\n").split(" ")
    body = base64.b64decode(body)
    if method != "-":
        body = compression.decompress(body, method)
    accept = {"application/json", "application/x-msgpack", "application/x-yaml", "application/x-python-serialize"}
    print(dumps(serialization.loads(body, kind, encoding, accept=accept)))
"#;

#[test]
fn kombu_reads_what_we_write() {
    let (mut lines, mut expected) = (String::new(), Vec::new());
    let mut add = |message: &Message, method: &str, text: &str, place: String| {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &message.body);
        let properties = &message.properties;
        let (kind, encoding) =
            (properties.content_type.as_deref().unwrap(), properties.content_encoding.as_deref().unwrap());
        lines += &format!("{kind} {encoding} {method} {body}\n");
        expected.push((place, text.to_owned()));
    };
    for row in fixtures::rows("values") {
        let text = row.text("json");
        let value = json::parse_str(text).unwrap();
        for serializer in SERIALIZERS {
            let Ok(encoded) = serialization::encode(&value, serializer) else {
                assert!(serializer != "json" && serializer != "pickle", "{} {serializer}", row.place);
                continue;
            };
            let mut message = Message { body: encoded.body.clone(), ..Message::default() };
            message.properties.content_type = Some(encoded.content_type.to_owned());
            message.properties.content_encoding = Some(encoded.content_encoding.to_owned());
            add(&message, "-", text, format!("{} {serializer}", row.place));
            for method in ["gzip", "bzip2", "lzma"] {
                let (body, mime) = compression::compress(method, &encoded.body).unwrap();
                add(
                    &Message { body: body.into(), ..message.clone() },
                    mime,
                    text,
                    format!("{} {serializer} {method}", row.place),
                );
            }
        }
    }
    let shown = python::run_with_input(READ_BACK, &lines);
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown.len(), expected.len());
    for (is, (place, should)) in shown.iter().zip(&expected) {
        assert_eq!(is, should, "{place}");
    }
}
