//! [`HealthAddr`]: where probes are answered, and the words of the command line that Celery does not know.

use std::fmt;

/// Options of `worker` that Celery has not; each takes a value.
const OURS: &[&str] = &["--health-addr", "--log-format"];

/// Where `/livez` and its companions are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAddr {
    /// Name or address; the loopback interface unless given.
    pub host: String,
    /// 0 is any that is free.
    pub port: u16,
}

impl HealthAddr {
    /// Reads `HOST:PORT`, `[IPV6]:PORT`, or a port alone, which is on the loopback interface.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains(':') => return None,
            None => host,
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for HealthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The words of a command line without the options that Celery has not: for Celery itself to read.
pub fn celerys_words(words: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, has_value) = word.split_once('=').map_or((word.as_str(), false), |(name, _)| (name, true));
        if !OURS.contains(&name) {
            kept.push(word.clone());
        } else if !has_value {
            words.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        let read = |text| HealthAddr::parse(text).map(|address| address.to_string());
        assert_eq!(read("8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(read(":8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(read("0.0.0.0:0").as_deref(), Some("0.0.0.0:0"));
        assert_eq!(read("worker.local:8080").as_deref(), Some("worker.local:8080"));
        assert_eq!(read("[::]:8080").as_deref(), Some("[::]:8080"));
        for text in ["", "localhost", "::1", "localhost:", "1.2.3.4:70000", "a:-1", "a:+1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn celery_is_not_given_what_it_does_not_know() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let kept = celerys_words(&words("-A proj worker --health-addr 8080 -c 2 --health-addr=:1 -l INFO"));
        assert_eq!(kept, words("-A proj worker -c 2 -l INFO"));
    }
}
