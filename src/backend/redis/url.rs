//! [`UrlParts`]: a backend URL taken apart as kombu does. Knows no parameters.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::backend::BackendError;

/// Python's `quote(safe='')` leaves these alone.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// `kombu/utils/url.py:url_to_parts`; empty parts are none.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UrlParts {
    pub(super) scheme: String,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// Without its first slash.
    pub(super) path: Option<String>,
    pub(super) query: Vec<(String, String)>,
}

impl UrlParts {
    /// # Errors
    ///
    /// [`BackendError::Unusable`] without a scheme or with a port that is no number.
    pub(super) fn parse(url: &str) -> Result<Self, BackendError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| unusable("it has no scheme"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (host, port) = split_port(address)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: decoded(&host.to_ascii_lowercase()),
            port,
            username: decoded(username),
            password: decoded(password),
            path: decoded(path),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().filter(|(_, v)| !v.is_empty()).collect(),
        })
    }

    /// As Celery's banner shows it (`maybe_sanitize_url`): no password and no parameters.
    pub(super) fn sanitized(&self) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.username.is_some() || self.password.is_some() {
            text.extend(self.username.iter().map(|name| quoted(name)));
            text.push_str(if self.password.is_some() { ":**@" } else { "@" });
        }
        text.extend(self.host.iter().map(|host| quoted(host)));
        text.extend(self.port.filter(|&port| port != 0).map(|port| format!(":{port}")));
        text.push('/');
        text.push_str(self.path.as_deref().unwrap_or_default());
        match text.strip_suffix('/') {
            Some(bare) if bare.ends_with("://") => bare.to_owned(),
            _ => text,
        }
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), BackendError> {
    if let Some(inside) = address.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or_else(|| unusable("its IPv6 address has no end"))?;
        return Ok((host, port_number(rest.strip_prefix(':').unwrap_or_default())?));
    }
    let (host, port) = address.split_once(':').unwrap_or((address, ""));
    Ok((host, port_number(port)?))
}

fn port_number(port: &str) -> Result<Option<u16>, BackendError> {
    if port.is_empty() {
        return Ok(None);
    }
    port.parse().map(Some).map_err(|_| unusable("its port is no number from 0 to 65535"))
}

fn decoded(part: &str) -> Option<String> {
    (!part.is_empty()).then(|| percent_decode_str(part).decode_utf8_lossy().into_owned())
}

fn quoted(part: &str) -> String {
    utf8_percent_encode(part, QUOTED).to_string()
}

/// The URL itself may hold a password and is not shown.
pub(super) fn unusable(reason: impl std::fmt::Display) -> BackendError {
    BackendError::Unusable(format!("result_backend cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_what_kombu_takes_apart() {
        let parts = UrlParts::parse("redis://us%40er:p%2Fw@Host:6380/3?socket_timeout=5&x=").unwrap();
        assert_eq!(parts.username.as_deref(), Some("us@er"));
        assert_eq!(parts.password.as_deref(), Some("p/w"));
        assert_eq!((parts.host.as_deref(), parts.port, parts.path.as_deref()), (Some("host"), Some(6380), Some("3")));
        assert_eq!(parts.query, [("socket_timeout".to_owned(), "5".to_owned())]);
        let parts = UrlParts::parse("socket:///tmp/redis.sock?virtual_host=3").unwrap();
        assert_eq!((parts.host, parts.path.as_deref()), (None, Some("tmp/redis.sock")));
        assert_eq!(UrlParts::parse("redis://[::1]:7/0").unwrap().host.as_deref(), Some("::1"));
        assert!(UrlParts::parse("redis://host:port/0").is_err());
        assert!(UrlParts::parse("localhost").is_err());
    }

    #[test]
    fn hides_the_password() {
        let cases = [
            ("redis://:secret@h:1/0?password=x", "redis://:**@h:1/0"),
            ("redis://user:secret@h/0", "redis://user:**@h/0"),
            ("redis://h", "redis://h/"),
            ("redis://", "redis://"),
            ("socket:///a/b", "socket:///a/b"),
        ];
        for (url, shown) in cases {
            assert_eq!(UrlParts::parse(url).unwrap().sanitized(), shown);
        }
    }
}
