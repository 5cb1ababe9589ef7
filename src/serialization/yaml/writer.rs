//! The writer: one line of flow collections, every string in double quotes.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{MAX_DEPTH, unsupported};
use crate::serialization::{EncodeError, Value, float};

/// PyYAML looks no further than 1024 characters for the colon after a key.
const MAX_SIMPLE_KEY: usize = 900;

/// Writes a value so that `yaml.safe_load` reads the same value.
///
/// # Errors
/// `Unsupported` for what `safe_dump` refuses, too: `time`, `Decimal`, `UUID`; for containers as keys, and deep nests.
pub fn to_string(value: &Value) -> Result<String, EncodeError> {
    let mut out = String::with_capacity(128);
    write(&mut out, value, 0)?;
    out.push('\n');
    Ok(out)
}

fn write(out: &mut String, value: &Value, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(unsupported("it is nested too deeply"));
    }
    match value {
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(out, item, depth + 1)?;
            }
            out.push(']');
            Ok(())
        }
        Value::Map(map) => {
            let write_key = |out: &mut String, key: &String| {
                write_str(out, key.encode_utf16());
                Ok(())
            };
            write_mapping(out, map.iter(), write_key, depth)
        }
        Value::Pairs(pairs) => write_mapping(out, pairs.iter().map(|(key, value)| (key, value)), write_scalar, depth),
        scalar => write_scalar(out, scalar),
    }
}

fn write_mapping<'a, K>(
    out: &mut String,
    entries: impl Iterator<Item = (K, &'a Value)>,
    write_key: impl Fn(&mut String, K) -> Result<(), EncodeError>,
    depth: usize,
) -> Result<(), EncodeError> {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        let start = out.len();
        write_key(out, key)?;
        if out.len() - start > MAX_SIMPLE_KEY {
            out.insert_str(start, "? ");
        }
        out.push_str(" : ");
        write(out, value, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

fn write_scalar(out: &mut String, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(number) => write_float(out, *number),
        Value::Str(text) => write_str(out, text.encode_utf16()),
        Value::WideStr(units) => write_str(out, units.iter().copied()),
        Value::Bytes(bytes) => {
            let _ = write!(out, "!!binary \"{}\"", STANDARD.encode(bytes));
        }
        Value::DateTime(text) | Value::Date(text) => {
            let _ = write!(out, "!!timestamp \"{text}\"");
        }
        Value::Time(_) | Value::Decimal(_) | Value::Uuid(_) => return Err(unsupported("no time, Decimal or UUID")),
        Value::List(_) | Value::Map(_) | Value::Pairs(_) => return Err(unsupported("a list or dict cannot be a key")),
    }
    Ok(())
}

/// YAML 1.1 takes nothing without a point for a float.
fn write_float(out: &mut String, number: f64) {
    if number.is_nan() {
        return out.push_str(".nan");
    }
    if number.is_infinite() {
        return out.push_str(if number > 0.0 { ".inf" } else { "-.inf" });
    }
    let start = out.len();
    float::write_finite(out, number);
    if let Some(at) = out[start..].find('e').filter(|_| !out[start..].contains('.')) {
        out.insert_str(start + at, ".0");
    }
}

/// Escapes by code point: PyYAML does not put surrogate pairs together.
fn write_str(out: &mut String, units: impl Iterator<Item = u16>) {
    out.push('"');
    for char in char::decode_utf16(units) {
        let _ = match char {
            Ok(char @ ('"' | '\\')) => write!(out, "\\{char}"),
            Ok(char @ ' '..='~') => write!(out, "{char}"),
            Ok(char) => match u32::from(char) {
                code @ ..0x100 => write!(out, "\\x{code:02x}"),
                code @ ..0x10000 => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            },
            Err(lone) => write!(out, "\\u{:04x}", lone.unpaired_surrogate()),
        };
    }
    out.push('"');
}
