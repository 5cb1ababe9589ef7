//! Whatever bytes come in: an error or a value, never a panic; and what is a value survives every format.

use bytes::Bytes;
use celery_rs::{
    protocol::{Body, Headers, Message, Properties, Signature, TaskHeaders, lift, repr, time},
    serialization::{self, AcceptContent, Map, Value, compression, from_value, json, msgpack, pickle, to_value, yaml},
};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![any::<String>(), "[ -~]{0,20}", "[\"\\\\'\n\u{0}\u{7f}\u{85}\u{e9}\u{2028}\u{feff}]{0,12}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i128>().prop_map(Value::from),
        any::<f64>().prop_filter("NaN does not equal itself", |float| !float.is_nan()).prop_map(Value::Float),
        text.clone().prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        (1i32..9999, 1u32..13, 1u32..29).prop_map(|(y, m, d)| Value::Date(format!("{y:04}-{m:02}-{d:02}").into())),
        any::<u128>().prop_map(|number| Value::Uuid(uuid::Uuid::from_u128(number))),
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|entries| Value::Map(entries.into_iter().collect::<Map>()))
                .prop_filter("an envelope is no dict", |dict| dict
                    .as_map()
                    .is_none_or(|map| !map.contains_key("__type__"))),
        ]
    })
}

fn has_uuid(value: &Value) -> bool {
    match value {
        Value::Uuid(_) => true,
        Value::List(items) => items.iter().any(has_uuid),
        Value::Map(map) => map.values().any(has_uuid),
        _ => false,
    }
}

/// Bytes that often look like the beginning of something.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"["[..],
        b"{",
        b"]",
        b"}",
        b"\"",
        b":",
        b",",
        b"\\u",
        b"d800",
        b"-",
        b"1",
        b"e",
        b"\"__type__\"",
        b"\"__value__\"",
        b"\"datetime\"",
        b"\x80\x04",
        b"\x8c",
        b"(",
        b"t",
        b"R",
        b"\x93",
        b"q\x00",
        b"h\x00",
        b"]",
        b"a",
        b"u",
        b".",
        b"\x95",
        b"&a ",
        b"*a",
        b"<<",
        b"!!",
        b"? ",
        b"- ",
        b"\n",
        b"'",
        b"|",
        b"\xdc\x00\x02",
        b"\xc7",
        b"\xdf",
        b"\x94",
        b"datetime",
        b"\x8a\xff",
        b"\x78\x9c",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd",
        b"2026-11-20",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(
            prop_oneof![pieces.prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..3)],
            0..40
        )
        .prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    #[test]
    fn values_survive_every_format(value in value()) {
        let text = json::to_string(&value).unwrap();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(&json::parse_str(&text).unwrap(), &value);
        prop_assert_eq!(&pickle::parse(&pickle::to_vec(&value).unwrap()).unwrap(), &value);
        prop_assert_eq!(&from_value::<Value>(value.clone()).unwrap(), &value);
        prop_assert_eq!(&to_value(&value).unwrap(), &value);
        if let Ok(bytes) = msgpack::to_vec(&value) {
            prop_assert_eq!(&msgpack::parse(&bytes).unwrap(), &value);
        }
        match yaml::to_string(&value) {
            Ok(text) => prop_assert_eq!(&yaml::parse(text.as_bytes()).unwrap(), &value),
            Err(_) => prop_assert!(has_uuid(&value)),
        }
    }

    #[test]
    fn reprs_are_short(value in value(), maxlen in 1usize..200) {
        prop_assert!(!repr::repr(&value).is_empty());
        let shown = repr::saferepr(&value, maxlen);
        prop_assert!(shown.chars().count() <= 2 * maxlen + 64, "{}", shown);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in bytes(), encoding in "(utf-8|binary|latin-1|)") {
        let accept = AcceptContent::new(["json", "msgpack", "yaml", "pickle", "text/plain"]).unwrap();
        for kind in ["json", "x-msgpack", "x-yaml", "x-python-serialize", "data"] {
            if let Ok(value) = serialization::decode(&bytes, &format!("application/{kind}"), &encoding, &accept) {
                let _ = (json::to_string(&value), repr::repr(&value), Signature::from_value(&value));
            }
        }
        let _ = serialization::decode(&bytes, "text/plain", &encoding, &accept);
        for method in ["gzip", "bzip2", "lzma", "brotli", "zstd"] {
            let _ = compression::decompress(method, &bytes, LIMIT);
        }
        let _ = time::parse_iso(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_message_makes_the_protocol_panic(headers in value(), body in value(), task in any::<bool>()) {
        let mut map = headers.as_map().cloned().unwrap_or_default();
        if task {
            map.insert("task".to_owned(), "t".into());
            map.insert("id".to_owned(), "1".into());
        }
        let properties = Properties { content_type: Some("application/json".to_owned()), ..Properties::default() };
        let body = Bytes::from(json::to_string(&body).unwrap());
        let message = Message { headers: Headers::new(map), properties, body };
        let accept = AcceptContent::default();
        if let Ok(message) = lift(message, &accept) {
            let _ = (TaskHeaders::from_message(&message), Body::decode(&message, &accept));
        }
    }

    #[test]
    fn known_headers_of_any_type_are_read_or_refused(value in value()) {
        for key in ["shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id",
            "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps"] {
            let map = Map::from_iter([("task".to_owned(), "t".into()), ("id".to_owned(), "1".into()), (key.to_owned(), value.clone())]);
            let _ = TaskHeaders::from_message(&Message { headers: Headers::new(map), ..Message::default() });
        }
    }
}
