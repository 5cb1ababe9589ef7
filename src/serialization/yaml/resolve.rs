//! What a scalar is: by its tag, else by its looks (`yaml/resolver.py`), else a string.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use saphyr_parser::{Event, ScalarStyle};

use super::{compose::Tag, malformed, number, timestamp};
use crate::serialization::{DecodeError, Value};

pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Tag) -> Result<Value, DecodeError> {
    let made = match tag.as_deref() {
        None if style == ScalarStyle::Plain => return plain(text),
        None | Some("str") => Some(Value::Str(text.to_owned())),
        Some("null") => Some(Value::Null),
        Some("bool") => boolean(&text.to_lowercase()).map(Value::Bool),
        Some("int") => number::integer(text),
        Some("float") => number::float(text).or_else(|| text.replace('_', "").parse().ok()).map(Value::Float),
        Some("timestamp") => timestamp::parse(text),
        Some("binary") => binary(text),
        Some(other) => return Err(malformed(format!("a scalar tagged {other:?} is no plain data"))),
    };
    made.ok_or_else(|| malformed(format!("{text:?} is not what its tag says")))
}

/// Whether this is the key that merges other mappings into its own.
pub(super) fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
        Event::Scalar(_, _, _, Some(tag)) => tag.is_yaml_core_schema() && tag.suffix == "merge",
        _ => false,
    }
}

fn plain(text: &str) -> Result<Value, DecodeError> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "=" | "<<" => return Err(malformed(format!("could not determine a constructor for a plain {text:?}"))),
        _ => {
            if let Some(flag) = plain_boolean(text) {
                return Ok(Value::Bool(flag));
            }
            match text.as_bytes()[0] {
                b'0'..=b'9' | b'-' | b'+' | b'.' => numeric(text)?,
                _ => Value::Str(text.to_owned()),
            }
        }
    })
}

fn numeric(text: &str) -> Result<Value, DecodeError> {
    if let Some(number) = number::integer(text) {
        return Ok(number);
    }
    if let Some(number) = number::float(text) {
        return Ok(Value::Float(number));
    }
    if timestamp::looks_like(text) {
        return timestamp::parse(text).ok_or_else(|| malformed(format!("{text:?} is no time that exists")));
    }
    Ok(Value::Str(text.to_owned()))
}

/// All lower case, all upper case, or capitalized.
fn plain_boolean(text: &str) -> Option<bool> {
    if text.len() > 5 || !text.is_ascii() {
        return None;
    }
    let (lower, (first, rest)) = (text.to_lowercase(), text.split_at(1));
    let uniform = text == lower || text == text.to_uppercase();
    let capitalized = first.to_uppercase() == first && rest.to_lowercase() == rest;
    if uniform || capitalized { boolean(&lower) } else { None }
}

fn boolean(lower: &str) -> Option<bool> {
    match lower {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn binary(text: &str) -> Option<Value> {
    let packed: Cow<'_, str> = text.split_ascii_whitespace().collect();
    STANDARD.decode(packed.as_bytes()).ok().map(|bytes| Value::Bytes(bytes.into()))
}
