//! [`TlsOptions`]: `ssl_*` of a URL or of `broker_use_ssl`, and what rustls makes of them.

use std::{path::PathBuf, sync::Arc};

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    broker::BrokerError,
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
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("protocol versions", &error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        let config = match self.client_certificate()? {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable("ssl_certfile", &error))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(TlsConnector::from(config).into())
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

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<Verifier>, BrokerError> {
        let inner = if self.verify { Some(self.chain_verifier(provider)?) } else { None };
        Ok(Arc::new(Verifier { inner, check_hostname: self.check_hostname, provider: provider.clone() }))
    }

    fn chain_verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, BrokerError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_certs {
            Some(path) => roots.add_parsable_certificates(certificates("ssl_ca_certs", path)?),
            None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        };
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| unusable("ssl_ca_certs", &error))
    }

    #[allow(clippy::type_complexity, reason = "rustls takes exactly this pair")]
    fn client_certificate(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, BrokerError> {
        let Some(path) = &self.certfile else { return Ok(None) };
        let key = self.keyfile.as_ref().unwrap_or(path);
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("ssl_keyfile", &error))?;
        Ok(Some((certificates("ssl_certfile", path)?, key)))
    }
}

/// The checks that were asked for: none, the chain, or the chain and the name.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    check_hostname: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if !self.check_hostname =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
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

fn certificates(option: &str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, BrokerError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unusable(option, &error))
}

fn unusable(option: &str, error: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::unusable(format!("{option}: {error}"))
}
