//! Certificates and private keys, read from PEM files: what is wrong with one is said with its flag.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::failure::{Failure, Result};
use crate::secret;

/// The certificates in a file, as those that are believed.
pub(super) fn roots(flag: &str, file: &Path) -> Result<RootCertStore> {
    let refuse = |problem: &str| Failure::Input(format!("{flag} {}: {problem}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(flag, file)? {
        roots.add(certificate).map_err(|_| refuse("one of its certificates is damaged"))?;
    }
    Ok(roots)
}

/// A client's certificate, with those that lead to a root behind it, and its private key.
pub(super) fn identity(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates("--cert", cert)?;
    secret::forbid_core_dumps();
    let pem = secret::read_bytes("--key", key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        Failure::Input(format!(
            "--key {}: holds no private key (PEM, not encrypted); an API key is given with \
             --key-file",
            key.display()
        ))
    })?;
    Ok((chain, key))
}

fn certificates(flag: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let refuse = |problem: &str| Failure::Input(format!("{flag} {}: {problem}", file.display()));
    let pem = secret::read_limited(flag, file)?;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = read.map_err(|_| refuse("is damaged: it must hold certificates (PEM)"))?;
    if found.is_empty() {
        return Err(refuse("holds no certificate: it must hold certificates (PEM)"));
    }
    Ok(found)
}
