//! Settings of the broker connection.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new(
        "broker_url",
        Kind::Any,
        Fallback::None,
        "Where messages come from; several for failover, as a list or with `;` between them",
    )
    .flag("--broker")
    .environment("CELERY_BROKER_URL"),
    Key::new("broker_read_url", Kind::Any, Fallback::None, "Where to consume, if not `broker_url`")
        .environment("CELERY_BROKER_READ_URL"),
    Key::new("broker_write_url", Kind::Any, Fallback::None, "Where to publish, if not `broker_url`")
        .environment("CELERY_BROKER_WRITE_URL"),
    Key::new("broker_transport", Kind::Str, Fallback::None, "Transport when there is no `broker_url`"),
    Key::new("broker_transport_options", Kind::Dict, Fallback::Dict(&[]), "Options of the transport"),
    Key::new("broker_connection_timeout", Kind::Float, Fallback::Int(4), "Seconds for establishing a connection"),
    Key::new("broker_connection_retry", Kind::Bool, Fallback::Bool(true), "Whether to reconnect after a loss"),
    Key::new(
        "broker_connection_retry_on_startup",
        Kind::Bool,
        Fallback::None,
        "Whether to retry the first connection; unset is `broker_connection_retry`",
    ),
    Key::new(
        "broker_connection_max_retries",
        Kind::Int,
        Fallback::Int(100),
        "Attempts before giving up; 0 and None are for ever",
    ),
    Key::new(
        "broker_channel_error_retry",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether an error on a channel also reconnects",
    ),
    Key::new("broker_failover_strategy", Kind::Str, Fallback::None, "`round-robin` or `shuffle`"),
    Key::new("broker_heartbeat", Kind::Int, Fallback::Int(120), "AMQP heartbeat in seconds; 0 is none"),
    Key::new(
        "broker_heartbeat_checkrate",
        Kind::Int,
        Fallback::Float(3.0),
        "How many times per heartbeat interval it is looked at",
    )
    .moot("heartbeats are watched all the time"),
    Key::new("broker_login_method", Kind::Str, Fallback::None, "SASL mechanism"),
    Key::new(
        "broker_native_delayed_delivery_queue_type",
        Kind::Str,
        Fallback::Str("quorum"),
        "Type of the queues for native delayed delivery",
    ),
    Key::new(
        "broker_pool_limit",
        Kind::Int,
        Fallback::Int(10),
        "Connections for publishing; 0 and None open one per publish",
    )
    .moot("publishing shares the connection"),
    Key::new(
        "broker_pool_acquire_timeout",
        Kind::Float,
        Fallback::None,
        "Seconds to wait for a connection of the pool",
    )
    .moot("publishing shares the connection"),
    Key::new("broker_use_ssl", Kind::Any, Fallback::Bool(false), "TLS, with its options"),
    Key::new("broker_host", Kind::Str, Fallback::None, "Host when there is no `broker_url`"),
    Key::new("broker_port", Kind::Int, Fallback::None, "Port when there is no `broker_url`"),
    Key::new("broker_user", Kind::Str, Fallback::None, "User when there is no `broker_url`"),
    Key::new("broker_password", Kind::Str, Fallback::None, "Password when there is no `broker_url`"),
    Key::new("broker_vhost", Kind::Str, Fallback::None, "Virtual host when there is no `broker_url`"),
];
