//! [`RedisOptions`]: `broker_transport_options` as the Redis transport understands them.

use std::time::Duration;

use crate::{
    broker::{
        BrokerError,
        redis::tls::TlsOptions,
        transport_option::{body_encoding, refused, seconds, text},
    },
    serialization::{Map, Value},
};

/// In which order the queues of one priority are asked (`queue_order_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueOrderStrategy {
    /// A queue that gave a message goes to the end. The default.
    #[default]
    RoundRobin,
    /// By name, always.
    Sorted,
    /// As declared, always.
    Priority,
}

/// What a fanout channel's name begins with (`fanout_prefix`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FanoutPrefix {
    /// `/<db>.`, the default.
    #[default]
    Database,
    /// No prefix (`False`), as kombu 3 did.
    None,
    /// One's own text; `{db}` in it stands for the number of the database.
    Custom(String),
}

/// Options of the Redis transport, with kombu's names and defaults (`kombu/transport/redis.py:Channel`).
#[derive(Debug, Clone, PartialEq)]
pub struct RedisOptions {
    /// Between a queue's name and its priority step, and in binding members. Default: the bytes 0x06 0x16.
    pub sep: String,
    /// The lists that priorities 0 to 9 are spread over. Default: 0, 3, 6, 9.
    pub priority_steps: Vec<i64>,
    /// Default: round robin.
    pub queue_order_strategy: QueueOrderStrategy,
    /// Before every key and channel. Default: empty.
    pub global_keyprefix: String,
    /// How long a message may stay unacknowledged before anyone may put it back. Default: 1 hour.
    pub visibility_timeout: Duration,
    /// Hash of what is held. Default: `unacked`.
    pub unacked_key: String,
    /// Sorted set of when it was taken. Default: `unacked_index`.
    pub unacked_index_key: String,
    /// Lock of the sweep. Default: `unacked_mutex`.
    pub unacked_mutex_key: String,
    /// How long that lock may live. Default: 300 s; we take it for 30 s at most.
    pub unacked_mutex_expire: Duration,
    /// How many messages one sweep puts back at most; none is all of them, the default.
    pub unacked_restore_limit: Option<u64>,
    /// Time between sweeps, times the throttle. Default: 10 s.
    pub unacked_restore_interval: Duration,
    /// Every how many intervals there is a sweep. Default: 10.
    pub unacked_restore_throttle: u32,
    /// Default: `/<db>.`.
    pub fanout_prefix: FanoutPrefix,
    /// Whether a fanout channel's name ends with the routing key. Default: yes.
    pub fanout_patterns: bool,
    /// How long any reply may take; none waits for as long as the health checks allow, the default.
    pub socket_timeout: Option<Duration>,
    /// How long a connect may take. Default: 10 s.
    pub socket_connect_timeout: Option<Duration>,
    /// TCP keepalive. Default: off.
    pub socket_keepalive: bool,
    /// Time between health checks; none is no checks. Default: 25 s.
    pub health_check_interval: Option<Duration>,
    /// Whether taken messages are noted in the unacked keys. Default: yes. Without it a crash loses what was held.
    pub ack_emulation: bool,
    /// Whether bodies are written in base64 (`body_encoding`). Default: yes.
    pub base64_bodies: bool,
    /// Where messages go that no binding matches. Default: nowhere.
    pub deadletter_queue: Option<String>,
    /// `CLIENT SETNAME`. Default: none.
    pub client_name: Option<String>,
    /// How often to look for messages where the server refuses to tell (no `CLIENT TRACKING`), in place of the timeout of
    /// kombu's BRPOP. Default: 1 s.
    pub polling_interval: Duration,
    /// Sentinel: the name of the master's group.
    pub master_name: Option<String>,
    /// Sentinel: user and password for the sentinels themselves (`sentinel_kwargs`).
    pub sentinel_credentials: (Option<String>, Option<String>),
    /// `broker_use_ssl`. Default: TLS only where the URL says so.
    pub tls: Option<TlsOptions>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            sep: "\x06\x16".to_owned(),
            priority_steps: vec![0, 3, 6, 9],
            queue_order_strategy: QueueOrderStrategy::default(),
            global_keyprefix: String::new(),
            visibility_timeout: Duration::from_secs(3600),
            unacked_key: "unacked".to_owned(),
            unacked_index_key: "unacked_index".to_owned(),
            unacked_mutex_key: "unacked_mutex".to_owned(),
            unacked_mutex_expire: Duration::from_secs(300),
            unacked_restore_limit: None,
            unacked_restore_interval: Duration::from_secs(10),
            unacked_restore_throttle: 10,
            fanout_prefix: FanoutPrefix::default(),
            fanout_patterns: true,
            socket_timeout: None,
            socket_connect_timeout: None,
            socket_keepalive: false,
            health_check_interval: Some(Duration::from_secs(25)),
            ack_emulation: true,
            base64_bodies: true,
            deadletter_queue: None,
            client_name: None,
            polling_interval: Duration::from_secs(1),
            master_name: None,
            sentinel_credentials: (None, None),
            tls: None,
        }
    }
}

