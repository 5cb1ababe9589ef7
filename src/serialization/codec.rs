//! The registry: which serializer reads and writes what (`kombu/serialization.py:SerializerRegistry`).

use bytes::Bytes;

use crate::serialization::{AcceptContent, DecodeError, EncodeError, Value, json, msgpack, pickle, text, yaml};

/// A serialized value with the two properties that tell a reader what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub body: Bytes,
    /// MIME type.
    pub content_type: &'static str,
    /// `utf-8` or `binary`.
    pub content_encoding: &'static str,
}

impl Encoded {
    fn text(body: String, content_type: &'static str) -> Self {
        Self { body: body.into(), content_type, content_encoding: "utf-8" }
    }

    fn binary(body: Vec<u8>, content_type: &'static str) -> Self {
        Self { body: body.into(), content_type, content_encoding: "binary" }
    }
}

/// Reads a body by its content type, if `accept` has it (`registry.loads`).
///
/// An empty content type counts as `application/data`, an empty encoding as `utf-8`; an empty body is returned as it is.
///
/// # Errors
/// `ContentDisallowed` before anything is read; `Malformed`, `TooLarge`; `UnknownContentType` for an accepted type whose
/// decoder only Python has.
pub fn decode(
    body: &[u8],
    content_type: &str,
    content_encoding: &str,
    accept: &AcceptContent,
) -> Result<Value, DecodeError> {
    let content_type = if content_type.is_empty() { "application/data" } else { content_type };
    accept.check(content_type)?;
    if body.is_empty() {
        return Ok(Value::Bytes(Bytes::new()));
    }
    match content_type {
        "application/json" => json::parse(body),
        "application/x-msgpack" => msgpack::parse(body),
        "application/x-python-serialize" => pickle::parse(body),
        "application/x-yaml" => yaml::parse(body),
        "application/data" => text::decode(body, content_encoding),
        other if other.starts_with("text/") || other == "application/text" => text::decode(body, content_encoding),
        other => Err(DecodeError::UnknownContentType(other.to_owned())),
    }
}

/// Whether [`encode`] has this serializer; others are Python code that an app or a package has registered.
pub fn knows(serializer: &str) -> bool {
    !matches!(encode(&Value::Null, serializer), Err(EncodeError::UnknownSerializer(_)))
}

/// Writes a value with a serializer by its name or MIME type (`registry.dumps`).
///
/// # Errors
/// `UnknownSerializer`, or `Unsupported` for a value that the format cannot express.
pub fn encode(value: &Value, serializer: &str) -> Result<Encoded, EncodeError> {
    match serializer {
        "json" | "application/json" => Ok(Encoded::text(json::to_string(value)?, "application/json")),
        "msgpack" | "application/x-msgpack" => Ok(Encoded::binary(msgpack::to_vec(value)?, "application/x-msgpack")),
        "pickle" | "application/x-python-serialize" => {
            Ok(Encoded::binary(pickle::to_vec(value)?, "application/x-python-serialize"))
        }
        "yaml" | "application/x-yaml" => Ok(Encoded::text(yaml::to_string(value)?, "application/x-yaml")),
        "raw" => text::encode(value),
        other => Err(EncodeError::UnknownSerializer(other.to_owned())),
    }
}
