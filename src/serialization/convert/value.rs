//! [`Value`] itself as a serde type, for fields of native tasks that take anything.

use std::fmt;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};

use super::typed;
use crate::serialization::{Map, Value};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Str(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::BigInt(text) => serializer.serialize_newtype_struct(typed::BIG_INT, &**text),
            Value::WideStr(units) => serializer.serialize_newtype_struct(typed::WIDE_STR, &**units),
            Value::DateTime(text) => serializer.serialize_newtype_struct(typed::DATE_TIME, &**text),
            Value::Date(text) => serializer.serialize_newtype_struct(typed::DATE, &**text),
            Value::Time(text) => serializer.serialize_newtype_struct(typed::TIME, &**text),
            Value::Decimal(text) => serializer.serialize_newtype_struct(typed::DECIMAL, &**text),
            Value::Uuid(uuid) => serializer.serialize_newtype_struct(typed::UUID, &uuid.to_string()),
            Value::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Value::Map(map) => serializer.collect_map(map),
            Value::Pairs(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(typed::ANY, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Str(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or_default().min(1024));
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            pairs.push(entry);
        }
        Ok(Value::from_pairs(pairs))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tunnel: A) -> Result<Value, A::Error> {
        let (name, content) = tunnel.variant::<String>()?;
        if !typed::NAMES.contains(&name.as_str()) {
            return Err(Error::unknown_variant(&name, typed::NAMES));
        }
        Ok(typed::join(&name, content.newtype_variant()?))
    }
}

impl Value {
    /// A dict: with string keys if they all are, else as pairs. Of equal keys the last one wins.
    pub(crate) fn from_pairs(pairs: Vec<(Value, Value)>) -> Value {
        if !pairs.iter().all(|(key, _)| matches!(key, Value::Str(_))) {
            let unique: IndexMap<String, (Value, Value)> =
                pairs.into_iter().map(|pair| (format!("{:?}", pair.0), pair)).collect();
            return Value::Pairs(unique.into_values().collect());
        }
        let mut map = Map::with_capacity(pairs.len());
        for (key, value) in pairs {
            if let Value::Str(key) = key {
                map.insert(key, value);
            }
        }
        Value::Map(map)
    }
}
