//! Sending tasks: from a signature to messages on the broker, as `celery/app/base.py:send_task` and `celery/canvas.py`
//! do it.
//!
//! Whatever a workflow is made of is worked out first, without I/O ([`canvas`]); then its messages are made and handed
//! to [`broker::Publish`](crate::broker::Publish), which survives reconnects.

mod apply;
mod canvas;
mod error;
mod message;
mod options;
mod router;

#[allow(clippy::module_inception, reason = "the folder is the room, the file is the struct")]
mod producer;
mod settings;
mod times;
mod unlock;

use crate::protocol::Signature;

pub use apply::Apply;
pub use error::ProducerError;
pub use producer::{ChordHeaders, Producer, Sent, SentEvents};
pub use router::without_delay;
pub use settings::ProducerSettings;

/// A group of signatures, to be sent as one.
pub fn group(signatures: Vec<Signature>) -> Signature {
    canvas::group_of(signatures)
}
