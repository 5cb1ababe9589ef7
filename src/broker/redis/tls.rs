//! [`TlsOptions`]: `ssl_*` of a URL or of `broker_use_ssl`, and what rustls makes of them.

use std::path::PathBuf;

use fred::types::config::{TlsConfig, TlsConnector};

use crate::{
    broker::BrokerError,
    config::{TlsCheck, TlsClient},
    serialization::{Map, Value},
};

/// Options of a TLS connection, as redis-py names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    verify: bool,
    check_hostname: bool,
    ca_certs: Option<PathBuf>,
    certfile: Option<PathBuf>,
    keyfile: Option<PathBuf>,
}

impl TlsOptions {
    /// Reads `broker_use_ssl`: false is no TLS, true is TLS without checks, a dict has redis-py's `ssl_*` keys.
    pub fn from_setting(setting: &Value) -> Result<Option<Self>, BrokerError> {
        match setting {
            Value::Map(map) => Self::from_map(map).map(Some),
            other => Ok(other.is_truthy().then(Self::default)),
        }
    }

    pub(super) fn from_map(map: &Map) -> Result<Self, BrokerError> {
        let mut options = Self { check_hostname: true, ..Self::default() };
        for (key, value) in map {
            options.set(key, value)?;
        }
        Ok(options)
    }

    /// Whether the server must prove who it is.
    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    /// What fred connects with.
    pub(super) fn connector(&self) -> Result<TlsConfig, BrokerError> {
        let check = match (self.verify, self.check_hostname) {
            (false, _) => TlsCheck::Nothing,
            (true, false) => TlsCheck::Chain,
            (true, true) => TlsCheck::ChainAndName,
        };
        let Self { ca_certs, certfile, keyfile, .. } = self.clone();
        let config = TlsClient { check, ca_certs, certfile, keyfile }.config();
        Ok(TlsConnector::from(config.map_err(|error| BrokerError::unusable(error.to_string()))?).into())
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        let path = || value.as_str().map(PathBuf::from);
        match key {
            "ssl_cert_reqs" => self.verify = verification(value)?,
            "ssl_check_hostname" => {
                self.check_hostname =
                    value.as_str().map_or(value.is_truthy(), |text| !text.eq_ignore_ascii_case("false"));
            }
            "ssl_ca_certs" => self.ca_certs = path(),
            "ssl_certfile" => self.certfile = path(),
            "ssl_keyfile" => self.keyfile = path(),
            _ => return Err(BrokerError::unusable(format!("the option {key:?} for TLS is not supported"))),
        }
        Ok(())
    }
}

/// Names of Python's `ssl` constants, with or without prefix, or their numbers.
fn verification(value: &Value) -> Result<bool, BrokerError> {
    let name = match value {
        Value::Null | Value::Int(0) => "NONE",
        Value::Int(1 | 2) => "REQUIRED",
        other => other.as_str().unwrap_or_default(),
    };
    match name.to_ascii_uppercase().trim_start_matches("CERT_") {
        "NONE" => Ok(false),
        "OPTIONAL" | "REQUIRED" => Ok(true),
        _ => Err(BrokerError::unusable("ssl_cert_reqs must be CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE")),
    }
}