impl RedisOptions {
    /// Reads `broker_transport_options`. Keys that kombu would ignore are ignored as well, with a warning; a value that
    /// cannot be honoured is an error of kind [`Unusable`](crate::broker::BrokerErrorKind::Unusable).
    pub fn from_settings(settings: &Map) -> Result<Self, BrokerError> {
        let mut options = Self::default();
        for (key, value) in settings {
            if !value.is_null() {
                options.set(key, value)?;
            }
        }
        Ok(options)
    }

    /// Takes `broker_use_ssl`: a dict of `ssl_*` options, or true for their defaults.
    pub fn with_use_ssl(mut self, setting: &Value) -> Result<Self, BrokerError> {
        self.tls = TlsOptions::from_setting(setting)?;
        Ok(self)
    }

    /// Time between two sweeps.
    pub(super) fn sweep_interval(&self) -> Duration {
        self.unacked_restore_interval * self.unacked_restore_throttle.max(1)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        match key {
            "visibility_timeout" => self.visibility_timeout = seconds(key, value)?,
            "unacked_mutex_expire" => self.unacked_mutex_expire = seconds(key, value)?,
            "unacked_restore_limit" => self.unacked_restore_limit = Some(integer(key, value)?.max(0) as u64),
            "unacked_restore_interval" => {
                self.unacked_restore_interval = positive(key, value, self.unacked_restore_interval)?
            }
            "unacked_restore_throttle" => {
                self.unacked_restore_throttle = integer(key, value)?.clamp(1, 1_000_000) as u32
            }
            "socket_timeout" => self.socket_timeout = Some(seconds(key, value)?),
            "socket_connect_timeout" => self.socket_connect_timeout = Some(seconds(key, value)?),
            "socket_keepalive" => self.socket_keepalive = value.is_truthy(),
            "health_check_interval" => self.health_check_interval = some_time(seconds(key, value)?),
            "polling_interval" => self.polling_interval = positive(key, value, self.polling_interval)?,
            "fanout_patterns" => self.fanout_patterns = value.is_truthy(),
            "fanout_prefix" => self.fanout_prefix = fanout_prefix(value),
            "ack_emulation" => self.ack_emulation = value.is_truthy(),
            "priority_steps" => self.priority_steps = steps(key, value)?,
            "queue_order_strategy" => self.queue_order_strategy = strategy(value)?,
            "sentinel_kwargs" => self.sentinel_credentials = sentinel_credentials(key, value)?,
            "body_encoding" => self.base64_bodies = body_encoding(value)?,
            _ => return self.set_name(key, value),
        }
        Ok(())
    }

    fn set_name(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        match key {
            "sep" => self.sep = text(key, value)?,
            "global_keyprefix" => self.global_keyprefix = text(key, value)?,
            "unacked_key" => self.unacked_key = text(key, value)?,
            "unacked_index_key" => self.unacked_index_key = text(key, value)?,
            "unacked_mutex_key" => self.unacked_mutex_key = text(key, value)?,
            "deadletter_queue" => self.deadletter_queue = Some(text(key, value)?),
            "client_name" => self.client_name = Some(text(key, value)?),
            "master_name" => self.master_name = Some(text(key, value)?),
            "credential_provider" => {
                return Err(refused(
                    key,
                    "kombu does not look for it there; name the class in the broker URL: ?credential_provider=...",
                ));
            }
            "sentinel_fanout_compat" if value.is_truthy() => {
                return Err(refused(key, "the channels of kombu before 5.4 are not supported"));
            }
            _ => note_ignored(key),
        }
        Ok(())
    }
}

