use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::serialization::json;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    note: Option<String>,
    #[serde(default)]
    lines: Vec<(String, f64)>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Gift(String),
    Split { parts: u8 },
    Pair(i32, i32),
}

fn value(text: &str) -> Value {
    json::parse_str(text).unwrap()
}

#[test]
fn structs_and_enums_go_both_ways() {
    for kind in [Kind::Plain, Kind::Gift("x".into()), Kind::Split { parts: 2 }, Kind::Pair(1, -1)] {
        let order = Order { id: 1, note: None, lines: vec![("a".into(), 1.5)], kind };
        assert_eq!(from_value::<Order>(to_value(&order).unwrap()).unwrap(), order);
    }
}

#[test]
fn arguments_become_tuples_and_integers_floats() {
    let (n, f, s, o): (i64, f64, String, Option<bool>) = from_value(value(r#"[1, 2, "x", null]"#)).unwrap();
    assert_eq!((n, f, s.as_str(), o), (1, 2.0, "x", None));
    assert_eq!(from_value::<u64>(value("18446744073709551615")).unwrap(), u64::MAX);
    assert_eq!(from_value::<i128>(value("-18446744073709551616")).unwrap(), -(1 << 64));
    assert_eq!(from_value::<f64>(value("100000000000000000000000000000000000000000")).unwrap(), 1e41);
    assert_eq!(from_value::<BTreeMap<i64, bool>>(value(r#"{"-3": true}"#)).unwrap(), BTreeMap::from([(-3, true)]));
    assert_eq!(from_value::<Vec<u8>>(Value::Bytes("ab".into())).unwrap(), b"ab");
    assert_eq!(from_value::<bytes::Bytes>(Value::Bytes("ab".into())).unwrap(), "ab");
    assert_eq!(from_value::<String>(Value::DateTime("2026-11-20T00:00:00".into())).unwrap(), "2026-11-20T00:00:00");
}

#[test]
fn values_pass_through_whole() {
    let texts = [
        r#"{"a": [1, 2.5, null, true, "x", 123456789012345678901234567890, "\ud800"]}"#,
        r#"{"__type__": "datetime", "__value__": "2026-11-20T17:41:23"}"#,
        r#"{"__type__": "decimal", "__value__": "1.10"}"#,
        r#"[{"__type__": "uuid", "__value__": {"hex": "9a2cbdf1b5d64ac88a9a2cbdf1b5d64a"}}]"#,
        r#"{"__type__": "base64", "__value__": "/w=="}"#,
    ];
    for text in texts {
        let value = value(text);
        assert_eq!(from_value::<Value>(value.clone()).unwrap(), value);
        assert_eq!(to_value(&value).unwrap(), value);
    }
    let pairs = Value::Pairs(vec![(Value::Int(1), Value::Date("2026-11-20".into()))]);
    assert_eq!(from_value::<Value>(pairs.clone()).unwrap(), pairs);
    assert_eq!(to_value(&pairs).unwrap(), pairs);
}

#[test]
fn errors_say_where_and_what() {
    let error = |text: &str| from_value::<Order>(value(text)).unwrap_err().to_string();
    assert_eq!(error(r#"{"kind": "Plain"}"#), "missing field `id`");
    assert_eq!(error(r#"{"id": "1", "kind": "Plain"}"#), "at .id: invalid type: string \"1\", expected u32");
    assert_eq!(
        error(r#"{"id": 5000000000, "kind": "Plain"}"#),
        "at .id: invalid value: integer `5000000000`, expected u32"
    );
    assert_eq!(
        error(r#"{"id": 1, "kind": "Plain", "lines": [["a", 1], ["b", "c"]]}"#),
        "at .lines[1][1]: invalid type: string \"c\", expected f64"
    );
    assert!(error(r#"{"id": 1, "kind": "Other"}"#).starts_with("at .kind: unknown variant `Other`"));
    assert_eq!(
        from_value::<(i32,)>(value("[1, 2]")).unwrap_err().to_string(),
        "invalid length 2, expected at most 1 elements"
    );
}
