//! What is said, whatever the wire: Celery's messages, signatures and results as values.
//!
//! No I/O here and no broker: [`broker`](crate::broker) carries these, [`worker`](crate::worker) acts on them.

mod body;
mod entity;
mod error;
mod exception;
mod headers;
mod message;
pub mod repr;
mod result;
mod signature;
mod state;
pub mod time;
mod v1;

pub use body::{Body, Embed, decode_payload};
pub use entity::{Binding, Exchange, ExchangeType, Queue, Route};
pub use error::ProtocolError;
pub use exception::ExceptionInfo;
pub use headers::TaskHeaders;
pub use message::{DeliveryInfo, Headers, Message, Properties};
pub use result::ResultMeta;
pub use signature::Signature;
pub use state::TaskState;
pub use v1::lift;
