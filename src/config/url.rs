//! Broker and backend URLs as kombu reads them (`kombu/utils/url.py`), and the ways to show them without passwords.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::config::ConfigError;

/// What Python's `quote(text, safe='')` leaves alone, besides letters and digits: `_.-~`.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// A URL in parts, each decoded. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConnectionUrl {
    /// `redis`, `rediss`, `amqp`, `amqps`, `pyamqp`, `redis+socket`, `sentinel`, `memory`, ...
    pub scheme: String,
    /// Decoded host, if there is one.
    pub host: Option<String>,
    /// Port, if there is one.
    pub port: Option<u16>,
    /// Decoded user, if there is one.
    pub user: Option<String>,
    /// Decoded password, if there is one.
    pub password: Option<String>,
    /// Decoded path without its first slash: a virtual host, a database number, a file.
    pub path: Option<String>,
    /// Decoded query, in order.
    pub query: Vec<(String, String)>,
}

impl std::fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConnectionUrl({})", self.masked())
    }
}

impl ConnectionUrl {
    /// Parses one URL with kombu's leniencies: everything may be missing, also the host.
    ///
    /// # Errors
    /// When there is no scheme, or the port is not one.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or(refusal("a scheme such as redis:// is missing"))?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (host, port) = split_port(address)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: decode(host),
            port,
            user: decode(user),
            password: decode(password),
            path: decode(path),
            query: pairs(query),
        })
    }

    /// The URL with `**` for its password and without its query, as Celery's banner and log lines show it.
    pub fn masked(&self) -> String {
        self.shown(self.password.as_ref().map(|_| "**"))
    }

    /// The URL with its password, to connect with; never to be shown.
    pub fn with_password(&self) -> String {
        self.shown(self.password.as_deref().map(quote).as_deref())
    }

    fn shown(&self, password: Option<&str>) -> String {
        let mut out = format!("{}://", self.scheme);
        if self.user.is_some() || password.is_some() {
            out.push_str(&quote(self.user.as_deref().unwrap_or_default()));
            if let Some(password) = password {
                out.push_str(&format!(":{password}"));
            }
            out.push('@');
        }
        out.push_str(&quote(self.host.as_deref().unwrap_or_default()));
        if let Some(port) = self.port {
            out.push_str(&format!(":{port}"));
        }
        out.push('/');
        out.push_str(self.path.as_deref().unwrap_or_default());
        out
    }
}

/// The URLs of a failover list: `a;b`. An item without a scheme has that of the first.
pub fn failover(urls: &str) -> Vec<String> {
    let mut all: Vec<String> =
        urls.split(';').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
    let scheme = all.first().and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme.to_owned());
    if let Some(scheme) = scheme {
        for url in all.iter_mut().filter(|url| !url.contains("://")) {
            *url = format!("{scheme}://{url}");
        }
    }
    all
}

/// Any text with URLs, also a failover list, without passwords. What is no URL comes back as it is, unless it has an `@`.
pub fn mask(urls: &str) -> String {
    urls.split(';').map(mask_one).collect::<Vec<_>>().join(";")
}

fn mask_one(url: &str) -> String {
    match ConnectionUrl::parse(url) {
        Ok(parsed) => parsed.masked(),
        Err(_) => match url.rsplit_once('@') {
            Some((_, address)) => format!("**@{address}"),
            None => url.to_owned(),
        },
    }
}

/// A broker's URL as the banner and `Connected to ...` show it: of a failover list the first, with the transport's
/// defaults filled in and `**` for the password, whether there is one or not (`Connection.as_uri` of kombu).
pub fn broker_uri(urls: &str) -> String {
    let first = failover(urls).into_iter().next().unwrap_or_default();
    let Ok(url) = ConnectionUrl::parse(&first) else { return mask_one(&first) };
    if url.scheme.contains('+') {
        return url.masked();
    }
    let (user, port) = match url.scheme.as_str() {
        "amqp" | "pyamqp" => ("guest", Some(5672)),
        "amqps" => ("guest", Some(5671)),
        "redis" | "rediss" => ("", Some(6379)),
        "sentinel" => ("", Some(26379)),
        _ => ("", None),
    };
    let port = url.port.or(port).map(|port| format!(":{port}")).unwrap_or_default();
    format!(
        "{}://{}:**@{}{port}/{}",
        if url.scheme == "pyamqp" { "amqp" } else { &url.scheme },
        quote(url.user.as_deref().unwrap_or(user)),
        quote(url.host.as_deref().unwrap_or("localhost")),
        url.path.as_deref().unwrap_or("/"),
    )
}

