//! `{"__type__": marker, "__value__": value}`: types that JSON lacks (`kombu/utils/json.py:object_hook`).

use base64::{Engine, alphabet, engine::general_purpose};
use bytes::Bytes;
use uuid::Uuid;

use super::malformed;
use crate::serialization::{DecodeError, Map, Value, decimal, iso};

/// Python's `b64decode` does not look at the bits that padding leaves over.
const BASE64: general_purpose::GeneralPurpose = general_purpose::GeneralPurpose::new(
    &alphabet::STANDARD,
    general_purpose::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The value inside, if the object is an envelope: has exactly these two keys. Otherwise the object itself.
pub(super) fn open(mut map: Map) -> Result<Value, DecodeError> {
    if map.len() != 2 || !map.contains_key("__type__") || !map.contains_key("__value__") {
        return Ok(Value::Map(map));
    }
    let value = map.swap_remove("__value__").unwrap_or_default();
    match map.get("__type__") {
        Some(Value::Str(marker)) => typed(marker, value),
        other => Err(malformed(format!("unsupported type {other:?} in an envelope"))),
    }
}

fn typed(marker: &str, value: Value) -> Result<Value, DecodeError> {
    let decoded = match marker {
        "datetime" => text(&value).and_then(datetime),
        "date" => text(&value).and_then(date),
        "time" => text(&value).and_then(time),
        "decimal" => decimal(&value),
        "uuid" => uuid(&value),
        "bytes" => text(&value).map(|text| Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        "base64" => text(&value).and_then(base64),
        other => return Err(malformed(format!("unsupported type {other:?} in an envelope"))),
    };
    decoded.ok_or_else(|| malformed(format!("invalid value for type {marker:?} in an envelope")))
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn datetime(text: &str) -> Option<Value> {
    let (date, time) = iso::parse_datetime(text)?;
    Some(Value::DateTime(iso::format_datetime(date, time).into()))
}

fn date(text: &str) -> Option<Value> {
    iso::parse_datetime(text).map(|(date, _)| Value::Date(date.to_string().into()))
}

fn time(text: &str) -> Option<Value> {
    iso::Time::parse(text).map(|time| Value::Time(time.to_string().into()))
}

fn decimal(value: &Value) -> Option<Value> {
    let text = match value {
        Value::Str(text) => decimal::canonical(text)?,
        Value::Int(number) => number.to_string(),
        Value::BigInt(digits) => digits.to_string(),
        _ => return None,
    };
    Some(Value::Decimal(text.into()))
}

/// `uuid.UUID(**value)`; kombu writes `hex` only.
fn uuid(value: &Value) -> Option<Value> {
    let map = value.as_map()?;
    let hex = map.get("hex")?.as_str()?;
    if map.len() != 1 {
        return None;
    }
    let digits = hex.replace("urn:", "").replace("uuid:", "");
    let digits = digits.trim_matches(['{', '}']).replace('-', "");
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(|number| Value::Uuid(Uuid::from_u128(number)))
}

fn base64(text: &str) -> Option<Value> {
    let kept: Vec<u8> = text.bytes().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')).collect();
    BASE64.decode(kept).ok().map(|bytes| Value::Bytes(bytes.into()))
}
