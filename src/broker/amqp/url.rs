//! [`AmqpUrl`]: a broker URL, read as kombu reads it. An empty path is the virtual host `/`, and so is `//`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::broker::BrokerError;

/// What Python's `quote` leaves alone.
const UNQUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The parts of a URL, with kombu's defaults in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AmqpUrl {
    pub(super) scheme: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) virtual_host: String,
    pub(super) query: Vec<(String, String)>,
}

impl AmqpUrl {
    pub(super) fn parse(url: &str) -> Result<Self, BrokerError> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let default_port = match scheme {
            "amqp" | "pyamqp" => 5672,
            "amqps" => 5671,
            other => return Err(BrokerError::unusable(format!("'{other}' is not a scheme of an AMQP broker"))),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (host, port) = split_port(address)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            user: decoded(user, "guest")?,
            password: decoded(password, "guest")?,
            host: decoded(&host.to_lowercase(), "localhost")?,
            port: port.unwrap_or(default_port),
            virtual_host: decoded(path, "/")?,
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        })
    }

    /// As Celery logs it: the password is `**`, and what the URL left out is there.
    pub(super) fn sanitized(&self) -> String {
        let user = utf8_percent_encode(&self.user, NON_ALPHANUMERIC);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let virtual_host = utf8_percent_encode(&self.virtual_host, UNQUOTED);
        let scheme = self.scheme.strip_prefix("py").unwrap_or(&self.scheme);
        format!("{scheme}://{user}:**@{host}:{}/{virtual_host}", self.port)
    }

    /// Where to connect to; `localhost` is 127.0.0.1, as for kombu.
    pub(super) fn address(&self) -> (&str, u16) {
        let host = if self.host == "localhost" { "127.0.0.1" } else { &self.host };
        (host, self.port)
    }

    /// Whether the scheme asks for TLS.
    pub(super) fn secure(&self) -> bool {
        self.scheme == "amqps"
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), BrokerError> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => address.split_once(':').unwrap_or((address, "")),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let number =
        port.parse().map_err(|_| BrokerError::unusable("the broker URL's port is not a number up to 65535"))?;
    Ok((host, Some(number)))
}

fn decoded(text: &str, default: &str) -> Result<String, BrokerError> {
    if text.is_empty() {
        return Ok(default.to_owned());
    }
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| BrokerError::unusable("the broker URL is not UTF-8 where it is percent-encoded"))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::AmqpUrl;

    /// What `kombu.Connection(url).as_uri()` says of each, but for IPv6, whose colons it quotes.
    #[test]
    fn urls() {
        let table = [
            ("amqp://", "amqp://guest:**@localhost:5672//"),
            ("amqp://host", "amqp://guest:**@host:5672//"),
            ("amqp://host/", "amqp://guest:**@host:5672//"),
            ("amqp://host//", "amqp://guest:**@host:5672//"),
            ("pyamqp://u:p@Host:1234/v", "amqp://u:**@host:1234/v"),
            ("amqps://u:p%40%2F@h/%2Fv", "amqps://u:**@h:5671//v"),
            ("amqp://u:a@b@h:1/x?heartbeat=3", "amqp://u:**@h:1/x"),
            ("amqp://[::1]:99/v w", "amqp://guest:**@[::1]:99/v%20w"),
        ];
        for (url, sanitized) in table {
            assert_eq!(AmqpUrl::parse(url).unwrap().sanitized(), sanitized, "{url}");
        }
    }

    #[test]
    fn parts_are_decoded() {
        let url = AmqpUrl::parse("amqp://us%20er:p%40ss%2F@h/%2Fa%2Fb?heartbeat=10&ssl_cert_reqs=CERT_NONE").unwrap();
        assert_eq!((url.user.as_str(), url.password.as_str(), url.virtual_host.as_str()), ("us er", "p@ss/", "/a/b"));
        assert_eq!(url.query.len(), 2);
        assert_eq!(AmqpUrl::parse("amqp://localhost").unwrap().address(), ("127.0.0.1", 5672));
    }

    #[test]
    fn errors_keep_the_password() {
        for url in ["redis://u:secret@h", "amqp://u:secret@h:99999/", "amqp://u:secret%ff@h/", "nonsense"] {
            let error = AmqpUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
