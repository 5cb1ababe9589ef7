//! [`TlsOptions`]: `broker_use_ssl`, with what Python's `ssl` makes of it: the chain is checked against the given or the
//! system's authorities, the host's name only if a `server_hostname` is given.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};

use crate::{
    broker::BrokerError,
    config::{TlsCheck, TlsClient},
    serialization::Value,
};

/// A dict of `ssl.wrap_socket`'s arguments, as `broker_use_ssl` has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TlsOptions {
    /// Authorities (PEM); the system's if none are given.
    pub ca_certs: Option<PathBuf>,
    /// The client's certificate and what signed it (PEM).
    pub certfile: Option<PathBuf>,
    /// The client's key (PEM); in `certfile` if not given.
    pub keyfile: Option<PathBuf>,
    /// `CERT_NONE`: anybody may be the server.
    pub insecure: bool,
    /// The name that the server's certificate has to carry.
    pub server_hostname: Option<String>,
}

impl TlsOptions {
    /// From `broker_use_ssl`: none when it is false or null.
    ///
    /// # Errors
    /// Unusable: an argument that is not supported (`ciphers`, ...), or has the wrong type.
    pub fn from_setting(setting: &Value) -> Result<Option<Self>, BrokerError> {
        match setting {
            Value::Null | Value::Bool(false) => Ok(None),
            Value::Bool(true) => Ok(Some(Self::default())),
            Value::Map(map) if map.is_empty() => Ok(None),
            Value::Map(map) => {
                map.iter().try_fold(Self::default(), |tls, (name, value)| tls.with(name, value)).map(Some)
            }
            _ => Err(BrokerError::unusable("broker_use_ssl must be true, false or a dict")),
        }
    }

    /// With one argument, with or without the prefix that URLs have.
    pub(super) fn with(self, name: &str, value: &Value) -> Result<Self, BrokerError> {
        let plain = name.strip_prefix("ssl_").unwrap_or(name);
        Ok(match plain {
            "ca_certs" => Self { ca_certs: path(name, value)?, ..self },
            "certfile" => Self { certfile: path(name, value)?, ..self },
            "keyfile" => Self { keyfile: path(name, value)?, ..self },
            "cert_reqs" => Self { insecure: insecure(value)?, ..self },
            "server_hostname" => Self { server_hostname: string(name, value)?, ..self },
            "version" | "do_handshake_on_connect" | "suppress_ragged_eofs" => self,
            _ => return Err(BrokerError::unusable(format!("broker_use_ssl['{name}'] is not supported"))),
        })
    }

    fn client(&self) -> TlsClient {
        let check = match (self.insecure, &self.server_hostname) {
            (true, _) => TlsCheck::Nothing,
            (false, None) => TlsCheck::Chain,
            (false, Some(_)) => TlsCheck::ChainAndName,
        };
        let Self { ca_certs, certfile, keyfile, .. } = self.clone();
        TlsClient { check, ca_certs, certfile, keyfile }
    }
}

fn string(name: &str, value: &Value) -> Result<Option<String>, BrokerError> {
    match value {
        Value::Null => Ok(None),
        Value::Str(text) => Ok(Some(text.clone())),
        _ => Err(BrokerError::unusable(format!("broker_use_ssl['{name}'] must be a string"))),
    }
}

fn path(name: &str, value: &Value) -> Result<Option<PathBuf>, BrokerError> {
    Ok(string(name, value)?.map(PathBuf::from))
}

fn insecure(value: &Value) -> Result<bool, BrokerError> {
    match value {
        Value::Null | Value::Int(1 | 2) => Ok(false),
        Value::Int(0) => Ok(true),
        Value::Str(text) => match text.trim_start_matches("CERT_").to_lowercase().as_str() {
            "none" => Ok(true),
            "optional" | "required" => Ok(false),
            _ => Err(BrokerError::unusable(format!("'{text}' is not a value of broker_use_ssl['cert_reqs']"))),
        },
        _ => Err(BrokerError::unusable("broker_use_ssl['cert_reqs'] must be one of ssl's CERT_ constants")),
    }
}

/// What a handshake needs, read and checked.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(options: &TlsOptions, host: &str) -> Result<Self, BrokerError> {
        let name = options.server_hostname.as_deref().unwrap_or(host).to_owned();
        let server_name = ServerName::try_from(name)
            .map_err(|error| BrokerError::unusable(format!("cannot use the broker's host name for TLS: {error}")))?;
        let config = options.client().config().map_err(|error| BrokerError::unusable(error.to_string()))?;
        Ok(Self { config: Arc::new(config), server_name })
    }
}

#[cfg(test)]
mod tests {
    use super::TlsOptions;
    use crate::serialization::{Map, Value};

    fn dict(name: &str, value: impl Into<Value>) -> Value {
        Value::Map(Map::from_iter([(name.to_owned(), value.into())]))
    }

    #[test]
    fn settings() {
        assert_eq!(TlsOptions::from_setting(&Value::Bool(false)).unwrap(), None);
        assert_eq!(TlsOptions::from_setting(&Value::Bool(true)).unwrap(), Some(TlsOptions::default()));
        assert!(TlsOptions::from_setting(&dict("cert_reqs", 0)).unwrap().unwrap().insecure);
        assert!(!TlsOptions::from_setting(&dict("ssl_cert_reqs", "CERT_REQUIRED")).unwrap().unwrap().insecure);
        let tls = TlsOptions::from_setting(&dict("ca_certs", "ca.pem")).unwrap().unwrap();
        assert_eq!(tls.ca_certs.unwrap().to_str(), Some("ca.pem"));
    }

    #[test]
    fn refusals() {
        for setting in [dict("ciphers", "ALL"), dict("cert_reqs", "maybe"), dict("ca_certs", 1), Value::Int(1)] {
            assert!(TlsOptions::from_setting(&setting).is_err(), "{setting:?}");
        }
    }
}
