//! [`RedisUrl`]: where the server is, out of `broker_url`.

use std::{path::PathBuf, sync::Arc};

use percent_encoding::percent_decode_str;

use crate::{
    broker::{BrokerError, CredentialProvider, Credentials, redis::tls::TlsOptions},
    serialization::{Map, Value},
};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Host and port.
    Tcp(String, u16),
    /// A Unix socket.
    Socket(PathBuf),
    /// Hosts and ports of sentinels that know the master.
    Sentinels(Vec<(String, u16)>),
}

/// A parsed broker URL: `redis://`, `rediss://`, `redis+socket://` or `sentinel://`.
#[derive(Clone)]
pub(super) struct RedisUrl {
    scheme: String,
    pub place: Place,
    pub username: Option<String>,
    pub password: Option<String>,
    /// The path of a Python class that knows user and password; those of the URL do not count then.
    pub credential_provider: Option<String>,
    /// Whoever can ask that class.
    pub provider: Option<Arc<dyn CredentialProvider>>,
    pub db: u8,
    pub tls: Option<TlsOptions>,
    /// `ssl_*` parameters were given.
    pub has_tls_parameters: bool,
}

impl RedisUrl {
    /// Parses with the rules of `kombu/utils/url.py` and `kombu/transport/redis.py:_connparams`.
    pub fn parse(text: &str) -> Result<Self, BrokerError> {
        let mut urls = text.split(';').map(str::trim).filter(|url| !url.is_empty());
        let first = urls.next().ok_or_else(|| unusable("the broker URL is empty"))?;
        let (scheme, rest) = first.split_once("://").ok_or_else(|| unusable("the broker URL has no scheme"))?;
        let mut parsed = match scheme {
            "redis" | "rediss" | "sentinel" => Self::parse_tcp(scheme, rest)?,
            "redis+socket" | "socket" => Self::parse_socket(scheme, rest)?,
            _ => return Err(unusable(&format!("the redis transport does not know the scheme {scheme:?}"))),
        };
        if let Place::Sentinels(hosts) = &mut parsed.place {
            hosts.extend(urls.map(sentinel).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(parsed)
    }

    /// What to log in with, for one connection.
    ///
    /// # Errors
    /// The provider does not know it now: another attempt may help.
    pub async fn credentials(&self) -> Result<Credentials, BrokerError> {
        let (Some(class), Some(provider)) = (&self.credential_provider, &self.provider) else {
            return Ok(Credentials { username: self.username.clone(), password: self.password.clone() });
        };
        let given = provider.credentials(class).await;
        given.map_err(|reason| BrokerError::lost(format!("cannot log in to {}: {class}: {reason}", self.sanitized())))
    }

    /// The URL as Celery logs it (`kombu/connection.py:as_uri`).
    pub fn sanitized(&self) -> String {
        let user = self.username.as_deref().unwrap_or_default();
        match &self.place {
            Place::Socket(path) => format!("{}://{}", self.scheme, path.display()),
            Place::Tcp(host, port) => format!("{}://{user}:**@{host}:{port}/{}", self.scheme, self.db),
            Place::Sentinels(hosts) => {
                let (host, port) = &hosts[0];
                format!("{}://{user}:**@{host}:{port}/{}", self.scheme, self.db)
            }
        }
    }

    fn parse_tcp(scheme: &str, rest: &str) -> Result<Self, BrokerError> {
        let (rest, query) = split_query(rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password, address) = credentials(authority)?;
        let parameters = Parameters::parse(query)?;
        let (host, port) = match scheme {
            "sentinel" => host_and_port(address, DEFAULT_SENTINEL_PORT)?,
            _ => host_and_port(address, DEFAULT_PORT)?,
        };
        let place = if scheme == "sentinel" { Place::Sentinels(vec![(host, port)]) } else { Place::Tcp(host, port) };
        let has_tls_parameters = !parameters.ssl.is_empty();
        let tls = match scheme {
            "rediss" => Some(TlsOptions::from_map(&parameters.ssl)?),
            _ if has_tls_parameters => Some(TlsOptions::from_map(&parameters.ssl)?),
            _ => None,
        };
        let db = database(parameters.virtual_host.as_deref().unwrap_or(&decode(path)?))?;
        Ok(Self {
            scheme: scheme.to_owned(),
            place,
            username,
            password,
            credential_provider: parameters.credential_provider,
            provider: None,
            db,
            tls,
            has_tls_parameters,
        })
    }

    fn parse_socket(scheme: &str, rest: &str) -> Result<Self, BrokerError> {
        let (rest, query) = split_query(rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password, _) = credentials(authority)?;
        let parameters = Parameters::parse(query)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            place: Place::Socket(PathBuf::from(format!("/{}", decode(path)?))),
            username: username.or(parameters.username),
            password: password.or(parameters.password),
            credential_provider: parameters.credential_provider,
            provider: None,
            db: database(parameters.virtual_host.as_deref().unwrap_or_default())?,
            tls: None,
            has_tls_parameters: false,
        })
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sanitized())
    }
}

