//! Values as Python shows them: `repr()`, and Celery's `saferepr()` that stays short.

mod safe;
mod text;

use crate::serialization::{Map, Value, float, iso};

pub use safe::saferepr;

/// `repr(args)` of a tuple, shortened to about `maxlen` characters and three levels (`argsrepr`).
pub fn args_repr(args: &[Value], maxlen: usize) -> String {
    safe::tuple(args, maxlen)
}

/// `repr(kwargs)`, shortened to about `maxlen` characters and three levels (`kwargsrepr`).
pub fn kwargs_repr(kwargs: &Map, maxlen: usize) -> String {
    safe::dict(kwargs, maxlen)
}

/// `repr(value)`, in full.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::List(items) => {
            out.push('[');
            write_all(out, items, write);
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            write_all(out, map, |out, (key, value)| {
                text::write_str(out, key);
                out.push_str(": ");
                write(out, value);
            });
            out.push('}');
        }
        Value::Pairs(pairs) => {
            out.push('{');
            write_all(out, pairs, |out, (key, value)| {
                write(out, key);
                out.push_str(": ");
                write(out, value);
            });
            out.push('}');
        }
        scalar => write_scalar(out, scalar),
    }
}

fn write_all<T>(out: &mut String, items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
}

/// Everything that holds no other values; a container shows as nothing.
fn write_scalar(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(flag) => out.push_str(if *flag { "True" } else { "False" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(number) => out.push_str(&float::repr(*number)),
        Value::Str(string) => text::write_str(out, string),
        Value::WideStr(units) => text::write_wide(out, units),
        Value::Bytes(bytes) => text::write_bytes(out, bytes),
        Value::DateTime(text) => match iso::parse_datetime(text) {
            Some((date, time)) => write_datetime(out, date, time),
            None => out.push_str(text),
        },
        Value::Date(text) => match iso::Date::parse(text) {
            Some(date) => out.push_str(&format!("datetime.date({}, {}, {})", date.year, date.month, date.day)),
            None => out.push_str(text),
        },
        Value::Time(text) => match iso::Time::parse(text) {
            Some(time) => write_time(out, time),
            None => out.push_str(text),
        },
        Value::Decimal(text) => out.push_str(&format!("Decimal('{text}')")),
        Value::Uuid(uuid) => out.push_str(&format!("UUID('{uuid}')")),
        Value::List(_) | Value::Map(_) | Value::Pairs(_) => {}
    }
}

fn write_datetime(out: &mut String, date: iso::Date, time: iso::Time) {
    let iso::Date { year, month, day } = date;
    out.push_str(&format!("datetime.datetime({year}, {month}, {day}, {}", clock(time)));
    write_tzinfo(out, time.offset);
    out.push(')');
}

fn write_time(out: &mut String, time: iso::Time) {
    out.push_str(&format!("datetime.time({}", clock(time)));
    write_tzinfo(out, time.offset);
    out.push(')');
}

/// Hours and minutes, and the rest as far as it is not zero.
fn clock(time: iso::Time) -> String {
    let iso::Time { hour, minute, second, micro, .. } = time;
    match (second, micro) {
        (0, 0) => format!("{hour}, {minute}"),
        (_, 0) => format!("{hour}, {minute}, {second}"),
        _ => format!("{hour}, {minute}, {second}, {micro}"),
    }
}

fn write_tzinfo(out: &mut String, offset: Option<i64>) {
    const DAY: i64 = 86_400;
    let Some(offset) = offset else { return };
    if offset == 0 {
        return out.push_str(", tzinfo=datetime.timezone.utc");
    }
    let seconds = offset.div_euclid(1_000_000);
    let parts = [
        ("days", seconds.div_euclid(DAY)),
        ("seconds", seconds.rem_euclid(DAY)),
        ("microseconds", offset.rem_euclid(1_000_000)),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(_, amount)| *amount != 0).map(|(name, amount)| format!("{name}={amount}")).collect();
    out.push_str(&format!(", tzinfo=datetime.timezone(datetime.timedelta({}))", parts.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    #[test]
    fn values_look_as_in_python() {
        let table = [
            ("[null, true, 1, 1.5, NaN, 1e22, \"a\"]", "[None, True, 1, 1.5, nan, 1e+22, 'a']"),
            (r#"{"a": {"b": []}}"#, "{'a': {'b': []}}"),
            (r#""it's""#, "\"it's\""),
            (r#""it's \"so\"""#, r#"'it\'s "so"'"#),
            (r#""\\ \n\t\u0001\u007f\u00a0\u00e9\u200b\ud83d\ude00\ud800""#, r"'\\ \n\t\x01\x7f\xa0é\u200b😀\ud800'"),
            (r#""a\u0301""#, "'a\u{301}'"),
            (r#"{"__type__": "bytes", "__value__": "a'\n\u00e9"}"#, r#"b"a'\n\xc3\xa9""#),
            (
                r#"{"__type__": "datetime", "__value__": "2026-11-20T17:41:23.655378+00:00"}"#,
                "datetime.datetime(2026, 11, 20, 17, 41, 23, 655378, tzinfo=datetime.timezone.utc)",
            ),
            (
                r#"{"__type__": "datetime", "__value__": "2026-11-20T00:00:00"}"#,
                "datetime.datetime(2026, 11, 20, 0, 0)",
            ),
            (
                r#"{"__type__": "datetime", "__value__": "2026-11-20T01:00:00-05:00"}"#,
                "datetime.datetime(2026, 11, 20, 1, 0, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=68400)))",
            ),
            (r#"{"__type__": "date", "__value__": "2026-11-20"}"#, "datetime.date(2026, 11, 20)"),
            (r#"{"__type__": "time", "__value__": "17:41:00.5"}"#, "datetime.time(17, 41, 0, 500000)"),
            (r#"{"__type__": "decimal", "__value__": "1.10"}"#, "Decimal('1.10')"),
            (
                r#"{"__type__": "uuid", "__value__": {"hex": "9a2cbdf1b5d64ac88a9a2cbdf1b5d64a"}}"#,
                "UUID('9a2cbdf1-b5d6-4ac8-8a9a-2cbdf1b5d64a')",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(repr(&json::parse_str(text).unwrap()), expected);
        }
    }
}
