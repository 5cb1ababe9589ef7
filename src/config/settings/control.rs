//! `control_*` and `event_*`: the queues and exchanges of remote control and monitoring.

use std::time::Duration;

use crate::config::{ConfigError, reader::Reader};

/// Remote control.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlSettings {
    /// First part of the exchanges' names: `<name>.pidbox` and `reply.<name>.pidbox`. Default `celery`.
    pub exchange: String,
    /// How long a message waits in a mailbox; none is for ever. Default 300 seconds.
    pub queue_ttl: Option<Duration>,
    /// When an unused mailbox goes; none is never. Default 10 seconds.
    pub queue_expires: Option<Duration>,
    /// Default true.
    pub queue_exclusive: bool,
    /// Default false.
    pub queue_durable: bool,
}

impl ControlSettings {
    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        Ok(Self {
            exchange: reader.text("control_exchange")?,
            queue_ttl: reader.maybe_seconds("control_queue_ttl")?,
            queue_expires: reader.maybe_seconds("control_queue_expires")?,
            queue_exclusive: reader.truth("control_queue_exclusive"),
            queue_durable: reader.truth("control_queue_durable"),
        })
    }
}

/// Events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventSettings {
    /// Default `celeryev`.
    pub exchange: String,
    /// First part of the names of receivers' queues. Default `celeryev`.
    pub queue_prefix: String,
    /// How long an event waits; none is for ever. Default 5 seconds.
    pub queue_ttl: Option<Duration>,
    /// When an unused queue goes; none is never. Default 60 seconds.
    pub queue_expires: Option<Duration>,
    /// Default true.
    pub queue_exclusive: bool,
    /// Default false.
    pub queue_durable: bool,
    /// Default `json`.
    pub serializer: String,
}

impl EventSettings {
    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        Ok(Self {
            exchange: reader.text("event_exchange")?,
            queue_prefix: reader.text("event_queue_prefix")?,
            queue_ttl: reader.maybe_seconds("event_queue_ttl")?,
            queue_expires: reader.maybe_seconds("event_queue_expires")?,
            queue_exclusive: reader.truth("event_queue_exclusive"),
            queue_durable: reader.truth("event_queue_durable"),
            serializer: reader.text("event_serializer")?,
        })
    }
}
