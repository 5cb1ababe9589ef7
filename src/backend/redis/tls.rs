//! [`TlsSettings`]: the `ssl_*` options of redis-py, as a rustls connector.

use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    backend::{BackendError, redis::url::unusable},
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
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(self.verifier()?));
        let config = match &self.certfile {
            Some(certfile) => {
                let (chain, key) = client_certificate(certfile, self.keyfile.as_deref().unwrap_or(certfile))?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(TlsConnector::from(config).into())
    }

    fn verifier(&self) -> Result<Verifier, BackendError> {
        let provider = Arc::new(ring::default_provider());
        if self.requires == Some(CertificateCheck::None) {
            return Ok(Verifier { chain: None, ignores_hostname: true, provider });
        }
        let roots = Arc::new(self.roots()?);
        let chain =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().map_err(unusable)?;
        Ok(Verifier { chain: Some(chain), ignores_hostname: self.ignores_hostname, provider })
    }

    fn roots(&self) -> Result<RootCertStore, BackendError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_certs {
            Some(file) => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|e| unreadable(file, e))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
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

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|e| unreadable(file, e))?;
    read.collect::<Result<_, _>>().map_err(|e| unreadable(file, e))
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(certfile: &str, keyfile: &str) -> Result<ClientCertificate, BackendError> {
    let key = PrivateKeyDer::from_pem_file(keyfile).map_err(|e| unreadable(keyfile, e))?;
    Ok((certificates(certfile)?, key))
}

fn unreadable(file: &str, reason: impl std::fmt::Display) -> BackendError {
    unusable(format_args!("{file} is no PEM file: {reason}"))
}

/// Checks what `ssl_cert_reqs` and `ssl_check_hostname` leave to be checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    ignores_hostname: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
            )) if self.ignores_hostname => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
