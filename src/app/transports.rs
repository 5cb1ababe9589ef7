//! The brokers' failover lists as transports, from the settings.

use std::sync::Arc;

use crate::{
    app::AppError,
    broker::{Brokers, CredentialProvider, Transport},
    config::{BrokerSettings, PYTHONS},
};

/// Where the worker consumes and where it publishes. `per_consumer_qos`: whether each consumer on RabbitMQ is to have a
/// prefetch window of its own. `provider` is asked where a Redis URL names a class that knows user and password.
///
/// # Errors
/// A URL whose transport only Python has, options that cannot be honoured.
pub(super) fn brokers(
    settings: &BrokerSettings,
    per_consumer_qos: bool,
    provider: Option<Arc<dyn CredentialProvider>>,
) -> Result<Brokers, AppError> {
    let wanted = Wanted { settings, per_consumer_qos, provider };
    let read = wanted.transports(&settings.read_urls)?;
    let wanted = Wanted { per_consumer_qos: false, ..wanted };
    let write = settings.has_two().then(|| wanted.transports(&settings.write_urls)).transpose()?;
    Ok(Brokers { read, write })
}

/// One transport per URL of `broker_write_url`, for what has no worker around it: beat and `--purge`.
///
/// # Errors
/// As with [`brokers`]; a URL whose credentials only Python has.
pub(super) fn write_transports(settings: &BrokerSettings) -> Result<Vec<Arc<dyn Transport>>, AppError> {
    Wanted { settings, per_consumer_qos: false, provider: None }.transports(&settings.write_urls)
}

/// What all transports of one list have in common.
struct Wanted<'s> {
    settings: &'s BrokerSettings,
    per_consumer_qos: bool,
    provider: Option<Arc<dyn CredentialProvider>>,
}

impl Wanted<'_> {
    fn transports(&self, urls: &[String]) -> Result<Vec<Arc<dyn Transport>>, AppError> {
        // Sentinels of one master: together they are one broker.
        if urls.first().is_some_and(|url| url.starts_with("sentinel://")) {
            return Ok(vec![self.transport(&urls.join(";"))?]);
        }
        urls.iter().map(|url| self.transport(url)).collect()
    }

    fn transport(&self, url: &str) -> Result<Arc<dyn Transport>, AppError> {
        let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
        match scheme {
            "redis" | "rediss" | "redis+socket" | "socket" | "sentinel" => {
                redis(url, self.settings, self.provider.clone())
            }
            "amqp" | "amqps" | "pyamqp" => amqp(url, self.settings, self.per_consumer_qos),
            "filesystem" => filesystem(url, self.settings),
            "sqs" => sqs(url, self.settings),
            other => Err(AppError::refused(
                format!("broker transport '{other}' is not supported"),
                format!("use redis://, amqp://, sqs:// or filesystem://, or {PYTHONS}"),
            )),
        }
    }
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str, _: &BrokerSettings, _: Option<Arc<dyn CredentialProvider>>) -> Result<Arc<dyn Transport>, AppError> {
    Err(AppError::refused("this celery-rs was built without the feature 'redis'", "build it with that feature"))
}

#[cfg(feature = "redis")]
fn redis(
    url: &str,
    settings: &BrokerSettings,
    provider: Option<Arc<dyn CredentialProvider>>,
) -> Result<Arc<dyn Transport>, AppError> {
    use crate::broker::redis::{RedisOptions, RedisTransport};
    let options = RedisOptions::from_settings(&settings.transport_options)?.with_use_ssl(&settings.use_ssl)?;
    Ok(Arc::new(RedisTransport::asking(provider, url, options)?))
}

#[cfg(feature = "amqp")]
fn amqp(url: &str, settings: &BrokerSettings, per_consumer_qos: bool) -> Result<Arc<dyn Transport>, AppError> {
    use crate::broker::amqp::{AmqpOptions, AmqpTransport, LoginMethod, TlsOptions};
    let base = AmqpOptions::from_settings(&settings.transport_options)?;
    let options = AmqpOptions {
        connect_timeout: settings.connection_timeout,
        heartbeat: settings.heartbeat.map_or(0, |interval| interval.as_secs().try_into().unwrap_or(u16::MAX)),
        login_method: settings.login_method.as_deref().map_or(Ok(base.login_method), LoginMethod::from_name)?,
        tls: TlsOptions::from_setting(&settings.use_ssl)?.or(base.tls.clone()),
        per_consumer_qos,
        ..base
    };
    Ok(Arc::new(AmqpTransport::new(url, options)?))
}

#[cfg(not(feature = "amqp"))]
fn amqp(_: &str, _: &BrokerSettings, _: bool) -> Result<Arc<dyn Transport>, AppError> {
    Err(AppError::refused("this celery-rs was built without the feature 'amqp'", "build it with that feature"))
}

#[cfg(feature = "filesystem")]
fn filesystem(url: &str, settings: &BrokerSettings) -> Result<Arc<dyn Transport>, AppError> {
    use crate::broker::filesystem::{FilesystemOptions, FilesystemTransport};
    let options = FilesystemOptions::from_settings(&settings.transport_options)?;
    Ok(Arc::new(FilesystemTransport::new(url, options)))
}

#[cfg(not(feature = "filesystem"))]
fn filesystem(_: &str, _: &BrokerSettings) -> Result<Arc<dyn Transport>, AppError> {
    Err(AppError::refused("this celery-rs was built without the feature 'filesystem'", "build it with that feature"))
}

#[cfg(feature = "sqs")]
fn sqs(url: &str, settings: &BrokerSettings) -> Result<Arc<dyn Transport>, AppError> {
    use crate::broker::sqs::{SqsOptions, SqsTransport};
    let options = SqsOptions::from_settings(&settings.transport_options)?;
    Ok(Arc::new(SqsTransport::new(url, options)?))
}

#[cfg(not(feature = "sqs"))]
fn sqs(_: &str, _: &BrokerSettings) -> Result<Arc<dyn Transport>, AppError> {
    Err(AppError::refused("this celery-rs was built without the feature 'sqs'", "build it with that feature"))
}