/// Options without a meaning for us: pools and retries that we do not have, or kombu's own connection handling.
const WITHOUT_EFFECT: [&str; 18] = [
    "max_connections",
    "retry_on_timeout",
    "retry_on_error",
    "socket_keepalive_options",
    "reauth_check_interval",
    "min_other_sentinels",
    "sentinel_fanout_compat",
    "max_retries",
    "interval_start",
    "interval_step",
    "interval_max",
    "connect_retries_timeout",
    "confirm_publish",
    "confirm_timeout",
    "result_chord_ordered",
    "retry_policy",
    "errback",
    "queue_name_prefix",
];

fn note_ignored(key: &str) {
    if !WITHOUT_EFFECT.contains(&key) {
        tracing::warn!("broker_transport_options: the redis transport has no option {key:?}; it is ignored");
    }
}

fn integer(key: &str, value: &Value) -> Result<i64, BrokerError> {
    value.as_i64().ok_or_else(|| refused(key, "must be an integer"))
}

fn some_time(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

fn positive(key: &str, value: &Value, otherwise: Duration) -> Result<Duration, BrokerError> {
    Ok(some_time(seconds(key, value)?).unwrap_or(otherwise))
}

fn fanout_prefix(value: &Value) -> FanoutPrefix {
    match value.as_str() {
        Some(prefix) if !prefix.is_empty() => FanoutPrefix::Custom(prefix.to_owned()),
        _ if value.is_truthy() => FanoutPrefix::Database,
        _ => FanoutPrefix::None,
    }
}

fn steps(key: &str, value: &Value) -> Result<Vec<i64>, BrokerError> {
    let items = value.as_list().ok_or_else(|| refused(key, "must be a list of integers"))?;
    if items.is_empty() || items.len() > 256 {
        return Err(refused(key, "must have between 1 and 256 steps"));
    }
    items.iter().map(|item| integer(key, item)).collect()
}

fn strategy(value: &Value) -> Result<QueueOrderStrategy, BrokerError> {
    match value.as_str() {
        Some("round_robin") => Ok(QueueOrderStrategy::RoundRobin),
        Some("sorted") => Ok(QueueOrderStrategy::Sorted),
        Some("priority") => Ok(QueueOrderStrategy::Priority),
        _ => Err(refused("queue_order_strategy", "must be round_robin, sorted or priority; classes are not supported")),
    }
}

fn sentinel_credentials(key: &str, value: &Value) -> Result<(Option<String>, Option<String>), BrokerError> {
    let map = value.as_map().ok_or_else(|| refused(key, "must be a dict"))?;
    let entry = |name| map.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok((entry("username"), entry("password")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    fn options(text: &str) -> Result<RedisOptions, BrokerError> {
        let value = json::parse(text.as_bytes()).expect("JSON");
        RedisOptions::from_settings(value.as_map().expect("an object"))
    }

    #[test]
    fn kombus_names_are_understood() {
        let read = options(
            r#"{"visibility_timeout": 43200, "priority_steps": [0, 5], "queue_order_strategy": "priority",
                "global_keyprefix": "app:", "fanout_prefix": false, "health_check_interval": 0, "sep": ":",
                "unacked_restore_interval": 0, "unacked_restore_throttle": 1, "max_retries": 3, "nonsense": {}}"#,
        )
        .unwrap();
        assert_eq!(read.visibility_timeout, Duration::from_secs(43200));
        assert_eq!(read.priority_steps, [0, 5]);
        assert_eq!(read.queue_order_strategy, QueueOrderStrategy::Priority);
        assert_eq!((read.global_keyprefix.as_str(), read.sep.as_str()), ("app:", ":"));
        assert_eq!(read.fanout_prefix, FanoutPrefix::None);
        assert_eq!(read.health_check_interval, None);
        assert_eq!(read.sweep_interval(), Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, key) in [
            (r#"{"queue_order_strategy": "my.Cycle"}"#, "queue_order_strategy"),
            (r#"{"credential_provider": "my.Provider"}"#, "credential_provider"),
            (r#"{"priority_steps": []}"#, "priority_steps"),
            (r#"{"visibility_timeout": -1}"#, "visibility_timeout"),
            (r#"{"socket_timeout": "long"}"#, "socket_timeout"),
        ] {
            let error = options(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
