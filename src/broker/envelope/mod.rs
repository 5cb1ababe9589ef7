//! kombu's JSON envelope around a message, as its virtual transports have it: what lies in a Redis list, and in a file of
//! the file system's transport. Not what AMQP sends, which has properties of its own.

mod reader;
pub(super) mod scanner;
mod writer;

#[cfg(feature = "redis")]
pub(super) use reader::excerpt;
pub(super) use reader::{marked, parse};
pub(super) use writer::Draft;
