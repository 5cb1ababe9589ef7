//! [`TlsSettings`]: the `ssl_*` options of redis-py, as a rustls connector.

use std::path::PathBuf;

use fred::types::config::{TlsConfig, TlsConnector};

use crate::{
    backend::{BackendError, redis::url::unusable},
    config::{TlsCheck, TlsClient},
    serialization::{Map, Value},
};

/// `redis_backend_use_ssl`, or the parameters of a `rediss://` URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
    requires: Option<CertificateCheck>,
    ca_certs: Option<String>,
    certfile: Option<String>,
    keyfile: Option<String>,
    ignores_hostname: bool,
}

/// `ssl_cert_reqs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CertificateCheck {
    None,
    Optional,
    Required,
}

impl TlsSettings {
    /// # Errors
    ///
    /// [`BackendError::Unusable`] for an option that cannot be honoured.
    pub(super) fn from_map(map: &Map) -> Result<Self, BackendError> {
        let mut settings = Self::default();
        for (name, value) in map {
            settings.apply(name, value)?;
        }
        Ok(settings)
    }

    /// Sets one option by redis-py's name.
    pub(super) fn apply(&mut self, name: &str, value: &Value) -> Result<(), BackendError> {
        let text = || value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match name {
            "ssl_cert_reqs" => self.requires = Some(certificate_check(value)?),
            "ssl_ca_certs" => self.ca_certs = text(),
            "ssl_certfile" => self.certfile = text(),
            "ssl_keyfile" => self.keyfile = text(),
            "ssl_check_hostname" => self.ignores_hostname = is_off(value),
            "ssl_min_version" => {}
            _ => return Err(unusable(format_args!("its parameter {name} is not supported"))),
        }
        Ok(())
    }

    /// Celery's demand on every TLS backend.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] without `ssl_cert_reqs`.
    pub(super) fn check(&self) -> Result<(), BackendError> {
        match self.requires {
            Some(_) => Ok(()),
            None => Err(unusable(CERT_REQS_MISSING)),
        }
    }

    /// Reads the certificates.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] naming the file that cannot be used.
    pub(super) fn connector(&self) -> Result<TlsConfig, BackendError> {
        let check = match self.requires {
            Some(CertificateCheck::None) => TlsCheck::Nothing,
            _ if self.ignores_hostname => TlsCheck::Chain,
            _ => TlsCheck::ChainAndName,
        };
        let path = |file: &Option<String>| file.as_ref().map(PathBuf::from);
        let (ca_certs, certfile, keyfile) = (path(&self.ca_certs), path(&self.certfile), path(&self.keyfile));
        let config = TlsClient { check, ca_certs, certfile, keyfile }.config().map_err(unusable)?;
        Ok(TlsConnector::from(config).into())
    }
}

const CERT_REQS_MISSING: &str = "A rediss:// URL must have parameter ssl_cert_reqs and this must be set to CERT_REQUIRED, CERT_OPTIONAL, or CERT_NONE";

/// By name, or by the number of Python's `ssl` constant.
fn certificate_check(value: &Value) -> Result<CertificateCheck, BackendError> {
    match (value.as_str(), value.as_i64()) {
        (Some("CERT_NONE" | "none"), _) | (_, Some(0)) => Ok(CertificateCheck::None),
        (Some("CERT_OPTIONAL" | "optional"), _) | (_, Some(1)) => Ok(CertificateCheck::Optional),
        (Some("CERT_REQUIRED" | "required"), _) | (_, Some(2)) => Ok(CertificateCheck::Required),
        _ => Err(unusable(CERT_REQS_MISSING)),
    }
}

/// redis-py's `to_bool`.
fn is_off(value: &Value) -> bool {
    match value.as_str() {
        Some(text) => ["0", "F", "FALSE", "N", "NO"].contains(&text.to_ascii_uppercase().as_str()),
        None => !value.is_truthy(),
    }
}
