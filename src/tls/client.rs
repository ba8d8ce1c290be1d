//! TLS configuration of the client commands.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::files::Pem;
use super::said;
use super::{HTTP1, TlsError, VERSIONS, provider};

/// The TLS configuration of an HTTP/1.1 client. It trusts the certificates in `ca`, or without it
/// the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` override them). `identity` is the
/// client's certificate and its private key.
///
/// # Errors
/// A file is missing or invalid, or the system has no roots.
pub fn config(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    config_of("ca", ca, identity)
}

/// The same, where the setting `name` has named the file `ca`.
///
/// # Errors
/// As [`config`].
pub fn config_of(
    name: &'static str,
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let library = |error: rustls::Error| TlsError::Library(said(&error));
    let roots = match ca {
        Some(file) => Pem::read(name, file)?.roots()?,
        None => system_roots()?,
    };
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&VERSIONS)
        .map_err(library)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (cert, key) = (Pem::read("cert", cert)?, Pem::read("key", key)?);
            let chain = cert.certificates()?;
            // Checked here for a better message than that of the next call.
            key.certified(chain.clone(), &cert, &provider)?;
            builder.with_client_auth_cert(chain, key.private_key()?).map_err(library)?
        }
    };
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // A root that can't be parsed is skipped, as in other programs.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}
