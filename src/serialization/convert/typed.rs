//! The tunnel for types that serde has no word for: newtype structs of these names, which only our two ends know.

use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use super::de::ValueDeserializer;
use crate::serialization::{Value, ValueError};

/// What [`Value`]'s `Deserialize` asks for.
pub(super) const ANY: &str = "$celery.value";

pub(super) const BIG_INT: &str = "$celery.int";
pub(super) const WIDE_STR: &str = "$celery.str";
pub(super) const DATE_TIME: &str = "$celery.datetime";
pub(super) const DATE: &str = "$celery.date";
pub(super) const TIME: &str = "$celery.time";
pub(super) const DECIMAL: &str = "$celery.decimal";
pub(super) const UUID: &str = "$celery.uuid";

/// The names as serde wants a list of variants.
pub(super) const NAMES: &[&str] = &[BIG_INT, WIDE_STR, DATE_TIME, DATE, TIME, DECIMAL, UUID];

/// The name of a value's tunnel and what goes through it, or the value itself if it needs none.
pub(super) fn split(value: Value) -> Result<(&'static str, Value), Value> {
    match value {
        Value::BigInt(text) => Ok((BIG_INT, Value::Str(text.into()))),
        Value::WideStr(units) => {
            Ok((WIDE_STR, Value::List(units.iter().map(|&unit| Value::Int(unit.into())).collect())))
        }
        Value::DateTime(text) => Ok((DATE_TIME, Value::Str(text.into()))),
        Value::Date(text) => Ok((DATE, Value::Str(text.into()))),
        Value::Time(text) => Ok((TIME, Value::Str(text.into()))),
        Value::Decimal(text) => Ok((DECIMAL, Value::Str(text.into()))),
        Value::Uuid(uuid) => Ok((UUID, Value::Str(uuid.to_string()))),
        other => Err(other),
    }
}

/// The typed value that went in as `inner` under this name; `inner` itself when the name is not one of ours.
pub(super) fn join(name: &str, inner: Value) -> Value {
    match (name, inner) {
        (BIG_INT, Value::Str(text)) => Value::BigInt(text.into()),
        (DATE_TIME, Value::Str(text)) => Value::DateTime(text.into()),
        (DATE, Value::Str(text)) => Value::Date(text.into()),
        (TIME, Value::Str(text)) => Value::Time(text.into()),
        (DECIMAL, Value::Str(text)) => Value::Decimal(text.into()),
        (UUID, Value::Str(text)) => text.parse().map_or(Value::Str(text), Value::Uuid),
        (WIDE_STR, Value::List(units)) => {
            Value::WideStr(units.iter().filter_map(|unit| u16::try_from(unit.as_i64()?).ok()).collect())
        }
        (_, inner) => inner,
    }
}

/// The reading end: an enum whose variant is the name.
pub(super) struct Tunnel(pub &'static str, pub Value);

impl<'de> EnumAccess<'de> for Tunnel {
    type Error = ValueError;
    type Variant = ValueDeserializer;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, ValueDeserializer), ValueError> {
        let name = seed.deserialize(IntoDeserializer::<ValueError>::into_deserializer(self.0))?;
        Ok((name, ValueDeserializer(self.1)))
    }
}

/// A variant's content: also for enums that are no tunnel.
impl<'de> VariantAccess<'de> for ValueDeserializer {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self.0 {
            Value::Null => Ok(()),
            other => Err(de::Error::invalid_type(super::de::unexpected(&other), &"no content (a unit variant)")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ValueError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ValueError> {
        de::Deserializer::deserialize_any(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}
