//! The writer: `json.dumps` with its default separators and ASCII escapes.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::MAX_DEPTH;
use crate::serialization::{EncodeError, Map, Value, float};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the JSON of a value.
///
/// # Errors
/// As [`to_string`](super::to_string); what was appended until then stays.
pub fn write(out: &mut String, value: &Value) -> Result<(), EncodeError> {
    write_value(out, value, 0)
}

/// Appends the JSON of an object.
///
/// # Errors
/// As [`write()`].
pub fn write_map(out: &mut String, map: &Map) -> Result<(), EncodeError> {
    write_entries(out, map, 0)
}

/// Appends a string with its quotes.
pub fn write_str(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        if let Some(char) = chars.next() {
            escape(out, char);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn write_value(out: &mut String, value: &Value, depth: usize) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => write_int(out, *number),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(number) => write_float(out, *number),
        Value::Str(text) => write_str(out, text),
        Value::WideStr(units) => write_wide(out, units),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::DateTime(text) => write_envelope(out, "datetime", text),
        Value::Date(text) => write_envelope(out, "date", text),
        Value::Time(text) => write_envelope(out, "time", text),
        Value::Decimal(text) => write_envelope(out, "decimal", text),
        Value::Uuid(uuid) => {
            let _ = write!(out, "{{\"__type__\": \"uuid\", \"__value__\": {{\"hex\": \"{}\"}}}}", uuid.simple());
        }
        Value::List(items) => return write_list(out, items, deeper(depth)?),
        Value::Map(map) => return write_entries(out, map, depth),
        Value::Pairs(pairs) => {
            let depth = deeper(depth)?;
            return write_object(out, pairs.iter().map(|(key, value)| (key, value)), write_key, depth);
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, EncodeError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(unsupported(format!("nested deeper than {MAX_DEPTH} levels"))) }
}

fn write_list(out: &mut String, items: &[Value], depth: usize) -> Result<(), EncodeError> {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_value(out, item, depth)?;
    }
    out.push(']');
    Ok(())
}

fn write_entries(out: &mut String, map: &Map, depth: usize) -> Result<(), EncodeError> {
    let write_key = |out: &mut String, key: &String| {
        write_str(out, key);
        Ok(())
    };
    write_object(out, map, write_key, deeper(depth)?)
}

fn write_object<'a, K>(
    out: &mut String,
    entries: impl IntoIterator<Item = (K, &'a Value)>,
    write_key: impl Fn(&mut String, K) -> Result<(), EncodeError>,
    depth: usize,
) -> Result<(), EncodeError> {
    out.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_key(out, key)?;
        out.push_str(": ");
        write_value(out, value, depth)?;
    }
    out.push('}');
    Ok(())
}

/// Python turns scalar keys into strings and refuses all others.
fn write_key(out: &mut String, key: &Value) -> Result<(), EncodeError> {
    match key {
        Value::Str(_) | Value::WideStr(_) => write_value(out, key, 0),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
            out.push('"');
            write_value(out, key, 0)?;
            out.push('"');
            Ok(())
        }
        _ => Err(unsupported("keys must be str, int, float, bool or None".to_owned())),
    }
}

fn write_int(out: &mut String, number: i64) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn write_float(out: &mut String, number: f64) {
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        float::write_finite(out, number);
    }
}

fn write_envelope(out: &mut String, marker: &str, text: &str) {
    let _ = write!(out, "{{\"__type__\": \"{marker}\", \"__value__\": ");
    write_str(out, text);
    out.push('}');
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_envelope(out, "bytes", text),
        Err(_) => write_envelope(out, "base64", &STANDARD.encode(bytes)),
    }
}

fn write_wide(out: &mut String, units: &[u16]) {
    out.push('"');
    for char in char::decode_utf16(units.iter().copied()) {
        match char {
            Ok(char) if char.is_ascii() && is_plain(char as u8) => out.push(char),
            Ok(char) => escape(out, char),
            Err(lone) => escape_unit(out, lone.unpaired_surrogate()),
        }
    }
    out.push('"');
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(out: &mut String, char: char) {
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        char => char.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| escape_unit(out, unit)),
    }
}

fn escape_unit(out: &mut String, unit: u16) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(HEX[usize::from(unit >> shift & 0xf)]));
    }
}

fn unsupported(reason: String) -> EncodeError {
    EncodeError::Unsupported { format: "json", reason }
}