/// A result backend's URL as the banner shows it (`Backend.as_uri` of Celery); none is the disabled backend.
pub fn backend_uri(url: Option<&str>) -> String {
    let Some(url) = url.filter(|url| !matches!(*url, "" | "disabled" | "disabled://")) else {
        return "disabled://".to_owned();
    };
    let short = |uri: String| if uri.ends_with(":///") { uri[..uri.len() - 1].to_owned() } else { uri };
    url.split(';').map(|one| short(mask_one(one))).collect::<Vec<_>>().join(";")
}

fn quote(text: &str) -> String {
    utf8_percent_encode(text, QUOTED).to_string()
}

fn decode(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), ConfigError> {
    let after_host = address.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = address[after_host..].rfind(':') else {
        return Ok((address.trim_matches(['[', ']']), None));
    };
    let (host, port) = address.split_at(after_host + colon);
    let port = &port[1..];
    let port =
        if port.is_empty() { None } else { Some(port.parse().map_err(|_| refusal("its port is not a number"))?) };
    Ok((host.trim_matches(['[', ']']), port))
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| decode(&text.replace('+', " ")).unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (plain(name), plain(value)))
        .collect()
}

fn refusal(reason: &'static str) -> ConfigError {
    ConfigError::Url { what: "connection URL", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_kombu_parses() {
        let url = ConnectionUrl::parse("rediss://us%40er:p%3Aw@host.name:6380/3?ssl_cert_reqs=none&x=a+b").unwrap();
        assert_eq!(url.scheme, "rediss");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("us@er"), Some("p:w")));
        assert_eq!((url.host.as_deref(), url.port, url.path.as_deref()), (Some("host.name"), Some(6380), Some("3")));
        assert_eq!(url.query[1], ("x".to_owned(), "a b".to_owned()));
        let socket = ConnectionUrl::parse("redis+socket:///tmp/redis.sock?virtual_host=2").unwrap();
        assert_eq!((socket.host, socket.path.as_deref()), (None, Some("tmp/redis.sock")));
        assert_eq!(ConnectionUrl::parse("amqp://h//").unwrap().path.as_deref(), Some("/"));
        assert_eq!(ConnectionUrl::parse("redis://[::1]:7/0").unwrap().host.as_deref(), Some("::1"));
        assert!(ConnectionUrl::parse("localhost").is_err());
        assert!(ConnectionUrl::parse("redis://h:x/0").is_err());
    }

    #[test]
    fn hides_passwords() {
        for (url, masked) in [
            ("redis://:pw@localhost:6379/0", "redis://:**@localhost:6379/0"),
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            ("amqp://me:pw@h//;amqp://me:pw@i//", "amqp://me:**@h//;amqp://me:**@i//"),
            ("redis://me:p@w@h:bad/0", "**@h:bad/0"),
            ("disabled", "disabled"),
        ] {
            assert_eq!(mask(url), masked);
        }
        let url = ConnectionUrl::parse("redis://:secret@h").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }

    /// Expected: what kombu 5.7 and Celery 5.7 print.
    #[test]
    fn shows_urls_as_kombu_does() {
        for (url, shown) in [
            ("redis://", "redis://:**@localhost:6379//"),
            ("redis://h:6380/3", "redis://:**@h:6380/3"),
            ("redis://u:pw@h", "redis://u:**@h:6379//"),
            ("rediss://u:pw@h:1/2", "rediss://u:**@h:1/2"),
            ("redis+socket:///run/x.sock?virtual_host=2", "redis+socket:///run/x.sock"),
            ("amqp://", "amqp://guest:**@localhost:5672//"),
            ("amqp://u:p@h/%2Fv", "amqp://u:**@h:5672//v"),
            ("pyamqp://u@h//", "amqp://u:**@h:5672//"),
            ("amqps://u:p@h/x", "amqps://u:**@h:5671/x"),
            ("sentinel://:p@a:26379/0;sentinel://b:26379", "sentinel://:**@a:26379/0"),
            ("amqp://a;b", "amqp://guest:**@a:5672//"),
            ("memory://", "memory://:**@localhost//"),
        ] {
            assert_eq!(broker_uri(url), shown);
        }
        for (url, shown) in [
            (Some("redis://"), "redis://"),
            (Some("redis://h"), "redis://h/"),
            (Some("redis://:pw@h/1"), "redis://:**@h/1"),
            (Some("rpc://"), "rpc://"),
            (Some("sentinel://:p@a:1;sentinel://b:2"), "sentinel://:**@a:1/;sentinel://b:2/"),
            (Some("disabled"), "disabled://"),
            (None, "disabled://"),
        ] {
            assert_eq!(backend_uri(url), shown);
        }
    }

    #[test]
    fn splits_failover_lists() {
        assert_eq!(failover("amqp://a;b"), ["amqp://a", "amqp://b"]);
        assert_eq!(failover("redis://a"), ["redis://a"]);
    }
}
