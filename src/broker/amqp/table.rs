//! AMQP tables ↔ maps, as py-amqp writes and reads them.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime};
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};

use crate::{
    broker::{BrokerError, amqp::error},
    serialization::{Map, Value},
};

/// How deep tables may be nested; what is deeper is read as null.
const DEPTH_LIMIT: usize = 64;

/// A table to be sent.
///
/// # Errors
/// Refused: a key longer than 255 bytes.
pub(super) fn from_map(map: &Map) -> Result<FieldTable, BrokerError> {
    let entries: Result<BTreeMap<_, _>, BrokerError> =
        map.iter().map(|(name, value)| Ok((short(name)?, from_value(value)?))).collect();
    Ok(FieldTable::from(entries?))
}

/// A name that has to fit AMQP's short strings.
pub(super) fn short(text: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|_| error::too_long(&format!("'{text:.40}...'")))
}

fn from_value(value: &Value) -> Result<AMQPValue, BrokerError> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(b) => AMQPValue::Boolean(*b),
        // py-amqp's own border between the two sizes.
        Value::Int(n) if (-0x7fff_ffff..=0x7fff_ffff).contains(n) => AMQPValue::LongInt(*n as i32),
        Value::Int(n) => AMQPValue::LongLongInt(*n),
        Value::Float(f) => AMQPValue::Double(*f),
        Value::Str(s) => AMQPValue::LongString(s.as_str().into()),
        Value::WideStr(s) => AMQPValue::LongString(String::from_utf16_lossy(s).into()),
        Value::Bytes(b) => AMQPValue::LongString(b.to_vec().into()),
        Value::DateTime(s) => timestamp(s).map_or_else(|| AMQPValue::LongString((**s).into()), AMQPValue::Timestamp),
        Value::BigInt(s) | Value::Date(s) | Value::Time(s) | Value::Decimal(s) => AMQPValue::LongString((**s).into()),
        Value::Uuid(id) => AMQPValue::LongString(id.to_string().into()),
        Value::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(from_value).collect();
            AMQPValue::FieldArray(FieldArray::from(items?))
        }
        Value::Map(map) => AMQPValue::FieldTable(from_map(map)?),
        Value::Pairs(_) => return Err(BrokerError::refused("an AMQP table's keys have to be strings")),
    })
}

fn timestamp(isoformat: &str) -> Option<u64> {
    let instant = match DateTime::parse_from_rfc3339(&isoformat.replacen(' ', "T", 1)) {
        Ok(aware) => aware.timestamp(),
        Err(_) => isoformat.parse::<NaiveDateTime>().ok()?.and_utc().timestamp(),
    };
    instant.try_into().ok()
}

/// A table as received.
pub(super) fn to_map(table: &FieldTable) -> Map {
    map_at(table, DEPTH_LIMIT)
}

fn map_at(table: &FieldTable, depth: usize) -> Map {
    table.inner().iter().map(|(name, value)| (name.as_str().to_owned(), value_at(value, depth))).collect()
}

fn value_at(value: &AMQPValue, depth: usize) -> Value {
    match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(b) => Value::Bool(*b),
        AMQPValue::ShortShortInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortShortUInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortInt(n) => Value::Int((*n).into()),
        AMQPValue::ShortUInt(n) => Value::Int((*n).into()),
        AMQPValue::LongInt(n) => Value::Int((*n).into()),
        AMQPValue::LongUInt(n) => Value::Int((*n).into()),
        AMQPValue::LongLongInt(n) => Value::Int(*n),
        AMQPValue::Float(f) => Value::Float((*f).into()),
        AMQPValue::Double(f) => Value::Float(*f),
        AMQPValue::DecimalValue(d) => Value::Decimal(decimal(*d).into()),
        AMQPValue::ShortString(s) => Value::Str(s.as_str().to_owned()),
        AMQPValue::LongString(s) => text(s.as_bytes()),
        AMQPValue::ByteArray(b) => Value::Bytes(Bytes::copy_from_slice(b.as_slice())),
        AMQPValue::Timestamp(t) => date_time(*t),
        AMQPValue::FieldArray(items) if depth > 0 => {
            Value::List(items.as_slice().iter().map(|item| value_at(item, depth - 1)).collect())
        }
        AMQPValue::FieldTable(table) if depth > 0 => Value::Map(map_at(table, depth - 1)),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => Value::Null,
    }
}

/// Text where it is text; py-amqp gives bytes where it is not.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Str(text.to_owned()),
        Err(_) => Value::Bytes(Bytes::copy_from_slice(bytes)),
    }
}

/// A naive datetime in UTC, as py-amqp has it.
fn date_time(seconds: u64) -> Value {
    let instant = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    match instant {
        Some(instant) => Value::DateTime(instant.format("%Y-%m-%dT%H:%M:%S").to_string().into()),
        None => Value::BigInt(seconds.to_string().into()),
    }
}

fn decimal(value: DecimalValue) -> String {
    // py-amqp writes and reads a signed number here.
    let number = value.value as i32;
    let (sign, mut digits) = (if number < 0 { "-" } else { "" }, number.unsigned_abs().to_string());
    let scale = usize::from(value.scale);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    let point = digits.len() - scale;
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};

    use super::{DEPTH_LIMIT, decimal, from_map, to_map};
    use crate::serialization::{Map, Value};

    #[test]
    fn maps_come_back() {
        let map: Map = [
            ("a", Value::Null),
            ("b", Value::Bool(true)),
            ("c", Value::Int(-2_147_483_648)),
            ("d", Value::Int(i64::MAX)),
            ("e", Value::Float(1.5)),
            ("f", Value::from("ü")),
            ("g", Value::DateTime("2024-02-29T12:30:00".into())),
            ("h", Value::List(vec![Value::Int(1), Value::Map(Map::new())])),
            ("i", Value::Bytes(bytes::Bytes::from_static(b"\xff\x00"))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        assert_eq!(to_map(&from_map(&map).unwrap()), map);
    }

    #[test]
    fn what_amqp_cannot_say_is_said_otherwise_or_refused() {
        let one = |value| Map::from_iter([("k".to_owned(), value)]);
        let back = |value| to_map(&from_map(&one(value)).unwrap()).swap_remove("k").unwrap();
        assert_eq!(back(Value::BigInt("9".repeat(30).into())), Value::from("9".repeat(30)));
        assert_eq!(
            back(Value::DateTime("2024-02-29T12:30:00+02:00".into())),
            Value::DateTime("2024-02-29T10:30:00".into())
        );
        assert!(from_map(&one(Value::Pairs(Vec::new()))).is_err());
        assert!(from_map(&Map::from_iter([("k".repeat(256), Value::Null)])).is_err());
    }

    #[test]
    fn decimals() {
        for (scale, value, text) in [(0, 7, "7"), (2, 12345, "123.45"), (3, 7, "0.007"), (1, (-15i32) as u32, "-1.5")] {
            assert_eq!(decimal(DecimalValue { scale, value }), text);
        }
    }

    #[test]
    fn deep_tables_end() {
        let deep = (0..1000).fold(AMQPValue::Void, |inner, _| AMQPValue::FieldArray(FieldArray::from(vec![inner])));
        let mut table = FieldTable::default();
        table.insert("x".into(), deep);
        let map = to_map(&table);
        let mut value = &map["x"];
        let mut depth = 0;
        while let Value::List(items) = value {
            depth += 1;
            value = &items[0];
        }
        assert_eq!(depth, DEPTH_LIMIT);
    }
}
