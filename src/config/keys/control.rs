//! Settings of remote control and events.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new("control_queue_ttl", Kind::Float, Fallback::Float(300.0), "Seconds that a message waits in a mailbox"),
    Key::new("control_queue_expires", Kind::Float, Fallback::Float(10.0), "Seconds after which an unused mailbox goes"),
    Key::new("control_queue_exclusive", Kind::Bool, Fallback::Bool(true), "Whether mailboxes are exclusive"),
    Key::new("control_queue_durable", Kind::Bool, Fallback::Bool(false), "Whether mailboxes are durable"),
    Key::new("control_exchange", Kind::Str, Fallback::Str("celery"), "First part of the names of the pidbox exchanges"),
    Key::new(
        "event_queue_expires",
        Kind::Float,
        Fallback::Float(60.0),
        "Seconds after which an unused event queue goes",
    )
    .old("CELERY_EVENT_QUEUE_EXPIRES"),
    Key::new("event_queue_ttl", Kind::Float, Fallback::Float(5.0), "Seconds that an event waits in a queue")
        .old("CELERY_EVENT_QUEUE_TTL"),
    Key::new("event_queue_prefix", Kind::Str, Fallback::Str("celeryev"), "First part of the names of event queues")
        .old("CELERY_EVENT_QUEUE_PREFIX"),
    Key::new("event_queue_exclusive", Kind::Bool, Fallback::Bool(true), "Whether event queues are exclusive")
        .old("CELERY_EVENT_QUEUE_EXCLUSIVE"),
    Key::new("event_queue_durable", Kind::Bool, Fallback::Bool(false), "Whether event queues are durable")
        .old("CELERY_EVENT_QUEUE_DURABLE"),
    Key::new("event_serializer", Kind::Str, Fallback::Str("json"), "Serializer of events")
        .old("CELERY_EVENT_SERIALIZER"),
    Key::new("event_exchange", Kind::Str, Fallback::Str("celeryev"), "Exchange of events").old("CELERY_EVENT_EXCHANGE"),
];
