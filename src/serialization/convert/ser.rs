//! [`ValueSerializer`]: any Rust type becomes a value, enums as serde's JSON has them.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::typed;
use crate::serialization::{Map, Value, ValueError};

pub(super) struct ValueSerializer;

type Done = Result<Value, ValueError>;

macro_rules! plain {
    ($($method:ident: $from:ty),* $(,)?) => {
        $(fn $method(self, value: $from) -> Done {
            Ok(Value::from(value))
        })*
    };
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = DictBuilder;
    type SerializeStruct = DictBuilder;
    type SerializeStructVariant = DictBuilder;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f64: f64,
        serialize_str: &str,
    }

    fn serialize_f32(self, value: f32) -> Done {
        Ok(Value::Float(value.into()))
    }

    fn serialize_char(self, value: char) -> Done {
        Ok(Value::Str(value.into()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        Ok(Value::Bytes(bytes::Bytes::copy_from_slice(value)))
    }

    fn serialize_none(self) -> Done {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        Ok(typed::join(name, value.serialize(self)?))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        Ok(one_entry(variant, value.serialize(self)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder { variant: None, items: Vec::with_capacity(len.unwrap_or_default()) })
    }

    fn serialize_tuple(self, len: usize) -> Result<ListBuilder, ValueError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<ListBuilder, ValueError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder { variant: Some(variant), items: Vec::with_capacity(len) })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<DictBuilder, ValueError> {
        Ok(DictBuilder::default())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<DictBuilder, ValueError> {
        Ok(DictBuilder::default())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<DictBuilder, ValueError> {
        Ok(DictBuilder { variant: Some(variant), ..DictBuilder::default() })
    }
}

fn one_entry(name: &str, value: Value) -> Value {
    Value::Map(Map::from_iter([(name.to_owned(), value)]))
}

fn wrapped(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(name) => one_entry(name, value),
        None => value,
    }
}

pub(super) struct ListBuilder {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ListBuilder {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
        self.items.push(item.serialize(ValueSerializer)?);
        Ok(())
    }

    fn finish(self) -> Done {
        Ok(wrapped(self.variant, Value::List(self.items)))
    }
}

macro_rules! lists {
    ($($builder:ident::$add:ident),* $(,)?) => {
        $(impl $builder for ListBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn $add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
                self.add(item)
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

lists! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

#[derive(Default)]
pub(super) struct DictBuilder {
    variant: Option<&'static str>,
    key: Option<Value>,
    pairs: Vec<(Value, Value)>,
}

impl DictBuilder {
    fn finish(self) -> Done {
        Ok(wrapped(self.variant, Value::from_pairs(self.pairs)))
    }
}

impl SerializeMap for DictBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(key.serialize(ValueSerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let key = self.key.take().unwrap_or_default();
        self.pairs.push((key, value.serialize(ValueSerializer)?));
        Ok(())
    }

    fn end(self) -> Done {
        self.finish()
    }
}

macro_rules! structs {
    ($($builder:ident),*) => {
        $(impl $builder for DictBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), ValueError> {
                self.pairs.push((Value::from(key), value.serialize(ValueSerializer)?));
                Ok(())
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);
