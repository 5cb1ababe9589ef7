//! [`BackendOptions`] from the app's [`Settings`].

use std::time::Duration;

use crate::{
    backend::{
        AlwaysRetry, BackendError, BackendOptions, ChordOptions, DatabaseSettings, Format, PublishRetry, RedisSettings,
    },
    config::{DatabaseResultSettings, RedisResultSettings, ResultSettings, Settings},
    serialization::{self, AcceptContent, Map, Value},
};

impl BackendOptions {
    /// What the app's settings say, for an app with this Celery (major and minor number).
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] for a value that no backend could work with, [`BackendError::Unsupported`] for one that only
    /// Celery's Python backend can honour.
    pub fn from_settings(settings: &Settings, celery_version: (u16, u16)) -> Result<Self, BackendError> {
        let result = &settings.result;
        let mut options = Self {
            format: format(settings)?,
            expires: whole_seconds(result.expires),
            failure_expires: Some(whole_seconds(result.failure_expires)),
            is_persistent: result.persistent,
            chords: chords(settings, celery_version),
            always_retry: result.always_retry.then(|| always_retry(result)),
            redis: redis(&result.redis)?,
            database: database(&result.database, always_retry(result))?,
            ..Self::default()
        };
        options.apply_transport_options(&result.transport_options)?;
        Ok(options)
    }
}

fn format(settings: &Settings) -> Result<Format, BackendError> {
    let result = &settings.result;
    if !serialization::knows(&result.serializer) {
        let reason =
            format!("result_serializer {} is Python's alone: results are stored by the Python side", result.serializer);
        return Err(BackendError::Unsupported(reason));
    }
    let names = if result.accept_content.is_empty() { &settings.accept_content } else { &result.accept_content };
    let accept =
        AcceptContent::new(names).map_err(|e| BackendError::Unsupported(format!("result_accept_content: {e}")))?;
    Ok(Format { serializer: result.serializer.clone(), compression: result.compression.clone(), accept, layout: None })
}

fn chords(settings: &Settings, celery_version: (u16, u16)) -> ChordOptions {
    let policy = &settings.task.publish_retry_policy;
    let entries = [
        ("max_retries", policy.max_retries.map(i64::from).into()),
        ("interval_start", policy.interval_start.as_secs_f64().into()),
        ("interval_step", policy.interval_step.as_secs_f64().into()),
        ("interval_max", policy.interval_max.as_secs_f64().into()),
    ];
    ChordOptions {
        expires: Some(whole_seconds(settings.result.chord_expires)),
        join_timeout: Some(settings.result.chord_join_timeout.as_secs_f64()),
        publish_retry: PublishRetry {
            is_on: settings.task.publish_retry,
            policy: entries.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect::<Map>(),
            connection_timeout: Some(settings.broker.connection_timeout.as_secs_f64()),
        },
        celery_version,
        ..ChordOptions::default()
    }
}

fn always_retry(result: &ResultSettings) -> AlwaysRetry {
    AlwaysRetry {
        base_ms: milliseconds(result.base_sleep_between_retries),
        max_ms: milliseconds(result.max_sleep_between_retries),
        max_retries: result.max_retries.map(u64::from),
    }
}

fn redis(settings: &RedisResultSettings) -> Result<RedisSettings, BackendError> {
    if settings.has_credential_provider {
        return Err(BackendError::Unsupported(
            "redis_backend_credential_provider is a Python object: results are stored by the Python side".to_owned(),
        ));
    }
    let out_of_range = |name: &str| BackendError::Unusable(format!("{name} is out of range"));
    let use_ssl = match &settings.use_ssl {
        Value::Map(map) => Some(map.clone()),
        off if !off.is_truthy() => None,
        _ => return Err(BackendError::Unusable("redis_backend_use_ssl must be a dict of ssl_* options".to_owned())),
    };
    Ok(RedisSettings {
        host: settings.host.clone(),
        // Celery takes 0 for unset.
        port: settings
            .port
            .filter(|&port| port != 0)
            .map(u16::try_from)
            .transpose()
            .map_err(|_| out_of_range("redis_port"))?,
        db: settings.db.map(u8::try_from).transpose().map_err(|_| out_of_range("redis_db"))?,
        username: settings.username.clone(),
        password: settings.password.clone(),
        socket_timeout: settings.socket_timeout,
        socket_connect_timeout: settings.socket_connect_timeout,
        client_name: settings.client_name.clone(),
        use_ssl,
        ..RedisSettings::default()
    })
}

fn database(settings: &DatabaseResultSettings, retry: AlwaysRetry) -> Result<DatabaseSettings, BackendError> {
    let named = |setting: &str, names: &Map, name: &str| match names.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(BackendError::Unusable(format!("{setting}: the name for {name} is no text"))),
    };
    let table = |name| named("database_table_names", &settings.table_names, name);
    let schema = |name| named("database_table_schemas", &settings.table_schemas, name);
    Ok(DatabaseSettings {
        url: settings.url.clone(),
        engine_options: settings.engine_options.clone(),
        task_table: table("task")?,
        group_table: table("group")?,
        task_schema: schema("task")?,
        group_schema: schema("group")?,
        create_tables_at_setup: settings.create_tables_at_setup,
        retry,
    })
}

/// Celery cuts what is left of a second; none is for ever.
fn whole_seconds(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| duration.as_secs())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn options(app: &[(&str, Value)]) -> Result<BackendOptions, BackendError> {
        let app: Map = app.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        BackendOptions::from_settings(&Settings::resolve(Layers::new(app, &(), Vec::new())).unwrap(), (5, 7))
    }

    #[test]
    fn nothing_set_is_celerys_default() {
        let (options, default) = (options(&[]).unwrap(), BackendOptions::default());
        assert_eq!((options.format, options.expires), (default.format, default.expires));
        assert_eq!((options.failure_expires, options.chords.expires), (Some(86_400), Some(86_400)));
        assert_eq!(
            options.chords.publish_expires(&Default::default()),
            default.chords.publish_expires(&Default::default())
        );
        assert_eq!((options.chords.claim_expires(), options.always_retry), (6, None));
    }

    #[test]
    fn settings_arrive() {
        let transport = [("global_keyprefix", "app".into()), ("result_chord_ordered", false.into())];
        let transport: Map = transport.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect();
        let options = options(&[
            ("result_serializer", "pickle".into()),
            ("result_accept_content", vec!["pickle"].into()),
            ("result_compression", "gzip".into()),
            ("result_expires", Value::Null),
            ("result_failure_expires", 60.into()),
            ("result_backend_always_retry", true.into()),
            ("result_backend_transport_options", transport.into()),
            ("redis_db", 3.into()),
        ])
        .unwrap();
        assert_eq!((options.expires, options.failure_expires, options.chords.expires), (0, Some(60), Some(0)));
        assert_eq!(
            (options.format.serializer.as_str(), options.format.compression.as_deref()),
            ("pickle", Some("gzip"))
        );
        assert!(options.format.accept.accepts("application/x-python-serialize"));
        assert_eq!((options.always_retry, options.redis.db), (Some(AlwaysRetry::default()), Some(3)));
        assert_eq!((options.global_keyprefix.as_deref(), options.chords.is_ordered), (Some("app"), false));
    }

    #[test]
    fn what_no_backend_can_be_is_refused() {
        assert!(options(&[("redis_db", 300.into())]).is_err());
        assert!(options(&[("result_accept_content", vec!["unheard-of"].into())]).is_err());
        let unknown = options(&[("result_serializer", "unheard-of".into())]);
        assert!(matches!(unknown, Err(BackendError::Unsupported(_))));
    }
}
