use super::*;
use crate::serialization::Map;

fn round(text: &str) -> String {
    to_string(&parse(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn texts_in_pythons_form_come_back_unchanged() {
    let table = [
        "null",
        "[]",
        "{}",
        "[true, false, NaN, Infinity, -Infinity, -0.0, 1e+16, 1e-05, 0.1]",
        "[0, -1, 9223372036854775807, -9223372036854775808, 9223372036854775808, 123456789012345678901234567890]",
        r#"{"a": [1, {"b": null}], "c": "\u00e9\ud83d\ude00\n\t\"\\\u007f\u0000/"}"#,
        r#""\ud800""#,
        r#""x\udc00\ud800y\ud83d\ude00""#,
        r#"{"\ud800": 1, "a": 2}"#,
        r#"{"__type__": "datetime", "__value__": "2026-11-20T17:41:23.655378+00:00"}"#,
        r#"{"__type__": "date", "__value__": "2026-11-20"}"#,
        r#"{"__type__": "time", "__value__": "17:41:23"}"#,
        r#"{"__type__": "decimal", "__value__": "1.10"}"#,
        r#"{"__type__": "uuid", "__value__": {"hex": "9a2cbdf1b5d64ac88a9a2cbdf1b5d64a"}}"#,
        r#"{"__type__": "bytes", "__value__": "h\u00e9"}"#,
        r#"{"__type__": "base64", "__value__": "/w=="}"#,
        r#"{"__type__": "anything", "__value__": 1, "more": 2}"#,
        r#"{"__type__": "datetime"}"#,
    ];
    for text in table {
        assert_eq!(round(text), text);
    }
}

#[test]
fn leniencies_of_python() {
    let table = [
        (" [1 ,2\n]\t", "[1, 2]"),
        (r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#),
        ("-0", "0"),
        ("1E400", "Infinity"),
        (
            r#"{"__type__": "date", "__value__": "2026-11-20T10:00:00"}"#,
            r#"{"__type__": "date", "__value__": "2026-11-20"}"#,
        ),
        ("\"\u{7f}\u{e9}\"", r#""\u007f\u00e9""#),
        (r#"{"\ud800": 1, "a": 2, "\ud800": 3}"#, r#"{"\ud800": 3, "a": 2}"#),
    ];
    for (text, expected) in table {
        assert_eq!(round(text), expected);
    }
}

#[test]
fn refusals() {
    let table = [
        "",
        " ",
        "[1,]",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\u12",
        "\"\\x\"",
        "01",
        "1.",
        "-",
        "+1",
        ".5",
        "nul",
        "{1: 2}",
        "{\"a\" 1}",
        "\"\n\"",
        "\u{feff}1",
        "1 2",
        "[1 2]",
        "-Inf",
        "{\"a\": 1,}",
        "'a'",
        r#"{"__type__": "nothing", "__value__": 1}"#,
        r#"{"__type__": ["list"], "__value__": 1}"#,
        r#"{"__type__": "datetime", "__value__": "yesterday"}"#,
        r#"{"__type__": "bytes", "__value__": "\ud800"}"#,
        r#"{"__type__": "uuid", "__value__": {"hex": "+a2cbdf1b5d64ac88a9a2cbdf1b5d64a"}}"#,
    ];
    for text in table {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(parse(b"\"\xff\"").is_err());
    assert!(parse(&[b'1'; 4301]).is_err());
    assert!(parse(&[b'1'; 4300]).is_ok());
}

#[test]
fn errors_say_where_in_pythons_words() {
    let error = parse(b"{\"a\":\n oops}").unwrap_err().to_string();
    assert_eq!(error, "json: Expecting value: line 2 column 2 (char 7)");
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(round(&nest(MAX_DEPTH)), nest(MAX_DEPTH));
    assert!(parse(nest(MAX_DEPTH + 1).as_bytes()).is_err());
    let deep = (0..=MAX_DEPTH).fold(Value::Null, |value, _| Value::List(vec![value]));
    assert!(to_string(&deep).is_err());
}

#[test]
fn keys_become_strings_as_in_python() {
    let pairs = Value::Pairs(vec![
        (Value::Int(1), Value::Null),
        (Value::Null, Value::Null),
        (Value::Bool(true), Value::Null),
        (Value::Float(1.5), Value::Null),
    ]);
    assert_eq!(to_string(&pairs).unwrap(), r#"{"1": null, "null": null, "true": null, "1.5": null}"#);
    assert!(to_string(&Value::Pairs(vec![(Value::Map(Map::new()), Value::Null)])).is_err());
}

#[test]
fn long_strings_are_scanned_to_the_byte() {
    for length in 0..40 {
        let plain = "x".repeat(length);
        for tail in ["", "\"", "\\", "\u{1f}", "\u{e9}", "\u{80}"] {
            let value = Value::Str(format!("{plain}{tail}{plain}"));
            assert_eq!(parse(to_string(&value).unwrap().as_bytes()).unwrap(), value);
        }
        assert_eq!(round(&format!("\"{plain}\u{e9}{plain}\"")), format!("\"{plain}\\u00e9{plain}\""));
    }
}
