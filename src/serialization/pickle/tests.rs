use super::*;
use crate::serialization::json;

fn round(text: &str) -> String {
    json::to_string(&parse(&to_vec(&json::parse_str(text).unwrap()).unwrap()).unwrap()).unwrap()
}

#[test]
fn values_go_both_ways() {
    let texts = [
        r#"[null, true, false, 0, -1, 255, 256, 2147483648, -9223372036854775808, 18446744073709551616, -170141183460469231731687303715884105729]"#,
        r#"{"b": 1.5, "a": [NaN, -Infinity], "c": {"d": []}}"#,
        r#"["\u00e9\ud83d\ude00", "x\ud800y"]"#,
        r#"[{"__type__": "datetime", "__value__": "2026-11-20T17:41:23.655378+00:00"}, {"__type__": "datetime", "__value__": "2026-11-20T17:41:23-05:30"}]"#,
        r#"[{"__type__": "date", "__value__": "2026-11-20"}, {"__type__": "time", "__value__": "17:41:23"}]"#,
        r#"[{"__type__": "decimal", "__value__": "1.10"}, {"__type__": "base64", "__value__": "/w=="}]"#,
        r#"{"__type__": "uuid", "__value__": {"hex": "9a2cbdf1b5d64ac88a9a2cbdf1b5d64a"}}"#,
    ];
    for text in texts {
        assert_eq!(round(text), text);
    }
    let long = format!("[\"{}\"]", "x".repeat(300));
    assert_eq!(round(&long), long);
}

#[test]
fn nothing_is_executed_and_everything_else_is_refused() {
    let table: &[&[u8]] = &[
        b"",
        b".",
        b"N",
        b"\x80\x06N.",
        b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
        b"\x80\x02c__main__\nThing\n)\x81.",
        b"\x80\x02cdatetime\ndatetime\n)R.",
        b"\x80\x02]Na",
        b"\x80\x02N(.",
        b"\x80\x02Na.",
        b"\x80\x02(NNN d.",
        b"\x80\x02h\x07.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02\x8c\x01\xff.",
        b"I1\n.",
        b"\x80\x04\x8f.",
    ];
    for bytes in table {
        assert!(parse(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_is_shared_is_filled_and_bounded() {
    // a = []; [a, a], with a filled after it was memoized
    assert_eq!(json::to_string(&parse(b"\x80\x02]q\x00(]q\x01K\x01ah\x01e.").unwrap()).unwrap(), "[[1], [1]]");
    // a list that holds itself
    assert!(parse(b"\x80\x02]q\x00h\x00a.").is_err());
    // each list holds the last one twice
    let mut bomb = b"\x80\x02]q\x00".to_vec();
    for level in 0..100u8 {
        bomb.extend([b']', b'q', level + 1, b'h', level, b'a', b'h', level, b'a']);
    }
    bomb.push(b'.');
    assert!(matches!(parse(&bomb), Err(DecodeError::TooLarge { .. })));
    assert!(parse(&[b"\x80\x02".to_vec(), b"]".repeat(5000), b"a".repeat(4999), b".".to_vec()].concat()).is_err());
}
