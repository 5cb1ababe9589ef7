//! [`ProducerSettings`]: what the app's configuration says about messages.

use std::collections::HashMap;

use crate::{
    config::{Queues, TaskSettings, routes::Routes},
    protocol::time::TimeZone,
    serialization::Map,
};

/// What the app's configuration says about messages; each field is Celery's setting of that name.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// `task_protocol`: 2, or 1.
    pub protocol: u8,
    /// `task_serializer`.
    pub serializer: String,
    /// `task_compression`.
    pub compression: Option<String>,
    /// `task_default_queue`.
    pub default_queue: String,
    /// `task_default_exchange`; the default queue's name, if unset.
    pub default_exchange: String,
    /// `task_default_routing_key`; the default queue's name, if unset.
    pub default_routing_key: String,
    /// `task_default_delivery_mode`: 1 transient, 2 persistent.
    pub delivery_mode: u8,
    /// Every queue that is known.
    pub queues: Queues,
    /// `task_routes`.
    pub routes: Routes,
    /// `timezone`, in which an ETA is written.
    pub timezone: TimeZone,
    /// `task_inherit_parent_priority`.
    pub inherit_parent_priority: bool,
    /// `task_send_sent_event`.
    pub send_sent_event: bool,
    /// Whether ETAs go through RabbitMQ's delay exchanges: an AMQP broker with a quorum queue among the queues.
    pub native_delayed_delivery: bool,
    /// `gen<pid>@<host>`: the `origin` of what is sent.
    pub origin: String,
    /// What `reply_to` says: a UUID of this process (Celery's `thread_oid`).
    pub oid: String,
    /// Options of known tasks that hold where the sender says nothing ([`TaskOptions::exec_options`](crate::task)).
    pub exec_options: HashMap<Box<str>, Map>,
}

impl ProducerSettings {
    /// What the settings say, for a process on `hostname`. Nothing is known of single tasks yet.
    pub fn new(settings: &TaskSettings, queues: Queues, routes: Routes, timezone: TimeZone, hostname: &str) -> Self {
        Self {
            protocol: settings.protocol,
            serializer: settings.serializer.clone(),
            compression: settings.compression.clone(),
            default_queue: settings.default_queue.clone(),
            default_exchange: settings.default_exchange.clone(),
            default_routing_key: settings.default_routing_key.clone(),
            delivery_mode: settings.default_delivery_mode,
            queues,
            routes,
            timezone,
            inherit_parent_priority: false,
            send_sent_event: settings.send_sent_event,
            native_delayed_delivery: false,
            origin: format!("gen{}@{hostname}", std::process::id()),
            oid: uuid::Uuid::new_v4().to_string(),
            exec_options: HashMap::new(),
        }
    }
}
