use super::*;
use crate::serialization::json;

fn read(text: &str) -> Option<String> {
    parse(text.as_bytes()).ok().map(|value| json::to_string(&value).unwrap())
}

#[test]
fn documents_mean_what_safe_load_takes_them_for() {
    let cases: &[(&str, Option<&str>)] = &include!("cases.in");
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (text, read(text), *expected))
        .filter(|(_, is, should)| is.as_deref() != *should)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn values_go_both_ways() {
    let texts = [
        r#"[null, true, 1, -1, 123456789012345678901234567890, 1.5, 1e+16, 1e-05, NaN, -Infinity]"#,
        r#"{"a": {"b": [], "c": {}}, "yes": "no", "1": "1", "": "a: b # c"}"#,
        r#"["\u00e9\ud83d\ude00\n\t\u0000\u007f\"\\", "2026-11-20"]"#,
        r#"[{"__type__": "datetime", "__value__": "2026-11-20T17:41:23.655378+00:00"}, {"__type__": "date", "__value__": "2026-11-20"}]"#,
        r#"{"__type__": "base64", "__value__": "/w=="}"#,
    ];
    for text in texts {
        let value = json::parse_str(text).unwrap();
        assert_eq!(read(&to_string(&value).unwrap()).as_deref(), Some(text));
    }
    let long = format!("{{\"{}\": 1}}", "k".repeat(2000));
    assert_eq!(read(&to_string(&json::parse_str(&long).unwrap()).unwrap()), Some(long));
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert!(matches!(parse(bomb.as_bytes()), Err(DecodeError::TooLarge { .. })));
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    assert!(parse(b"&a [*a]").is_err());
    assert!(parse(b"[\xff]").is_err());
}
