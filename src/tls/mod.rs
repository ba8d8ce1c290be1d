//! TLS: certificates, keys and what rustls makes of them.
//!
//! `files` reads them and says what is wrong, `said` has sentences for what rustls reports, `name`
//! finds out whose a client's certificate is, `client` is the other side. [`Tls`] is what a server
//! works with: what new connections begin with, and another one after each change of the files;
//! connections that are open go on as they began.
//!
//! TLS 1.3 and 1.2 (RFC 8446, RFC 5246) with the suites of rustls: all have forward secrecy and
//! authenticated encryption. Tickets make coming back cheap; there is no early data, which could be
//! replayed, and with it a consume (RFC 8446, 8). The tickets' secret lives as long as the
//! certificate: where the files change, everybody shakes hands in full once.

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

/// The versions there are, best first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// HTTP/1.1 as ALPN names it (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 as ALPN names it (RFC 9113, 3.1).
const HTTP2: &[u8] = b"h2";

/// Where certificates and keys are, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to a root.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// Whose clients' certificates are believed; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// What is done about a private key that others may read or write.
    pub permissions: Strictness,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsRead {
    /// When the server's certificate ends; `None` where that could not be read.
    pub not_after: Option<UnixMillis>,
    /// What is not a mistake but should not stay so.
    pub warnings: Vec<String>,
}

/// What a running server begins TLS with. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    current: RwLock<Current>,
}

/// The same but for the protocols that are spoken.
#[derive(Clone)]
struct Current {
    data: Arc<ServerConfig>,
    admin: Arc<ServerConfig>,
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
    /// A file is missing or is not what it should be, or the key is another certificate's.
    pub fn open(files: TlsFiles, now: UnixMillis) -> Result<(Tls, TlsRead), TlsError> {
        let (current, read) = load(&files, now)?;
        Ok((Tls(Arc::new(Inner { files, current: RwLock::new(current) })), read))
    }

    /// Reads the files again. All stays as it was where that fails.
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

/// Everything cryptographic, named explicitly: a default of the process could be another's.
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
            // Who has no certificate may still have a key, and health is for all.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| ca.refused(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut data = builder.with_cert_resolver(Arc::new(files::One(Arc::new(certified))));
    data.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| cert.refused(&said(&error)))?;
    // Tickets are with the client: no table of sessions that workers would share.
    data.session_storage = Arc::new(NoServerSessionStorage {});
    data.max_early_data_size = 0;
    // All suites are strong; ours come with AES first, which processors have built in.
    data.ignore_client_order = true;
    let mut admin = data.clone();
    data.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    admin.alpn_protocols = vec![HTTP1.to_vec()];
    let current = Current { data: Arc::new(data), admin: Arc::new(admin) };
    Ok((current, TlsRead { not_after, warnings }))
}

#[cfg(test)]
mod tests;
