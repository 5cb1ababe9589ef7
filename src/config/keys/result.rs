//! Settings of results, and of the Redis result backend.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new(
        "result_accept_content",
        Kind::List,
        Fallback::None,
        "Serializers accepted in results; unset is `accept_content`",
    ),
    Key::new("redis_backend_use_ssl", Kind::Any, Fallback::None, "TLS to the Redis result backend, with its options")
        .old("CELERY_REDIS_BACKEND_USE_SSL"),
    Key::new("redis_db", Kind::Int, Fallback::None, "Database when the backend's URL names none")
        .old("CELERY_REDIS_DB"),
    Key::new("redis_host", Kind::Str, Fallback::None, "Host when the backend's URL names none")
        .old("CELERY_REDIS_HOST"),
    Key::new("redis_max_connections", Kind::Int, Fallback::None, "Most connections to the Redis result backend")
        .old("CELERY_REDIS_MAX_CONNECTIONS")
        .moot("results share one connection"),
    Key::new("redis_username", Kind::Str, Fallback::None, "User when the backend's URL names none")
        .old("CELERY_REDIS_USERNAME"),
    Key::new("redis_password", Kind::Str, Fallback::None, "Password when the backend's URL names none")
        .old("CELERY_REDIS_PASSWORD"),
    Key::new("redis_port", Kind::Int, Fallback::None, "Port when the backend's URL names none")
        .old("CELERY_REDIS_PORT"),
    Key::new(
        "redis_socket_timeout",
        Kind::Float,
        Fallback::Float(120.0),
        "Seconds for one answer of the Redis result backend",
    )
    .old("CELERY_REDIS_SOCKET_TIMEOUT"),
    Key::new(
        "redis_socket_connect_timeout",
        Kind::Float,
        Fallback::None,
        "Seconds for connecting to the Redis result backend",
    )
    .old("CELERY_REDIS_SOCKET_CONNECT_TIMEOUT"),
    Key::new("redis_retry_on_timeout", Kind::Bool, Fallback::Bool(false), "Whether to try again after a timeout")
        .old("CELERY_REDIS_RETRY_ON_TIMEOUT")
        .moot("what was not answered is always tried again"),
    Key::new("redis_socket_keepalive", Kind::Bool, Fallback::Bool(false), "Whether the sockets use TCP keep-alive")
        .old("CELERY_REDIS_SOCKET_KEEPALIVE")
        .moot("an answer is waited for no longer than `redis_socket_timeout`"),
    Key::new("result_backend", Kind::Str, Fallback::None, "Where results go; unset is nowhere")
        .old("CELERY_RESULT_BACKEND")
        .flag("--result-backend")
        .environment("CELERY_RESULT_BACKEND"),
    Key::new("result_cache_max", Kind::Int, Fallback::Int(-1), "Results that a client caches")
        .old("CELERY_MAX_CACHED_RESULTS")
        .child(),
    Key::new("result_compression", Kind::Str, Fallback::None, "Compression of results")
        .old("CELERY_RESULT_COMPRESSION"),
    Key::new("result_exchange", Kind::Str, Fallback::Str("celeryresults"), "Exchange of the old amqp backend")
        .old("CELERY_RESULT_EXCHANGE")
        .child(),
    Key::new("result_exchange_type", Kind::Str, Fallback::Str("direct"), "Type of `result_exchange`")
        .old("CELERY_RESULT_EXCHANGE_TYPE")
        .child(),
    Key::new(
        "result_expires",
        Kind::Float,
        Fallback::Float(86400.0),
        "Seconds that results are kept; 0 and None are for ever",
    )
    .old("CELERY_TASK_RESULT_EXPIRES"),
    Key::new(
        "result_chord_expires",
        Kind::Float,
        Fallback::None,
        "Seconds that the keys of a chord are kept; unset is `result_expires`",
    )
    .old("CELERY_RESULT_CHORD_EXPIRES"),
    Key::new(
        "result_failure_expires",
        Kind::Float,
        Fallback::None,
        "Seconds that failures are kept; unset is `result_expires`",
    )
    .old("CELERY_RESULT_FAILURE_EXPIRES"),
    Key::new("result_persistent", Kind::Bool, Fallback::None, "Whether results of rpc:// are persistent messages")
        .old("CELERY_RESULT_PERSISTENT"),
    Key::new("result_extended", Kind::Bool, Fallback::Bool(false), "Whether results hold name, args and more")
        .old("CELERY_RESULT_EXTENDED"),
    Key::new("result_serializer", Kind::Str, Fallback::Str("json"), "Serializer of results")
        .old("CELERY_RESULT_SERIALIZER"),
    Key::new("result_backend_transport_options", Kind::Dict, Fallback::Dict(&[]), "Options of the result backend")
        .old("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"),
    Key::new(
        "result_chord_retry_interval",
        Kind::Float,
        Fallback::Float(1.0),
        "Seconds between two looks of `chord_unlock`",
    )
    .old("CELERY_RESULT_CHORD_RETRY_INTERVAL")
    .child(),
    Key::new(
        "result_chord_join_timeout",
        Kind::Float,
        Fallback::Float(3.0),
        "Seconds for joining the results of a chord",
    )
    .old("CELERY_RESULT_CHORD_JOIN_TIMEOUT"),
    Key::new(
        "result_backend_max_sleep_between_retries_ms",
        Kind::Int,
        Fallback::Int(10000),
        "Longest wait between two attempts, milliseconds",
    )
    .old("CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS"),
    Key::new(
        "result_backend_max_retries",
        Kind::Float,
        Fallback::Float(f64::INFINITY),
        "Attempts of a backend operation",
    )
    .old("CELERY_RESULT_BACKEND_MAX_RETRIES"),
    Key::new(
        "result_backend_base_sleep_between_retries_ms",
        Kind::Int,
        Fallback::Int(10),
        "First wait between two attempts, milliseconds",
    )
    .old("CELERY_RESULT_BACKEND_BASE_SLEEP_BETWEEN_RETRIES_MS"),
    Key::new(
        "result_backend_always_retry",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether backend operations are tried again after recoverable errors",
    )
    .old("CELERY_RESULT_BACKEND_ALWAYS_RETRY"),
    Key::new("redis_client_name", Kind::Str, Fallback::None, "Name that result connections give themselves")
        .undeclared(),
    Key::new(
        "redis_backend_health_check_interval",
        Kind::Int,
        Fallback::None,
        "Seconds between two pings of an idle result connection",
    )
    .undeclared()
    .moot("an answer is waited for no longer than `redis_socket_timeout`"),
    Key::new(
        "redis_backend_credential_provider",
        Kind::Any,
        Fallback::None,
        "Source of credentials for the Redis result backend",
    )
    .undeclared(),
    Key::new("result_backend_thread_safe", Kind::Bool, Fallback::None, "Whether threads share one backend")
        .undeclared()
        .child(),
    Key::new("database_url", Kind::Str, Fallback::None, "Server of the database backend").old("CELERY_RESULT_DBURI"),
    Key::new(
        "database_engine_options",
        Kind::Dict,
        Fallback::Dict(&[("pool_pre_ping", Fallback::Bool(true)), ("pool_recycle", Fallback::Int(3600))]),
        "Options of SQLAlchemy's engine",
    )
    .old("CELERY_RESULT_ENGINE_OPTIONS"),
    Key::new("database_engine_callback", Kind::Any, Fallback::None, "Function called with the engine").child(),
    Key::new("database_short_lived_sessions", Kind::Bool, Fallback::Bool(false), "Whether sessions are not kept")
        .old("CELERY_RESULT_DB_SHORT_LIVED_SESSIONS")
        .child(),
    Key::new("database_table_schemas", Kind::Dict, Fallback::None, "Schemas of the result tables"),
    Key::new("database_table_names", Kind::Dict, Fallback::None, "Names of the result tables")
        .old("CELERY_RESULT_DB_TABLENAMES"),
    Key::new("database_create_tables_at_setup", Kind::Bool, Fallback::Bool(true), "Whether tables are made at start"),
];
