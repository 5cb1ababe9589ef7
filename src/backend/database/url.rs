//! [`DatabaseUrl`]: an URL of SQLAlchemy's, read as `sqlalchemy/engine/url.py` reads it.

use percent_encoding::percent_decode_str;

use crate::backend::BackendError;

/// Which database, by what SQLAlchemy calls a dialect. The driver after the `+` is Python's own matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// An URL in parts, each decoded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DatabaseUrl {
    pub(super) dialect: Dialect,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    /// Name of the database, or a file.
    pub(super) database: Option<String>,
    /// In order; a name may come more than once.
    pub(super) query: Vec<(String, String)>,
}

impl DatabaseUrl {
    /// Parses what follows `db+`.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] for a dialect that only SQLAlchemy has, [`BackendError::Unusable`] for no URL at all.
    pub(super) fn parse(url: &str) -> Result<Self, BackendError> {
        let (name, rest) = url.split_once("://").ok_or_else(|| unusable("it is no URL of SQLAlchemy's"))?;
        let dialect = Dialect::of(name.split('+').next().unwrap_or(name))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // As the pattern has it: a user has no slash, a password may have all but an `@`.
        let credentials = rest.split_once('@').filter(|(before, _)| {
            let user = before.split(':').next().unwrap_or(before);
            !user.contains('/')
        });
        let (credentials, rest) = credentials.map_or((None, rest), |(before, after)| (Some(before), after));
        let (username, password) = match credentials.map(|text| text.split_once(':').ok_or(text)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(user), Some(password)),
            Some(Err(user)) => (Some(user), None),
        };
        let (address, database) = rest.split_once('/').map_or((rest, None), |(address, path)| (address, Some(path)));
        let (host, port) = split_port(address)?;
        Ok(Self {
            dialect,
            username: username.map(unquote).filter(|user| !user.is_empty()),
            password: password.map(unquote),
            host: (!host.is_empty()).then(|| host.to_owned()),
            port,
            database: database.map(unquote).filter(|name| !name.is_empty()),
            query: pairs(query),
        })
    }

    /// The last value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Dialect {
    /// The feature of this crate that speaks to it.
    pub(super) fn feature(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    fn of(name: &str) -> Result<Self, BackendError> {
        match name {
            "sqlite" => Ok(Self::Sqlite),
            "postgresql" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::Mysql),
            other => Err(BackendError::Unsupported(format!(
                "result backend db+{other}:// is SQLAlchemy's alone: results are stored by the Python side"
            ))),
        }
    }
}

fn split_port(address: &str) -> Result<(&str, Option<u16>), BackendError> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or_default()),
        None => address.split_once(':').unwrap_or((address, "")),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    Ok((host, Some(port.parse().map_err(|_| unusable("its port is no number"))?)))
}

/// `parse_qsl`: what has no value counts for nothing.
fn pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| unquote(&text.replace('+', " "));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

fn unquote(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// An error for an URL that can never work. The reason must not have the password in it.
pub(super) fn unusable(reason: impl std::fmt::Display) -> BackendError {
    BackendError::Unusable(format!("result_backend cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (Option<String>, Option<String>, Option<String>, Option<u16>, Option<String>);

    fn parts(url: &str) -> Parts {
        let url = DatabaseUrl::parse(url).unwrap();
        (url.username, url.password, url.host, url.port, url.database)
    }

    #[test]
    fn reads_what_sqlalchemy_reads() {
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            ("sqlite:///r.db", (None, None, None, None, text("r.db"))),
            ("sqlite:////var/r%20s.db", (None, None, None, None, text("/var/r s.db"))),
            ("sqlite://", (None, None, None, None, None)),
            ("sqlite:///:memory:", (None, None, None, None, text(":memory:"))),
            ("sqlite:///a@b.db", (None, None, None, None, text("a@b.db"))),
            ("postgresql://h/d", (None, None, text("h"), None, text("d"))),
            ("postgresql+psycopg2://u:p%40s%2F@h:5433/d", (text("u"), text("p@s/"), text("h"), Some(5433), text("d"))),
            ("postgresql://u:a/b@h/d", (text("u"), text("a/b"), text("h"), None, text("d"))),
            ("postgresql://u@/d?host=/run/pg", (text("u"), None, None, None, text("d"))),
            ("mysql+pymysql://u:@[::1]:3306", (text("u"), text(""), text("::1"), Some(3306), None)),
            ("mariadb://h:/d", (None, None, text("h"), None, text("d"))),
        ];
        for (url, expected) in cases {
            assert_eq!(parts(url), expected, "{url}");
        }
        let url = DatabaseUrl::parse("postgresql://h/d?sslmode=require&a=1&a=b%20c+d&empty=&none").unwrap();
        assert_eq!((url.parameter("sslmode"), url.parameter("a")), (Some("require"), Some("b c d")));
        assert_eq!((url.parameter("empty"), url.query.len()), (None, 3));
    }

    #[test]
    fn names_no_password_in_errors() {
        for url in ["postgresql://u:secret@h:x/d", "sqlite", "oracle://u:secret@h/d"] {
            let error = DatabaseUrl::parse(url).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!(DatabaseUrl::parse("oracle://h/d"), Err(BackendError::Unsupported(_))));
    }
}
