//! [`Value`]: what JSON, msgpack, YAML, plain pickles and Python have in common.
//!
//! Not a Python object: classes, sets and anything with behaviour have no place here.

use bytes::Bytes;
use indexmap::IndexMap;

/// An object whose keys are strings, in the order in which they were written.
pub type Map = IndexMap<String, Value>;

/// An object of these fields, in this order.
pub fn map<const COUNT: usize>(fields: [(&str, Value); COUNT]) -> Map {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A piece of data as a Celery message or result can carry it.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `None`.
    #[default]
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer that does not: its decimal digits, with a leading `-` when negative.
    BigInt(Box<str>),
    /// A float, `NaN` and the infinities included.
    Float(f64),
    /// A string of Unicode scalar values.
    Str(String),
    /// A Python string with lone surrogates, as UTF-16 code units; Rust's `String` cannot hold it.
    WideStr(Box<[u16]>),
    /// `bytes`.
    Bytes(Bytes),
    /// `datetime.datetime`, in its `isoformat()`; naive or aware.
    DateTime(Box<str>),
    /// `datetime.date`, in its `isoformat()`.
    Date(Box<str>),
    /// `datetime.time`, in its `isoformat()`.
    Time(Box<str>),
    /// `decimal.Decimal`, as `str()` shows it.
    Decimal(Box<str>),
    /// `uuid.UUID`.
    Uuid(uuid::Uuid),
    /// A list or a tuple.
    List(Vec<Value>),
    /// A dict with string keys.
    Map(Map),
    /// A dict with at least one key that is not a string (msgpack, YAML and pickle have them).
    Pairs(Vec<(Value, Value)>),
}

impl Value {
    /// The string, if this is one without lone surrogates.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The integer, if this is one of at most 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The number as a float, from an integer or a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a dict with string keys.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether this is `None`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Python's truth: `None`, `False`, zero and everything empty are false.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::WideStr(s) => !s.is_empty(),
            Value::Bytes(b) => !b.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Pairs(pairs) => !pairs.is_empty(),
            Value::BigInt(_) | Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Uuid(_) => true,
            Value::Decimal(d) => {
                d.bytes().any(|b| (b'1'..=b'9').contains(&b)) || !d.bytes().any(|b| b.is_ascii_digit())
            }
        }
    }
}

macro_rules! from {
    ($($from:ty => |$x:ident| $to:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from($x: $from) -> Self {
                $to
            }
        })*
    };
}

from! {
    bool => |x| Value::Bool(x),
    i64 => |x| Value::Int(x),
    i8 => |x| Value::Int(x.into()),
    i16 => |x| Value::Int(x.into()),
    i32 => |x| Value::Int(x.into()),
    u8 => |x| Value::Int(x.into()),
    u16 => |x| Value::Int(x.into()),
    u64 => |x| integer(x),
    i128 => |x| integer(x),
    u128 => |x| integer(x),
    u32 => |x| Value::Int(x.into()),
    f64 => |x| Value::Float(x),
    &str => |x| Value::Str(x.to_owned()),
    String => |x| Value::Str(x),
    Bytes => |x| Value::Bytes(x),
    Map => |x| Value::Map(x),
}

/// An integer of any size.
fn integer(number: impl TryInto<i64> + ToString + Copy) -> Value {
    number.try_into().map_or_else(|_| Value::BigInt(number.to_string().into()), Value::Int)
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(x: Option<T>) -> Self {
        x.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(x: Vec<T>) -> Self {
        Value::List(x.into_iter().map(Into::into).collect())
    }
}
