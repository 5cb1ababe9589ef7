//! `broker_*`: how to reach the broker and what to do when it is gone.

use std::time::Duration;

use crate::{
    config::{ConfigError, reader::Reader, url},
    serialization::{Map, Value},
};

/// What a client connects to when nobody says anything.
const DEFAULT_URL: &str = "amqp://guest:guest@localhost:5672//";

/// `broker_failover_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailoverStrategy {
    /// One URL after the other.
    #[default]
    RoundRobin,
    /// Any order.
    Shuffle,
}

impl FailoverStrategy {
    /// kombu's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Shuffle => "shuffle",
        }
    }
}

/// The broker connection.
#[derive(Clone)]
pub struct BrokerSettings {
    /// URLs to consume from, never empty: `broker_read_url`, else `broker_url`. They hold passwords.
    pub read_urls: Vec<String>,
    /// URLs to publish to, never empty: `broker_write_url`, else `broker_url`. They hold passwords.
    pub write_urls: Vec<String>,
    /// Which URL follows a failed one.
    pub failover_strategy: FailoverStrategy,
    /// `broker_transport_options`.
    pub transport_options: Map,
    /// `broker_use_ssl`: false, true, or a dict of options.
    pub use_ssl: Value,
    /// `broker_login_method`; none is PLAIN.
    pub login_method: Option<String>,
    /// AMQP heartbeat; none is off. Default 120 seconds.
    pub heartbeat: Option<Duration>,
    /// Default 4 seconds.
    pub connection_timeout: Duration,
    /// Reconnect after a loss. Default true.
    pub connection_retry: bool,
    /// Retry the first connection; follows `connection_retry` unless set.
    pub connection_retry_on_startup: bool,
    /// Attempts before giving up; none is for ever. Default 100.
    pub connection_max_retries: Option<u32>,
    /// Reconnect after channel errors too. Default false.
    pub channel_error_retry: bool,
    /// `classic` or `quorum`. Default `quorum`.
    pub native_delayed_delivery_queue_type: String,
}

impl std::fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let masked = |urls: &[String]| urls.iter().map(|url| url::mask(url)).collect::<Vec<_>>();
        f.debug_struct("BrokerSettings")
            .field("read_urls", &masked(&self.read_urls))
            .field("write_urls", &masked(&self.write_urls))
            .finish_non_exhaustive()
    }
}

impl BrokerSettings {
    /// Whether another broker is published to than is consumed from.
    pub fn has_two(&self) -> bool {
        self.read_urls != self.write_urls
    }

    pub(super) fn read(reader: &Reader) -> Result<Self, ConfigError> {
        let both = main_urls(reader)?;
        let connection_retry = reader.truth("broker_connection_retry");
        Ok(Self {
            read_urls: urls(reader, "broker_read_url")?.unwrap_or_else(|| both.clone()),
            write_urls: urls(reader, "broker_write_url")?.unwrap_or(both),
            failover_strategy: failover_strategy(reader)?,
            transport_options: reader.map("broker_transport_options")?,
            use_ssl: reader.value("broker_use_ssl"),
            login_method: reader.maybe_text("broker_login_method")?,
            heartbeat: reader.maybe_seconds("broker_heartbeat")?,
            connection_timeout: reader.seconds("broker_connection_timeout")?,
            connection_retry,
            connection_retry_on_startup: reader
                .maybe_truth("broker_connection_retry_on_startup")
                .unwrap_or(connection_retry),
            connection_max_retries: reader.maybe_count("broker_connection_max_retries")?.filter(|n| *n > 0),
            channel_error_retry: reader.truth("broker_channel_error_retry"),
            native_delayed_delivery_queue_type: reader.text("broker_native_delayed_delivery_queue_type")?,
        })
    }
}

fn failover_strategy(reader: &Reader) -> Result<FailoverStrategy, ConfigError> {
    let setting = "broker_failover_strategy";
    match reader.maybe_text(setting)?.as_deref() {
        None | Some("" | "round-robin") => Ok(FailoverStrategy::RoundRobin),
        Some("shuffle") => Ok(FailoverStrategy::Shuffle),
        Some(_) => Err(reader.invalid(setting, "must be round-robin or shuffle")),
    }
}

/// The URLs of one setting; none when it is unset.
fn urls(reader: &Reader, setting: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
    let all: Vec<String> = reader.texts(setting)?.iter().flat_map(|text| url::failover(text)).collect();
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// `broker_url`, or what its parts say, or Celery's default. A bare word is a host for AMQP, or a transport's name.
fn main_urls(reader: &Reader) -> Result<Vec<String>, ConfigError> {
    if let Some(urls) = urls(reader, "broker_url")? {
        return Ok(urls.into_iter().map(with_scheme).collect());
    }
    let host = reader.maybe_text("broker_host")?;
    if let Some(host) = host.as_deref().filter(|host| host.contains("://")) {
        return Ok(url::failover(host));
    }
    let transport = reader.maybe_text("broker_transport")?.filter(|name| !name.is_empty());
    if host.is_none() && transport.is_none() && reader.maybe_text("broker_vhost")?.is_none() {
        return Ok(vec![DEFAULT_URL.to_owned()]);
    }
    compose(reader, transport.as_deref().unwrap_or("amqp"), host.as_deref()).map(|url| vec![url])
}

fn with_scheme(url: String) -> String {
    if url.contains("://") {
        return url;
    }
    match url.as_str() {
        "amqp" | "amqps" | "pyamqp" | "redis" | "rediss" | "memory" | "filesystem" | "sqs" => format!("{url}://"),
        _ => format!("amqp://{url}"),
    }
}

fn compose(reader: &Reader, transport: &str, host: Option<&str>) -> Result<String, ConfigError> {
    let parts = url::ConnectionUrl {
        scheme: transport.to_owned(),
        host: host.map(str::to_owned),
        port: reader.maybe_integer("broker_port")?.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        user: reader.maybe_text("broker_user")?.filter(|user| !user.is_empty()),
        password: reader.maybe_text("broker_password")?.filter(|password| !password.is_empty()),
        path: match reader.value("broker_vhost") {
            Value::Int(database) => Some(database.to_string()),
            _ => reader.maybe_text("broker_vhost")?,
        },
        query: Vec::new(),
    };
    Ok(parts.with_password())
}
