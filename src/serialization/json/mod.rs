//! kombu's JSON: Python's `json` with its leniencies, and envelopes for types that JSON lacks.
//!
//! Not `serde_json`: that refuses `NaN`, integers of any length and lone surrogates, all of which Celery sends.

mod envelope;
mod number;
mod parser;
mod printer;
mod string;
#[cfg(test)]
mod tests;

pub use printer::{write, write_map, write_str};

use crate::serialization::{DecodeError, EncodeError, Value};

/// How deep lists and objects may be nested, as Python's recursion limit has it.
pub const MAX_DEPTH: usize = 1000;

/// Reads one JSON text with kombu's envelopes (`kombu/utils/json.py:loads`).
///
/// # Errors
/// `Malformed` with Python's words and position, or `TooLarge` for nests deeper than [`MAX_DEPTH`].
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(format!("not UTF-8: {error}")))?;
    parse_str(text)
}

/// As [`parse`], for text that is already known to be UTF-8.
///
/// # Errors
/// As [`parse`].
pub fn parse_str(text: &str) -> Result<Value, DecodeError> {
    parser::Parser::new(text).document()
}

/// Writes a value as `json.dumps` with its defaults does (`kombu/utils/json.py:dumps`).
///
/// # Errors
/// `Unsupported` for dict keys that JSON has no text for, and for nests deeper than [`MAX_DEPTH`].
pub fn to_string(value: &Value) -> Result<String, EncodeError> {
    let mut out = String::with_capacity(128);
    write(&mut out, value)?;
    Ok(out)
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { format: "json", reason: reason.into() }
}
