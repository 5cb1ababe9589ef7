//! [`Arguments`]: a call's `args` and `kwargs`, and how they meet a handler's parameters.
//!
//! What serde asks for decides. A struct takes its fields from any mix of positional arguments (in the order of the
//! fields) and keyword arguments (by the fields' names). A tuple takes positional arguments, or keywords too where the
//! registration names them. Anything else is one argument.

use std::fmt::Display;

use serde::{
    Deserializer, de,
    de::{DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::{
    serialization::{Map, Value, ValueDeserializer},
    task::{
        Function, slots,
        slots::{Slot, Slots},
    },
};

/// The arguments of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments {
    /// Positional.
    pub args: Vec<Value>,
    /// By keyword.
    pub kwargs: Map,
}

/// A call that does not fit the handler: Python's `TypeError`, with Python's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CallError {
    text: String,
    /// A field that the call lacks and that has no default.
    lacks: Option<&'static str>,
}

impl CallError {
    pub(super) fn text(text: String) -> Self {
        Self { text, lacks: None }
    }

    fn explained(self, function: &Function) -> Self {
        match self.lacks {
            Some(field) => slots::missing(function.short_name(), &[format!("'{field}'")]),
            None => self,
        }
    }
}

impl de::Error for CallError {
    fn custom<T: Display>(text: T) -> Self {
        Self::text(text.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self { text: String::new(), lacks: Some(field) }
    }
}

impl Arguments {
    /// Makes the one parameter that stands for all arguments.
    pub fn bind<T: DeserializeOwned>(self, function: &Function) -> Result<T, CallError> {
        T::deserialize(Call { arguments: self, function }).map_err(|error| error.explained(function))
    }
}

/// The whole call as a serde deserializer.
struct Call<'f> {
    arguments: Arguments,
    function: &'f Function,
}

impl Call<'_> {
    /// The only argument, for types that are no tuple and no struct.
    fn single(self) -> Result<Slot, CallError> {
        let mut slots = Slots::place(self.arguments, self.function, self.function.parameters(), 1)?;
        let slot = slots.next_slot().unwrap_or_default();
        if slot.is_present() { Ok(slot) } else { Err(slots.missing(self.function, &slot)) }
    }
}

macro_rules! single {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CallError> {
            let function = self.function;
            self.single()?.read(function, |value| value.$method(visitor))
        })*
    };
}

impl<'de> Deserializer<'de> for Call<'_> {
    type Error = CallError;

    single! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_seq deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CallError> {
        if self.arguments.args.is_empty() && self.arguments.kwargs.is_empty() {
            return visitor.visit_none();
        }
        let function = self.function;
        self.single()?.read(function, |value| value.deserialize_option(visitor))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CallError> {
        Slots::place(self.arguments, self.function, None, 0)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, CallError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, CallError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CallError> {
        let slots = Slots::place(self.arguments, self.function, self.function.parameters(), len)?;
        visitor.visit_seq(Positions { slots, function: self.function })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, CallError> {
        self.deserialize_tuple(len, visitor)
    }

    /// A struct with `#[serde(flatten)]`, or a dict: all keywords, or the one positional argument.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CallError> {
        if !self.arguments.args.is_empty() {
            let function = self.function;
            return self.single()?.read(function, |value| value.deserialize_map(visitor));
        }
        let all = ValueDeserializer(Value::Map(self.arguments.kwargs));
        let told = |error| CallError::text(format!("{}() arguments: {error}", self.function.short_name()));
        all.deserialize_map(visitor).map_err(told)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CallError> {
        let slots = Slots::place(self.arguments, self.function, Some(fields), fields.len())?;
        visitor.visit_map(Fields { slots, value: None, function: self.function })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CallError> {
        let function = self.function;
        self.single()?.read(function, |value| value.deserialize_enum(name, variants, visitor))
    }
}

/// A tuple's elements.
struct Positions<'f> {
    slots: Slots,
    function: &'f Function,
}

impl<'de> SeqAccess<'de> for Positions<'_> {
    type Error = CallError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CallError> {
        let Some(slot) = self.slots.next_slot() else { return Ok(None) };
        match slot.is_present() {
            true => slot.read(self.function, |value| seed.deserialize(value)).map(Some),
            false => seed.deserialize(Absent).map(Some).map_err(|_| self.slots.missing(self.function, &slot)),
        }
    }
}

/// A struct's fields: those that the call has.
struct Fields<'f> {
    slots: Slots,
    value: Option<Slot>,
    function: &'f Function,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = CallError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CallError> {
        let Some(slot) = self.slots.next_present() else { return Ok(None) };
        let key = seed.deserialize(IntoDeserializer::<CallError>::into_deserializer(slot.name()))?;
        self.value = Some(slot);
        Ok(Some(key))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CallError> {
        let slot = self.value.take().unwrap_or_default();
        slot.read(self.function, |value| seed.deserialize(value))
    }
}

/// What an argument that is not there looks like: `None` for an `Option`, an error for all else.
pub(super) struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = CallError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, CallError> {
        Err(CallError::text(String::new()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CallError> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
