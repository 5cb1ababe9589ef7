//! kombu's YAML: what PyYAML's `safe_load` makes of a document, which is YAML 1.1 with PyYAML's own regular expressions.
//!
//! Lone surrogates can be written, but not read: the scanner refuses their escapes.
//!
//! Written as flow collections in double quotes, which `safe_load` reads back to the same values.

mod compose;
mod construct;
mod number;
mod resolve;
#[cfg(test)]
mod tests;
mod timestamp;
mod writer;

pub use writer::to_string;

use crate::serialization::{DecodeError, EncodeError, Value};

/// How deep collections may be nested.
const MAX_DEPTH: usize = 200;

/// Bytes that a value may come to once all aliases are written out, unless the document itself is large.
const MAX_WEIGHT: usize = 128 << 20;

/// How many times its own size a large document may come to.
const MAX_GROWTH: usize = 32;

/// Reads one document; nothing at all is null.
///
/// # Errors
/// `Malformed` for syntax errors, further documents, tags of Python objects and other types that are no plain data;
/// `TooLarge` for nests and aliases that grow without bounds.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(format!("not UTF-8: {error}")))?;
    compose::document(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { format: "yaml", reason: reason.into() }
}

fn unsupported(reason: impl Into<String>) -> EncodeError {
    EncodeError::Unsupported { format: "yaml", reason: reason.into() }
}
