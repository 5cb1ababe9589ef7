//! [`AmqpOptions`]: what can be set about an AMQP connection besides its URL.

use std::time::Duration;

use crate::{
    broker::{BrokerError, amqp::TlsOptions},
    serialization::{Map, Value},
};

/// How to log in (`broker_login_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginMethod {
    /// User and password.
    #[default]
    Plain,
    /// User and password, in RabbitMQ's older wrapping.
    AmqPlain,
    /// By the client's certificate.
    External,
}

impl LoginMethod {
    /// Its SASL name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }

    /// By its SASL name.
    ///
    /// # Errors
    /// Unusable: `GSSAPI` and whatever else py-amqp may know.
    pub fn from_name(name: &str) -> Result<Self, BrokerError> {
        match name {
            "PLAIN" => Ok(Self::Plain),
            "AMQPLAIN" => Ok(Self::AmqPlain),
            "EXTERNAL" => Ok(Self::External),
            other => Err(BrokerError::unusable(format!(
                "login method '{other}' is not supported; use PLAIN, AMQPLAIN or EXTERNAL"
            ))),
        }
    }
}

/// Celery's `broker_*` settings that concern AMQP, and what `broker_transport_options` may say.
#[derive(Debug, Clone, PartialEq)]
pub struct AmqpOptions {
    /// How long connecting may take (`broker_connection_timeout`): 4 s.
    pub connect_timeout: Duration,
    /// Seconds between heartbeats (`broker_heartbeat`), negotiated with the server; 0 turns them off. Default 120.
    pub heartbeat: u16,
    /// `broker_login_method`.
    pub login_method: LoginMethod,
    /// `broker_use_ssl`; `amqps://` implies the default of it.
    pub tls: Option<TlsOptions>,
    /// How long a publish waits for its confirm (`confirm_timeout`); none waits as long as the connection lives.
    /// Confirms are always asked for, whatever `confirm_publish` says.
    pub confirm_timeout: Option<Duration>,
    /// Shown by the server's management beside what lapin says of itself.
    pub client_properties: Map,
    /// The prefetch window is each consumer's own instead of the channel's: for quorum queues, which know no other.
    pub per_consumer_qos: bool,
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(4),
            heartbeat: 120,
            login_method: LoginMethod::default(),
            tls: None,
            confirm_timeout: None,
            client_properties: Map::new(),
            per_consumer_qos: false,
        }
    }
}

impl AmqpOptions {
    /// From `broker_transport_options`. What py-amqp would ignore, or what only concerns sockets as Python has them, is
    /// ignored with a warning.
    ///
    /// # Errors
    /// Unusable: a value of the wrong type, or an option that would change who may log in.
    pub fn from_settings(settings: &Map) -> Result<Self, BrokerError> {
        settings.iter().try_fold(Self::default(), |options, (name, value)| options.with(name, value))
    }

    /// With the parameters of a URL's query, which are those of kombu's `Connection`.
    pub(super) fn with_query(mut self, query: &[(String, String)]) -> Result<Self, BrokerError> {
        for (name, value) in query {
            self = match name.as_str() {
                "heartbeat" => self.with(name, &Value::from(number(name, value)?))?,
                "connect_timeout" => {
                    Self { connect_timeout: seconds(name, &Value::from(number(name, value)?))?, ..self }
                }
                "login_method" => self.with(name, &Value::from(value.as_str()))?,
                name if name.starts_with("ssl_") => {
                    let tls = self.tls.take().unwrap_or_default().with(name, &Value::from(value.as_str()))?;
                    Self { tls: Some(tls), ..self }
                }
                other => {
                    return Err(BrokerError::unusable(format!("'{other}' in an AMQP broker URL is not supported")));
                }
            };
        }
        Ok(self)
    }

    fn with(self, name: &str, value: &Value) -> Result<Self, BrokerError> {
        let options = match name {
            "confirm_publish"
            | "max_retries"
            | "interval_start"
            | "interval_step"
            | "interval_max"
            | "connect_retries_timeout" => self,
            "confirm_timeout" => Self { confirm_timeout: optional_seconds(name, value)?, ..self },
            "connect_timeout" => Self { connect_timeout: seconds(name, value)?, ..self },
            "heartbeat" => Self { heartbeat: seconds(name, value)?.as_secs().try_into().unwrap_or(u16::MAX), ..self },
            "login_method" => Self { login_method: LoginMethod::from_name(text(name, value)?)?, ..self },
            "client_properties" => {
                let properties = value.as_map().ok_or_else(|| wrong(name, "a dict"))?;
                Self { client_properties: properties.clone(), ..self }
            }
            "authentication" | "userid" | "password" => {
                return Err(BrokerError::unusable(format!(
                    "broker_transport_options['{name}'] is not supported; put credentials into the broker URL"
                )));
            }
            other => {
                tracing::warn!("broker_transport_options['{other}'] has no effect on an AMQP broker here");
                self
            }
        };
        Ok(options)
    }
}

fn optional_seconds(name: &str, value: &Value) -> Result<Option<Duration>, BrokerError> {
    if value.is_null() { Ok(None) } else { seconds(name, value).map(Some) }
}

fn seconds(name: &str, value: &Value) -> Result<Duration, BrokerError> {
    let seconds = if value.is_null() { Some(0.0) } else { value.as_f64() };
    seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(|| wrong(name, "a number of seconds"))
}

fn number(name: &str, value: &str) -> Result<f64, BrokerError> {
    value.parse().map_err(|_| wrong(name, "a number"))
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str, BrokerError> {
    value.as_str().ok_or_else(|| wrong(name, "a string"))
}

fn wrong(name: &str, expected: &str) -> BrokerError {
    BrokerError::unusable(format!("the broker option '{name}' must be {expected}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AmqpOptions, LoginMethod};
    use crate::serialization::{Map, Value};

    fn settings(entries: &[(&str, Value)]) -> Map {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn options_are_taken() {
        let options = AmqpOptions::from_settings(&settings(&[
            ("confirm_publish", Value::Bool(true)),
            ("confirm_timeout", Value::Int(3)),
            ("heartbeat", Value::Float(10.0)),
            ("login_method", Value::from("EXTERNAL")),
            ("visibility_timeout", Value::Int(3600)),
        ]))
        .unwrap();
        assert_eq!(options.confirm_timeout, Some(Duration::from_secs(3)));
        assert_eq!((options.heartbeat, options.login_method), (10, LoginMethod::External));
        assert_eq!(options.connect_timeout, Duration::from_secs(4));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (name, value) in [
            ("login_method", Value::from("GSSAPI")),
            ("heartbeat", Value::from("often")),
            ("confirm_timeout", Value::Int(-1)),
            ("client_properties", Value::Int(1)),
            ("authentication", Value::Null),
        ] {
            assert!(AmqpOptions::from_settings(&settings(&[(name, value)])).is_err(), "{name}");
        }
        assert!(AmqpOptions::default().with_query(&[("no_such".to_owned(), String::new())]).is_err());
    }
}
