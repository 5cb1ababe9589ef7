//! kombu's JSON envelope around a message, as its virtual transports have it: what lies in a Redis list, in a message of SQS,
//! and in a file of the file system's transport. Not what AMQP sends, which has properties of its own.

mod reader;
pub(super) mod scanner;
mod writer;

#[cfg(feature = "redis")]
pub(super) use reader::excerpt;
#[cfg(any(feature = "redis", feature = "filesystem"))]
pub(super) use reader::marked;
pub(super) use reader::parse;
pub(super) use writer::Draft;
