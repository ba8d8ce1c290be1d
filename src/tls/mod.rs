//! TLS: certificates, private keys and the rustls configuration.
//!
//! `files` reads and checks the files, `said` turns errors of rustls into sentences, `name` reads
//! the names of a client certificate, and `client` is the client's side. A server uses [`Tls`], the
//! configuration of new connections, which is replaced after each change of the files; open
//! connections keep theirs.
//!
//! TLS 1.3 and 1.2 (RFC 8446, RFC 5246) with the suites of rustls: all have forward secrecy and
//! authenticated encryption. Session tickets make reconnecting cheap. There is no early data,
//! because it could be replayed, and with it a consume (RFC 8446, 8). The secret of the tickets is
//! replaced with the certificate: after a change of the files every client makes one full
//! handshake.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::model::time::UnixMillis;
use crate::permissions::Strictness;

pub mod client;
mod files;
mod name;
mod said;

pub use files::TlsError;
pub use name::Peer;
pub use said::said;

/// The supported versions, best first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// HTTP/1.1 as ALPN names it (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 as ALPN names it (RFC 9113, 3.1).
const HTTP2: &[u8] = b"h2";

/// Paths of certificates and keys, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by its chain.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// CA of client certificates; `None`: clients are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether to refuse a private key that other users may read or write.
    pub permissions: Strictness,
}

/// Result of reading the files.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsRead {
    /// Expiry of the server's certificate; `None` if it could not be read.
    pub not_after: Option<UnixMillis>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// The TLS configuration of a running server. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    current: RwLock<Current>,
}

/// Two configurations that differ only in the protocols (ALPN), and the expiry of their certificate.
#[derive(Clone)]
struct Current {
    data: Arc<ServerConfig>,
    admin: Arc<ServerConfig>,
    not_after: Option<UnixMillis>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Reads `files`. `now` is used only in log messages about them.
    ///
    /// # Errors
    /// A file is missing or invalid, or the key does not belong to the certificate.
    pub fn open(files: TlsFiles, now: UnixMillis) -> Result<(Self, TlsRead), TlsError> {
        let (current, read) = load(&files, now)?;
        Ok((Self(Arc::new(Inner { files, current: RwLock::new(current) })), read))
    }

    /// Reloads the files. If that fails, the previous configuration stays in use.
    ///
    /// # Errors
    /// As for [`Tls::open`].
    pub fn reload(&self, now: UnixMillis) -> Result<TlsRead, TlsError> {
        let (current, read) = load(&self.0.files, now)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(read)
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    /// Expiry of the server's certificate; `None` if it could not be read.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixMillis> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    /// For a new connection to the data listener: HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn data(&self) -> Arc<ServerConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).data.clone()
    }

    /// For a new connection to the admin listener: HTTP/1.1.
    #[must_use]
    pub fn admin(&self) -> Arc<ServerConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).admin.clone()
    }
}

/// The cryptography provider, named explicitly: the process default could be set by other code.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn load(files: &TlsFiles, now: UnixMillis) -> Result<(Current, TlsRead), TlsError> {
    let provider = provider();
    let cert = files::Pem::read("tls-cert", &files.cert)?;
    let key = files::Pem::read("tls-key", &files.key)?;
    let (chain, not_after) = (cert.certificates()?, cert.not_after());
    let mut warnings = cert.warnings(now);
    warnings.extend(key.warning_of_mode(files.permissions)?);
    let certified = key.certified(chain, &cert, &provider)?;

    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| cert.refused(&said(&error)))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let ca = files::Pem::read("tls-client-ca", file)?;
            warnings.extend(ca.warnings(now));
            let roots: Arc<RootCertStore> = Arc::new(ca.roots()?);
            // A client without a certificate may still have a key, and the health checks are open
            // to all.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| ca.refused(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut data = builder.with_cert_resolver(Arc::new(files::One(Arc::new(certified))));
    data.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| cert.refused(&said(&error)))?;
    // The client stores the tickets, so the workers need no shared table of sessions.
    data.session_storage = Arc::new(NoServerSessionStorage {});
    data.max_early_data_size = 0;
    // All suites are strong. The server's order prefers AES, for which processors have
    // instructions.
    data.ignore_client_order = true;
    let mut admin = data.clone();
    data.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    admin.alpn_protocols = vec![HTTP1.to_vec()];
    let current = Current { data: Arc::new(data), admin: Arc::new(admin), not_after };
    Ok((current, TlsRead { not_after, warnings }))
}

#[cfg(test)]
mod tests;
