//! Bytes ↔ values: kombu's serializer and compression registries.
//!
//! Ground floor: no I/O, no clock, nothing of ours below it. What a message *means* is said one floor up, in
//! [`protocol`](crate::protocol).

mod codec;
pub mod compression;
mod content_type;
mod convert;
mod decimal;
mod error;
pub(crate) mod float;
pub(crate) mod iso;
pub mod json;
pub mod msgpack;
pub mod pickle;
mod text;
mod value;
pub mod yaml;

pub use codec::{Encoded, decode, encode, knows};
pub use content_type::AcceptContent;
pub(crate) use convert::ValueDeserializer;
pub use convert::{from_value, to_value};
pub use error::{DecodeError, EncodeError, ValueError};
pub use value::{Map, Value, map};
