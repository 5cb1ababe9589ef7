//! Raw data: bytes and text without any structure (`raw_encode`, and kombu's way with types that have no decoder).

use bytes::Bytes;

use crate::serialization::{DecodeError, EncodeError, Encoded, Value};

/// Decodes text, or leaves bytes alone when the encoding is `binary` or `ascii-8bit`.
pub(super) fn decode(body: &[u8], encoding: &str) -> Result<Value, DecodeError> {
    let encoding = encoding.to_ascii_lowercase();
    match encoding.as_str() {
        "binary" | "ascii-8bit" => Ok(Value::Bytes(Bytes::copy_from_slice(body))),
        "" | "utf-8" | "utf8" => utf8(body),
        "us-ascii" | "ascii" if body.is_ascii() => utf8(body),
        "us-ascii" | "ascii" => Err(malformed("not ASCII".to_owned())),
        "latin-1" | "latin1" | "iso-8859-1" => Ok(Value::Str(body.iter().map(|&byte| char::from(byte)).collect())),
        other => Err(malformed(format!("unknown encoding {other:?}"))),
    }
}

/// `raw`: a string becomes UTF-8, bytes stay as they are.
pub(super) fn encode(value: &Value) -> Result<Encoded, EncodeError> {
    let (body, content_encoding) = match value {
        Value::Str(text) => (Bytes::copy_from_slice(text.as_bytes()), "utf-8"),
        Value::Bytes(bytes) => (bytes.clone(), "binary"),
        _ => return Err(EncodeError::Unsupported { format: "raw", reason: "only str and bytes".to_owned() }),
    };
    Ok(Encoded { body, content_type: "application/data", content_encoding })
}

fn utf8(body: &[u8]) -> Result<Value, DecodeError> {
    match std::str::from_utf8(body) {
        Ok(text) => Ok(Value::Str(text.to_owned())),
        Err(error) => Err(malformed(format!("not UTF-8: {error}"))),
    }
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed { format: "text", reason }
}
