//! `result_*`, `redis_*` and `database_*`: where results go and how they are written.

use std::time::Duration;

use crate::{
    config::{ConfigError, reader::Reader, url},
    serialization::{Map, Value},
};

/// Results.
#[derive(Clone)]
pub struct ResultSettings {
    /// URL or name of the backend; none stores nothing. It holds a password.
    pub backend: Option<String>,
    /// Default `json`.
    pub serializer: String,
    /// Serializers accepted in results; empty is `accept_content`.
    pub accept_content: Vec<String>,
    /// Name of the compression, if any.
    pub compression: Option<String>,
    /// How long results are kept; none is for ever. Default one day.
    pub expires: Option<Duration>,
    /// How long failures are kept; none is for ever. Follows `expires` unless set.
    pub failure_expires: Option<Duration>,
    /// How long the keys of a chord are kept; none is for ever. Follows `expires` unless set.
    pub chord_expires: Option<Duration>,
    /// Whether results of `rpc://` are persistent messages. Default false.
    pub persistent: bool,
    /// Whether results hold the task's name, args, kwargs, worker, retries and queue. Default false.
    pub extended: bool,
    /// `result_backend_transport_options`.
    pub transport_options: Map,
    /// For joining the results of a chord. Default 3 seconds.
    pub chord_join_timeout: Duration,
    /// Try backend operations again after recoverable errors. Default false.
    pub always_retry: bool,
    /// Attempts with `always_retry`; none is for ever.
    pub max_retries: Option<u32>,
    /// First wait with `always_retry`. Default 10 ms.
    pub base_sleep_between_retries: Duration,
    /// Longest wait with `always_retry`. Default 10 seconds.
    pub max_sleep_between_retries: Duration,
    /// `redis_*`.
    pub redis: RedisResultSettings,
    /// `database_*`.
    pub database: DatabaseResultSettings,
}

impl std::fmt::Debug for ResultSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultSettings")
            .field("backend", &self.backend.as_deref().map(url::mask))
            .field("serializer", &self.serializer)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The Redis result backend, where its URL is silent.
#[derive(Clone)]
pub struct RedisResultSettings {
    /// `redis_host`.
    pub host: Option<String>,
    /// `redis_port`.
    pub port: Option<u32>,
    /// `redis_db`.
    pub db: Option<u32>,
    /// `redis_username`.
    pub username: Option<String>,
    /// `redis_password`.
    pub password: Option<String>,
    /// For one answer; none is for ever. Default 120 seconds.
    pub socket_timeout: Option<Duration>,
    /// For connecting; none is for ever.
    pub socket_connect_timeout: Option<Duration>,
    /// `redis_backend_use_ssl`: unset, or a dict of options.
    pub use_ssl: Value,
    /// `redis_client_name`.
    pub client_name: Option<String>,
    /// `redis_backend_credential_provider` is set, which only Python can ask.
    pub has_credential_provider: bool,
}

/// The database result backend.
#[derive(Clone)]
pub struct DatabaseResultSettings {
    /// `database_url`: an URL of SQLAlchemy's, for a backend that is named without one. It holds a password.
    pub url: Option<String>,
    /// `database_engine_options`. Default `pool_pre_ping` and `pool_recycle` of an hour.
    pub engine_options: Map,
    /// `database_table_names`: keys `task` and `group`.
    pub table_names: Map,
    /// `database_table_schemas`: keys `task` and `group`.
    pub table_schemas: Map,
    /// `database_create_tables_at_setup`. Default true.
    pub create_tables_at_setup: bool,
}

impl ResultSettings {
    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        let expires = reader.maybe_seconds("result_expires")?;
        let or_expires = |name| match reader.value(name) {
            Value::Null => Ok(expires),
            _ => reader.maybe_seconds(name),
        };
        Ok(Self {
            backend: reader.maybe_text("result_backend")?.filter(|url| !url.is_empty()),
            serializer: reader.text("result_serializer")?,
            accept_content: reader.texts("result_accept_content")?,
            compression: reader.maybe_text("result_compression")?.filter(|name| !name.is_empty()),
            expires,
            failure_expires: or_expires("result_failure_expires")?,
            chord_expires: or_expires("result_chord_expires")?,
            persistent: reader.truth("result_persistent"),
            extended: reader.truth("result_extended"),
            transport_options: reader.map("result_backend_transport_options")?,
            chord_join_timeout: reader.seconds("result_chord_join_timeout")?,
            always_retry: reader.truth("result_backend_always_retry"),
            max_retries: max_retries(reader)?,
            base_sleep_between_retries: reader.milliseconds("result_backend_base_sleep_between_retries_ms")?,
            max_sleep_between_retries: reader.milliseconds("result_backend_max_sleep_between_retries_ms")?,
            redis: RedisResultSettings::read(reader)?,
            database: DatabaseResultSettings::read(reader)?,
        })
    }
}

impl RedisResultSettings {
    fn read(reader: &Reader) -> Result<Self, ConfigError> {
        Ok(Self {
            host: reader.maybe_text("redis_host")?,
            port: reader.maybe_count("redis_port")?,
            db: reader.maybe_count("redis_db")?,
            username: reader.maybe_text("redis_username")?,
            password: reader.maybe_text("redis_password")?,
            socket_timeout: reader.maybe_seconds("redis_socket_timeout")?,
            socket_connect_timeout: reader.maybe_seconds("redis_socket_connect_timeout")?,
            use_ssl: reader.value("redis_backend_use_ssl"),
            client_name: reader.maybe_text("redis_client_name")?,
            has_credential_provider: reader.truth("redis_backend_credential_provider"),
        })
    }
}

impl DatabaseResultSettings {
    fn read(reader: &Reader) -> Result<Self, ConfigError> {
        Ok(Self {
            url: reader.maybe_text("database_url")?.filter(|url| !url.is_empty()),
            engine_options: reader.map("database_engine_options")?,
            table_names: reader.map("database_table_names")?,
            table_schemas: reader.map("database_table_schemas")?,
            create_tables_at_setup: reader.truth("database_create_tables_at_setup"),
        })
    }
}

/// Infinity is Celery's default and its way to say for ever.
fn max_retries(reader: &Reader) -> Result<Option<u32>, ConfigError> {
    let retries = reader.maybe_number("result_backend_max_retries")?.unwrap_or(f64::INFINITY);
    Ok(Some(retries).filter(|n| n.is_finite()).map(|n| n.max(0.0) as u32))
}