/// The query string.
#[derive(Default)]
struct Parameters {
    virtual_host: Option<String>,
    username: Option<String>,
    password: Option<String>,
    credential_provider: Option<String>,
    ssl: Map,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, BrokerError> {
        let mut parameters = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            parameters.set(&key, value.into_owned())?;
        }
        Ok(parameters)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), BrokerError> {
        match key {
            "virtual_host" => self.virtual_host = Some(value),
            "username" => self.username = Some(value),
            "password" => self.password = Some(value),
            "credential_provider" => self.credential_provider = Some(value).filter(|class| !class.is_empty()),
            "heartbeat" | "connect_timeout" | "login_method" => {}
            _ if key.starts_with("ssl_") => {
                self.ssl.insert(key.to_owned(), Value::Str(value));
            }
            _ => return Err(unusable(&format!("the broker URL has the unknown parameter {key:?}"))),
        }
        Ok(())
    }
}

fn sentinel(url: &str) -> Result<(String, u16), BrokerError> {
    let rest = url.strip_prefix("sentinel://").ok_or_else(|| unusable("a list of sentinels holds another scheme"))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    host_and_port(credentials(authority)?.2, DEFAULT_SENTINEL_PORT)
}

fn split_query(rest: &str) -> (&str, &str) {
    let rest = rest.split('#').next().unwrap_or_default();
    rest.split_once('?').unwrap_or((rest, ""))
}

type Authority<'a> = (Option<String>, Option<String>, &'a str);

fn credentials(authority: &str) -> Result<Authority<'_>, BrokerError> {
    let Some((user_info, address)) = authority.rsplit_once('@') else { return Ok((None, None, authority)) };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let some = |text: &str| decode(text).map(|text| (!text.is_empty()).then_some(text));
    Ok((some(user)?, some(password)?, address))
}

fn host_and_port(address: &str, default_port: u16) -> Result<(String, u16), BrokerError> {
    let bracket = address.rfind(']').unwrap_or(0);
    let (host, port) = match address[bracket..].rfind(':') {
        Some(colon) => (&address[..bracket + colon], &address[bracket + colon + 1..]),
        None => (address, ""),
    };
    let port = match port {
        "" => default_port,
        port => port.parse().map_err(|_| unusable("the port in the broker URL is not a number up to 65535"))?,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((if host.is_empty() { "127.0.0.1".to_owned() } else { decode(host)? }, port))
}

fn database(path: &str) -> Result<u8, BrokerError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(0);
    }
    path.parse().map_err(|_| unusable(&format!("the database must be a number from 0 to 255, not {path:?}")))
}

fn decode(text: &str) -> Result<String, BrokerError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| unusable("the broker URL has percent escapes that are not UTF-8"))
}

fn unusable(reason: &str) -> BrokerError {
    BrokerError::unusable(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Place {
        Place::Tcp(host.to_owned(), port)
    }

    #[test]
    fn urls_are_read_as_kombu_reads_them() {
        let table = [
            ("redis://", tcp("127.0.0.1", 6379), None, None, 0),
            ("redis://localhost//", tcp("localhost", 6379), None, None, 0),
            ("redis://:p%40ss@h:1234/3", tcp("h", 1234), None, Some("p@ss"), 3),
            ("redis://u:p@[::1]:7/1", tcp("::1", 7), Some("u"), Some("p"), 1),
            ("redis://h?virtual_host=2", tcp("h", 6379), None, None, 2),
            (
                "redis+socket:///run/r.sock?virtual_host=3&password=x",
                Place::Socket("/run/r.sock".into()),
                None,
                Some("x"),
                3,
            ),
            (
                "sentinel://:p@a:1/2;sentinel://b",
                Place::Sentinels(vec![("a".into(), 1), ("b".into(), 26379)]),
                None,
                Some("p"),
                2,
            ),
        ];
        for (text, place, user, password, db) in table {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(
                (url.place, url.username.as_deref(), url.password.as_deref(), url.db),
                (place, user, password, db)
            );
        }
    }

    #[test]
    fn a_provider_is_named_by_its_path() {
        let url = RedisUrl::parse("redis://u:p@h/1?credential_provider=shop.Provider").unwrap();
        assert_eq!(url.credential_provider.as_deref(), Some("shop.Provider"));
        assert_eq!(RedisUrl::parse("redis://h?credential_provider=").unwrap().credential_provider, None);
    }

    #[test]
    fn nonsense_is_refused_without_the_password() {
        for text in ["", "h:1", "amqp://h", "redis://:secret@h/x", "redis://:secret@h:99999", "redis://:secret@h?x=1"] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::broker::BrokerErrorKind::Unusable);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_password_never_shows() {
        let url = RedisUrl::parse("redis://u:secret@h:1/2").unwrap();
        assert_eq!(format!("{url:?}"), "redis://u:**@h:1/2");
    }

    #[test]
    fn rediss_is_tls_without_checks() {
        let url = RedisUrl::parse("rediss://h").unwrap();
        assert!(!url.tls.as_ref().unwrap().verifies());
        let url = RedisUrl::parse("rediss://h?ssl_cert_reqs=required").unwrap();
        assert!(url.tls.unwrap().verifies());
        assert!(RedisUrl::parse("redis://h").unwrap().tls.is_none());
        assert!(RedisUrl::parse("rediss://h?ssl_cert_reqs=maybe").is_err());
    }
}
