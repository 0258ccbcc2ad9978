//! TLS of a server: an authority of this run, and the ciphers of AWS's endpoints.

use std::error::Error;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// TLS of a server.
pub struct Server {
    pub acceptor: TlsAcceptor,
    /// Certificate of the authority, as PEM.
    pub authority: String,
}

/// Creates a server with a certificate for `localhost`. It resumes sessions. Its
/// ciphers are the first choice of AWS's TLS policies: AES-128-GCM.
pub fn server() -> Result<Server, Box<dyn Error + Send + Sync>> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    let certificate = certificate.signed_by(&key, &issuer)?;
    let provider = CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    };
    let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private_key)?;
    Ok(Server {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority: authority_pem,
    })
}
