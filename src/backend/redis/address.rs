//! [`Address`]: which server, as whom and how, from the URL and the `redis_*` settings.

use std::{path::PathBuf, time::Duration};

use crate::{
    backend::{
        BackendError, RedisSettings,
        redis::{
            tls::TlsSettings,
            url::{UrlParts, unusable},
        },
    },
    serialization::Value,
};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;
const DEFAULT_SOCKET_TIMEOUT: Duration = Duration::from_secs(120);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Parameters of redis-py's connections that change nothing for a client that has one pipelined connection.
const WITHOUT_EFFECT: [&str; 10] = [
    "max_connections",
    "retry_on_timeout",
    "health_check_interval",
    "socket_keepalive",
    "socket_read_size",
    "timeout",
    "encoding",
    "encoding_errors",
    "protocol",
    "legacy_responses",
];

/// Where the results go.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u8,
    pub(super) tls: Option<TlsSettings>,
    pub(super) socket_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) client_name: Option<String>,
    /// `decode_responses`: Celery then ignores `result_compression`.
    pub(super) is_text_only: bool,
    /// For people.
    pub(super) shown: String,
}

/// What is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
    Sentinel { hosts: Vec<(String, u16)>, service: String, username: Option<String>, password: Option<String> },
}

impl Address {
    /// Mirrors `celery/backends/redis.py:RedisBackend.__init__` and `_params_from_url`; several addresses with `;` are
    /// sentinels.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] for what Celery refuses with a `ValueError` or redis-py with a `TypeError`.
    pub(super) fn parse(url: &str, settings: &RedisSettings) -> Result<Self, BackendError> {
        let url = url.strip_prefix("redis+").unwrap_or(url);
        if url.starts_with("sentinel://") {
            return Self::sentinels(url, settings);
        }
        Self::single(&UrlParts::parse(url)?, settings)
    }

    fn single(parts: &UrlParts, settings: &RedisSettings) -> Result<Self, BackendError> {
        let mut address = Self::from_settings(settings, parts.sanitized())?;
        address.username = parts.username.clone().or(address.username);
        address.password = parts.password.clone().or(address.password);
        match parts.scheme.as_str() {
            "socket" => address.place = Place::Unix(format!("/{}", parts.path.as_deref().unwrap_or_default()).into()),
            "redis" | "rediss" | "sentinel" => address.locate(parts, settings)?,
            other => return Err(unusable(format_args!("{other}:// is not Redis"))),
        }
        for (name, value) in &parts.query {
            address.apply(&parts.scheme, name, value)?;
        }
        if let Some(tls) = &address.tls {
            tls.check()?;
        }
        Ok(address)
    }

    fn from_settings(settings: &RedisSettings, shown: String) -> Result<Self, BackendError> {
        let tls = settings.use_ssl.as_ref().filter(|map| !map.is_empty()).map(TlsSettings::from_map).transpose()?;
        Ok(Self {
            place: Place::Tcp { host: String::new(), port: DEFAULT_PORT },
            username: settings.username.clone(),
            password: settings.password.clone(),
            db: settings.db.unwrap_or(0),
            tls,
            socket_timeout: settings.socket_timeout.unwrap_or(DEFAULT_SOCKET_TIMEOUT),
            connect_timeout: settings.socket_connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            client_name: settings.client_name.clone(),
            is_text_only: false,
            shown,
        })
    }

    fn locate(&mut self, parts: &UrlParts, settings: &RedisSettings) -> Result<(), BackendError> {
        let default_port = if parts.scheme == "sentinel" { DEFAULT_SENTINEL_PORT } else { DEFAULT_PORT };
        let host = parts.host.clone().or_else(|| settings.host.clone());
        self.place = Place::Tcp {
            host: host.unwrap_or_else(|| "localhost".to_owned()),
            port: parts.port.filter(|&port| port != 0).or(settings.port).unwrap_or(default_port),
        };
        // As in Celery, a URL without a path means database 0, whatever `redis_db` says.
        self.db = parts.path.as_deref().map_or(Ok(0), database)?;
        if parts.scheme == "rediss" {
            self.tls.get_or_insert_default();
        }
        Ok(())
    }

    fn sentinels(url: &str, settings: &RedisSettings) -> Result<Self, BackendError> {
        let chunks = url.split(';').map(UrlParts::parse).collect::<Result<Vec<_>, _>>()?;
        let addresses = chunks.iter().map(|parts| Self::single(parts, settings)).collect::<Result<Vec<_>, _>>()?;
        let hosts = addresses.iter().filter_map(|address| match &address.place {
            Place::Tcp { host, port } => Some((host.clone(), *port)),
            _ => None,
        });
        let service = settings.master_name.clone();
        let service =
            service.ok_or_else(|| unusable("sentinel:// needs master_name in result_backend_transport_options"))?;
        let credential = |name: &str| settings.sentinel_kwargs.get(name).and_then(Value::as_str).map(str::to_owned);
        let place = Place::Sentinel {
            hosts: hosts.collect(),
            service,
            username: credential("username"),
            password: credential("password"),
        };
        let shown = chunks.iter().map(UrlParts::sanitized).collect::<Vec<_>>().join(";");
        let first = addresses.into_iter().next().ok_or_else(|| unusable("it names no sentinel"))?;
        Ok(Self { place, shown, ..first })
    }

