//! [`BackendOptions`]: the settings that say how results are kept, already typed.

use std::time::Duration;

use crate::{
    backend::{
        AlwaysRetry, BackendError, RetryPolicy,
        chord::{ChordOptions, PublishRetry},
        document::Format,
    },
    serialization::{AcceptContent, Map, Value},
};

/// Everything that a backend of ours is configured by. `Default` is Celery's default for every setting.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// `result_serializer`, `result_compression`, `result_accept_content`.
    pub format: Format,
    /// `result_expires`, in seconds; 0 keeps results for ever (also for `None`). Default one day.
    pub expires: u64,
    /// `result_failure_expires`, in seconds; 0 keeps failures for ever, none is as `expires`. Redis only.
    pub failure_expires: Option<u64>,
    /// `result_persistent`: whether `rpc://` results survive a broker restart. Default false.
    pub is_persistent: bool,
    /// How chords are counted and joined.
    pub chords: ChordOptions,
    /// `result_backend_always_retry` and its companions; none is off, the default.
    pub always_retry: Option<AlwaysRetry>,
    /// `retry_policy` of `result_backend_transport_options`.
    pub retry_policy: RetryPolicy,
    /// `global_keyprefix` of `result_backend_transport_options`.
    pub global_keyprefix: Option<String>,
    /// Where the server is, as far as the URL does not say.
    pub redis: RedisSettings,
    /// The `database_*` settings.
    pub database: DatabaseSettings,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            expires: 86_400,
            failure_expires: None,
            is_persistent: false,
            chords: ChordOptions::default(),
            always_retry: None,
            retry_policy: RetryPolicy::default(),
            global_keyprefix: None,
            redis: RedisSettings::default(),
            database: DatabaseSettings::default(),
        }
    }
}

/// The `redis_*` settings. The URL's own parts and parameters go first.
#[derive(Debug, Clone, Default)]
pub struct RedisSettings {
    /// `redis_host`; `localhost` without.
    pub host: Option<String>,
    /// `redis_port`; 6379 without.
    pub port: Option<u16>,
    /// `redis_db`; 0 without.
    pub db: Option<u8>,
    /// `redis_username`.
    pub username: Option<String>,
    /// `redis_password`.
    pub password: Option<String>,
    /// `redis_socket_timeout`; 120 seconds without.
    pub socket_timeout: Option<Duration>,
    /// `redis_socket_connect_timeout`.
    pub socket_connect_timeout: Option<Duration>,
    /// `redis_client_name`.
    pub client_name: Option<String>,
    /// `redis_backend_use_ssl`: `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`.
    pub use_ssl: Option<Map>,
    /// `master_name` of `result_backend_transport_options`, for `sentinel://`.
    pub master_name: Option<String>,
    /// `sentinel_kwargs` of `result_backend_transport_options`: credentials of the sentinels themselves.
    pub sentinel_kwargs: Map,
}

/// The `database_*` settings. `Default` is Celery's default for each.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// `database_url`, for a backend that is named without an URL. It holds a password.
    pub url: Option<String>,
    /// `database_engine_options`.
    pub engine_options: Map,
    /// `database_table_names["task"]`; `celery_taskmeta` without.
    pub task_table: Option<String>,
    /// `database_table_names["group"]`; `celery_tasksetmeta` without.
    pub group_table: Option<String>,
    /// `database_table_schemas["task"]`; the database's own default without.
    pub task_schema: Option<String>,
    /// `database_table_schemas["group"]`.
    pub group_schema: Option<String>,
    /// `database_create_tables_at_setup`: connect at once, and not for the first result. Default true.
    pub create_tables_at_setup: bool,
    /// `result_backend_max_retries` and its companions: this backend always tries again.
    pub retry: AlwaysRetry,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: None,
            engine_options: Map::new(),
            task_table: None,
            group_table: None,
            task_schema: None,
            group_schema: None,
            create_tables_at_setup: true,
            retry: AlwaysRetry::default(),
        }
    }
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings").field("task_table", &self.task_table).finish_non_exhaustive()
    }
}

impl BackendOptions {
    /// Reads `result_backend_transport_options` into the places where its options belong.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unsupported`] for an option that only Celery's Python backend can honour.
    pub fn apply_transport_options(&mut self, map: &Map) -> Result<(), BackendError> {
        for (name, value) in map {
            self.apply_transport_option(name, value)?;
        }
        Ok(())
    }

    fn apply_transport_option(&mut self, name: &str, value: &Value) -> Result<(), BackendError> {
        let text = || value.as_str().map(str::to_owned);
        match name {
            "global_keyprefix" => self.global_keyprefix = text(),
            "result_chord_ordered" => self.chords.is_ordered = value.is_truthy(),
            "retry_policy" => self.retry_policy = RetryPolicy::from_map(value.as_map().unwrap_or(&Map::new())),
            "master_name" => self.redis.master_name = text(),
            "sentinel_kwargs" => self.redis.sentinel_kwargs = value.as_map().cloned().unwrap_or_default(),
            "credential_provider" if value.is_truthy() => {
                return Err(BackendError::Unsupported(
                    "result_backend_transport_options: credential_provider is a Python object".to_owned(),
                ));
            }
            // Celery reads no others; its backends ignore what they do not know, and so must we.
            _ => {}
        }
        Ok(())
    }

    /// How long a document in this state is kept, in seconds; 0 is for ever.
    pub fn expires_of(&self, is_failure: bool) -> u64 {
        if is_failure { self.failure_expires.unwrap_or(self.expires) } else { self.expires }
    }

    /// With another serializer, by kombu's name.
    pub fn with_serializer(mut self, serializer: &str) -> Self {
        self.format.serializer = serializer.to_owned();
        self
    }

    /// With what may be read back.
    pub fn with_accept(mut self, accept: AcceptContent) -> Self {
        self.format.accept = accept;
        self
    }

    /// With the publish retries that a claim on a chord must outlive.
    pub fn with_publish_retry(mut self, retry: PublishRetry) -> Self {
        self.chords.publish_retry = retry;
        self
    }
}
