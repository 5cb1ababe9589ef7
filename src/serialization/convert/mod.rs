//! Values ↔ Rust types, by serde: how native tasks get their arguments and give back their results.
//!
//! Types that serde does not know (`datetime`, `Decimal`, integers beyond 128 bits, ...) pass between [`Value`]s as they
//! are, and become their text for everyone else.

mod de;
mod key;
mod ser;
#[cfg(test)]
mod tests;
mod typed;
mod value;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use de::ValueDeserializer;

use crate::serialization::{Value, ValueError};

/// Turns a value into a Rust type.
///
/// A list becomes a tuple or `Vec`; a dict a struct or map (number keys may be written as text, as JSON has them); an
/// integer also an `f64`; a string, or a dict of one entry, an enum; `datetime`, `Decimal` and `UUID` their text.
///
/// # Errors
/// Says where in the value, what was there and what was expected.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    T::deserialize(de::ValueDeserializer(value))
}

/// Turns a Rust type into a value.
///
/// # Errors
/// When the type's own `Serialize` fails.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ser::ValueSerializer)
}