    fn apply(&mut self, scheme: &str, name: &str, value: &str) -> Result<(), BackendError> {
        match name {
            "virtual_host" if scheme == "socket" => self.db = database(value)?,
            "virtual_host" => {}
            "db" => self.db = database(value)?,
            "username" => self.username = Some(value.to_owned()),
            "password" => self.password = Some(value.to_owned()),
            "client_name" => self.client_name = Some(value.to_owned()),
            "socket_timeout" => self.socket_timeout = seconds(name, value)?,
            "socket_connect_timeout" => self.connect_timeout = seconds(name, value)?,
            "decode_responses" => self.is_text_only = true,
            "credential_provider" => {
                return Err(BackendError::Unsupported(
                    "result_backend: credential_provider is a Python object".to_owned(),
                ));
            }
            _ if name.starts_with("ssl_") && scheme == "redis" => return Err(unusable(SSL_NEEDS_REDISS)),
            _ if name.starts_with("ssl_") => self.tls.get_or_insert_default().apply(name, &Value::from(value))?,
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(unusable(format_args!("its parameter {name} is none of a Redis connection"))),
        }
        Ok(())
    }
}

const SSL_NEEDS_REDISS: &str = "SSL connection parameters have been provided but the specified URL scheme is redis://. \
    A Redis SSL connection URL should use the scheme rediss://.";

/// `db may be string and start with / like in kombu`.
fn database(text: &str) -> Result<u8, BackendError> {
    let text = text.trim_matches('/');
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| unusable("its database is no number from 0 to 255"))
}

fn seconds(name: &str, value: &str) -> Result<Duration, BackendError> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| unusable(format_args!("its parameter {name} is no number of seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::Map;

    fn parse(url: &str) -> Result<Address, BackendError> {
        Address::parse(url, &RedisSettings::default())
    }

    fn tcp(host: &str, port: u16) -> Place {
        Place::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn finds_the_server() {
        let cases = [
            ("redis://", tcp("localhost", 6379), 0),
            ("redis://h/", tcp("h", 6379), 0),
            ("redis://h:7//2", tcp("h", 7), 2),
            ("socket:///run/redis.sock?virtual_host=3", Place::Unix("/run/redis.sock".into()), 3),
            ("redis+socket:///run/redis.sock", Place::Unix("/run/redis.sock".into()), 0),
            ("rediss://h:1/4?ssl_cert_reqs=required", tcp("h", 1), 4),
        ];
        for (url, place, db) in cases {
            let address = parse(url).unwrap();
            assert_eq!((address.place, address.db), (place, db), "{url}");
        }
    }

    #[test]
    fn refuses_what_celery_refuses() {
        let bad = [
            "redis://h/x",
            "redis://h/0?ssl_cert_reqs=none",
            "rediss://h/0",
            "rediss://h/0?ssl_cert_reqs=sometimes",
            "redis://h/0?visibility_timeout=3",
            "redis://h/0?socket_timeout=soon",
            "http://h/0",
            "sentinel://h/0",
        ];
        for url in bad {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn settings_fill_what_the_url_leaves_open() {
        let settings = RedisSettings {
            host: Some("set".into()),
            port: Some(9),
            db: Some(5),
            password: Some("p".into()),
            client_name: Some("n".into()),
            ..RedisSettings::default()
        };
        let address = Address::parse("redis://?client_name=q", &settings).unwrap();
        assert_eq!((address.place, address.db), (tcp("set", 9), 0));
        assert_eq!((address.password.as_deref(), address.client_name.as_deref()), (Some("p"), Some("q")));
        assert_eq!(Address::parse("redis://:u@h", &settings).unwrap().password.as_deref(), Some("u"));
    }

    #[test]
    fn asks_sentinels_for_the_master() {
        let sentinel_kwargs = Map::from_iter([("password".to_owned(), "s".into())]);
        let settings = RedisSettings { master_name: Some("m".into()), sentinel_kwargs, ..RedisSettings::default() };
        let address = Address::parse("sentinel://:p@a/2;sentinel://:p@b:7/3", &settings).unwrap();
        let hosts = vec![("a".to_owned(), 26379), ("b".to_owned(), 7)];
        let place = Place::Sentinel { hosts, service: "m".into(), username: None, password: Some("s".into()) };
        assert_eq!((address.place, address.db, address.password.as_deref()), (place, 2, Some("p")));
        assert_eq!(address.shown, "sentinel://:**@a/2;sentinel://:**@b:7/3");
    }

    #[test]
    fn use_ssl_works_with_redis_urls() {
        let use_ssl = Map::from_iter([("ssl_cert_reqs".to_owned(), "none".into())]);
        let settings = RedisSettings { use_ssl: Some(use_ssl), ..RedisSettings::default() };
        assert!(Address::parse("redis://h/0", &settings).unwrap().tls.is_some());
        let settings = RedisSettings { use_ssl: Some(Map::new()), ..RedisSettings::default() };
        assert!(Address::parse("redis://h/0", &settings).unwrap().tls.is_none());
    }
}
