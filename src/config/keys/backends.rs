//! Settings of backends that only Celery's own Python code speaks to.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new("cache_backend", Kind::Str, Fallback::None, "Server of the cache backend")
        .old("CELERY_CACHE_BACKEND")
        .child(),
    Key::new("cache_backend_options", Kind::Dict, Fallback::Dict(&[]), "Options of the cache backend")
        .old("CELERY_CACHE_BACKEND_OPTIONS")
        .child(),
    Key::new(
        "cassandra_entry_ttl",
        Kind::Float,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_keyspace",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new("cassandra_port", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new(
        "cassandra_read_consistency",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_servers",
        Kind::List,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_bundle_path",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new("cassandra_table", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new(
        "cassandra_write_consistency",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_auth_provider",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_auth_kwargs",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cassandra_options",
        Kind::Dict,
        Fallback::Dict(&[]),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new("s3_access_key_id", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new(
        "s3_secret_access_key",
        Kind::Str,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new("s3_bucket", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child").child(),
    Key::new("s3_base_path", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new("s3_endpoint_url", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new("s3_region", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child").child(),
    Key::new(
        "azureblockblob_container_name",
        Kind::Str,
        Fallback::Str("celery"),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_retry_initial_backoff_sec",
        Kind::Int,
        Fallback::Int(2),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_retry_increment_base",
        Kind::Int,
        Fallback::Int(2),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_retry_max_attempts",
        Kind::Int,
        Fallback::Int(3),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_base_path",
        Kind::Str,
        Fallback::Str(""),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_connection_timeout",
        Kind::Int,
        Fallback::Int(20),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "azureblockblob_read_timeout",
        Kind::Int,
        Fallback::Int(120),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new("gcs_bucket", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new("gcs_project", Kind::Str, Fallback::None, "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new("gcs_base_path", Kind::Str, Fallback::Str(""), "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new("gcs_ttl", Kind::Float, Fallback::Int(0), "Read by Celery's own backend of that name, in the child")
        .child(),
    Key::new(
        "couchbase_backend_settings",
        Kind::Dict,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_COUCHBASE_BACKEND_SETTINGS")
    .child(),
    Key::new(
        "arangodb_backend_settings",
        Kind::Dict,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_ARANGODB_BACKEND_SETTINGS")
    .child(),
    Key::new(
        "mongodb_backend_settings",
        Kind::Dict,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_MONGODB_BACKEND_SETTINGS")
    .child(),
    Key::new(
        "cosmosdbsql_database_name",
        Kind::Str,
        Fallback::Str("celerydb"),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cosmosdbsql_collection_name",
        Kind::Str,
        Fallback::Str("celerycol"),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cosmosdbsql_consistency_level",
        Kind::Str,
        Fallback::Str("Session"),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cosmosdbsql_max_retry_attempts",
        Kind::Int,
        Fallback::Int(9),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "cosmosdbsql_max_retry_wait_time",
        Kind::Int,
        Fallback::Int(30),
        "Read by Celery's own backend of that name, in the child",
    )
    .child(),
    Key::new(
        "elasticsearch_retry_on_timeout",
        Kind::Bool,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_ELASTICSEARCH_RETRY_ON_TIMEOUT")
    .child(),
    Key::new(
        "elasticsearch_max_retries",
        Kind::Int,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_ELASTICSEARCH_MAX_RETRIES")
    .child(),
    Key::new(
        "elasticsearch_timeout",
        Kind::Float,
        Fallback::None,
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_ELASTICSEARCH_TIMEOUT")
    .child(),
    Key::new(
        "elasticsearch_save_meta_as_text",
        Kind::Bool,
        Fallback::Bool(true),
        "Read by Celery's own backend of that name, in the child",
    )
    .old("CELERY_ELASTICSEARCH_SAVE_META_AS_TEXT")
    .child(),
];
