//! [`ValueDeserializer`]: a value takes itself apart for a type that asks.

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor, value::StringDeserializer},
    forward_to_deserialize_any,
};

use super::{
    key::KeyDeserializer,
    typed::{self, Tunnel},
};
use crate::serialization::{Value, ValueError};

pub(crate) struct ValueDeserializer(pub Value);

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Int(number) => visitor.visit_i64(number),
            Value::BigInt(digits) => visit_digits(&digits, visitor),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Str(text) => visitor.visit_string(text),
            Value::WideStr(_) => Err(Error::invalid_type(Unexpected::Other("a string with lone surrogates"), &visitor)),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Value::DateTime(text) | Value::Date(text) | Value::Time(text) | Value::Decimal(text) => {
                visitor.visit_string(text.into())
            }
            Value::Uuid(uuid) => visitor.visit_string(uuid.to_string()),
            Value::List(items) => visit_items(items.into_iter(), visitor),
            Value::Map(map) => visit_entries(map.into_iter().map(|(key, value)| (Value::Str(key), value)), visitor),
            Value::Pairs(pairs) => visit_entries(pairs.into_iter(), visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match &self.0 {
            Value::BigInt(digits) => visitor.visit_f64(digits.parse().unwrap_or(f64::NAN)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Bytes(bytes) => visit_items(bytes.iter().map(|&byte| Value::Int(byte.into())), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if name != typed::ANY {
            return visitor.visit_newtype_struct(self);
        }
        match typed::split(self.0) {
            Ok((name, inner)) => visitor.visit_enum(Tunnel(name, inner)),
            Err(plain) => visitor.visit_newtype_struct(Self(plain)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.0 {
            Value::Str(name) => visitor.visit_enum(StringDeserializer::<ValueError>::new(name)),
            Value::Map(map) if map.len() == 1 => {
                let mut entries = map.into_iter().map(|(key, value)| (Value::Str(key), value));
                visitor.visit_enum(OneEntry(entries.next().unwrap_or_default()))
            }
            other => Err(Error::invalid_type(unexpected(&other), &"a variant's name, or a dict of one entry")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier
    }
}

fn visit_digits<'de, V: Visitor<'de>>(digits: &str, visitor: V) -> Result<V::Value, ValueError> {
    if let Ok(number) = digits.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = digits.parse() {
        return visitor.visit_i128(number);
    }
    if let Ok(number) = digits.parse() {
        return visitor.visit_u128(number);
    }
    Err(Error::invalid_type(Unexpected::Other("an integer of more than 128 bits"), &visitor))
}

fn visit_items<'de, V: Visitor<'de>>(items: impl Iterator<Item = Value>, visitor: V) -> Result<V::Value, ValueError> {
    let mut items = Items { items, next: 0 };
    let value = visitor.visit_seq(&mut items)?;
    match items.items.count() {
        0 => Ok(value),
        more => Err(Error::invalid_length(items.next + more, &format!("at most {} elements", items.next).as_str())),
    }
}

fn visit_entries<'de, V: Visitor<'de>>(
    entries: impl Iterator<Item = (Value, Value)>,
    visitor: V,
) -> Result<V::Value, ValueError> {
    visitor.visit_map(Entries { entries, current: None })
}

struct Items<I> {
    items: I,
    next: usize,
}

impl<'de, I: Iterator<Item = Value>> SeqAccess<'de> for &mut Items<I> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ValueError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(ValueDeserializer(item)).map(Some).map_err(|error| error.at(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.size_hint().1
    }
}

struct Entries<I> {
    entries: I,
    current: Option<(String, Value)>,
}

impl<'de, I: Iterator<Item = (Value, Value)>> MapAccess<'de> for Entries<I> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let place = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
        self.current = Some((place, value));
        seed.deserialize(KeyDeserializer(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ValueError> {
        let (place, value) =
            self.current.take().ok_or_else(|| ValueError::custom("a value was asked before its key"))?;
        seed.deserialize(ValueDeserializer(value)).map_err(|error| error.at(format!(".{place}")))
    }
}

/// An enum written as `{variant: content}`.
struct OneEntry((Value, Value));

impl<'de> de::EnumAccess<'de> for OneEntry {
    type Error = ValueError;
    type Variant = ValueDeserializer;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, ValueDeserializer), ValueError> {
        let (name, content) = self.0;
        Ok((seed.deserialize(ValueDeserializer(name))?, ValueDeserializer(content)))
    }
}

/// What a value is, for serde's messages.
pub(super) fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Int(number) => Unexpected::Signed(*number),
        Value::Float(number) => Unexpected::Float(*number),
        Value::Str(text) => Unexpected::Str(text),
        Value::Bytes(bytes) => Unexpected::Bytes(bytes),
        Value::List(_) => Unexpected::Seq,
        Value::Map(_) | Value::Pairs(_) => Unexpected::Map,
        _ => Unexpected::Other("a typed value"),
    }
}
