//! [`TlsClient`]: what Python's `ssl` checks and shows as a client, as a configuration of rustls.
//!
//! How the options are written (in a URL, a dict, by which names and with which defaults) is each transport's own matter.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// A file or an authority that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {what} for TLS: {reason}")]
pub struct TlsError {
    what: String,
    reason: String,
}

impl TlsError {
    fn new(what: impl Display, reason: impl Display) -> Self {
        Self { what: what.to_string(), reason: reason.to_string() }
    }
}

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsCheck {
    /// `CERT_NONE`: anybody may be the server.
    Nothing,
    /// Who signed it, not whose it is.
    Chain,
    /// Also that it is the server's.
    #[default]
    ChainAndName,
}

/// A client's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsClient {
    /// What is checked.
    pub check: TlsCheck,
    /// Authorities (PEM); the system's if none are given.
    pub ca_certs: Option<PathBuf>,
    /// The client's certificate and what signed it (PEM).
    pub certfile: Option<PathBuf>,
    /// The client's key (PEM); in `certfile` if not given.
    pub keyfile: Option<PathBuf>,
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, is no PEM, or holds nothing of use.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new("the protocol's versions", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(provider)?));
        let Some(certfile) = &self.certfile else { return Ok(builder.with_no_client_auth()) };
        let keyfile = self.keyfile.as_ref().unwrap_or(certfile);
        let key = PrivateKeyDer::from_pem_file(keyfile).map_err(|error| TlsError::new(keyfile.display(), error))?;
        let chain = certificates(certfile)?;
        builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::new(certfile.display(), error))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
        let chain = match self.check {
            TlsCheck::Nothing => None,
            TlsCheck::Chain | TlsCheck::ChainAndName => {
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone());
                Some(builder.build().map_err(|error| TlsError::new("the certificate authorities", error))?)
            }
        };
        Ok(Verifier { chain, checks_name: self.check == TlsCheck::ChainAndName, provider })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca_certs else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        roots.add_parsable_certificates(certificates(path)?);
        if roots.is_empty() { Err(TlsError::new(path.display(), "it holds no authority")) } else { Ok(roots) }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    found.map_err(|error| TlsError::new(path.display(), error))
}

/// Checks what is to be checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
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
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let nowhere = Some(PathBuf::from("/nowhere.pem"));
        for client in [
            TlsClient { ca_certs: nowhere.clone(), ..TlsClient::default() },
            TlsClient { certfile: nowhere.clone(), check: TlsCheck::Nothing, ..TlsClient::default() },
        ] {
            let error = client.config().unwrap_err().to_string();
            assert!(error.starts_with("cannot use /nowhere.pem for TLS: "), "{error}");
        }
        assert!(TlsClient { check: TlsCheck::Nothing, ca_certs: nowhere, ..TlsClient::default() }.config().is_ok());
    }
}
