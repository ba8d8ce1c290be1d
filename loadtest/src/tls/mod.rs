//! TLS towards the server under test: which certificates are trusted and shown, and how a connection
//! begins.
//!
//! In reading order: this file (what all connections share), `files` (certificates and keys),
//! `tickets` (what a connection comes back with), `wire` (a socket with or without TLS), `made` (the
//! certificate of a server that is started here), `said` (what rustls reports, as sentences),
//! `failure` (the same, as an error of I/O).
//!
//! TLS 1.3 and 1.2 by rustls with aws-lc-rs, as jeton itself has them. There is no early data.

pub mod failure;
mod files;
pub mod made;
mod said;
mod tickets;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;

use crate::failure::{Failure, Result};
pub use said::said;
use tickets::Tickets;

/// HTTP/1.1 as ALPN names it (RFC 7301).
pub const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 as ALPN names it (RFC 9113, 3.1).
pub const HTTP2: &[u8] = b"h2";

/// Which certificates are trusted, and which one is shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    /// In place of the system's roots (PEM).
    pub ca: Option<PathBuf>,
    /// A client's certificate and its private key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// Whether anything of it was given.
    pub fn is_given(&self) -> bool {
        self.ca.is_some() || self.identity.is_some()
    }
}

/// How a TLS connection is to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handshake {
    /// As if the client had never been there.
    Full,
    /// With what the server gave the connection before it (a ticket), where it gave something.
    Resumed,
}

/// What all connections to a server share.
#[derive(Clone)]
pub struct Tls {
    /// Remembers nothing.
    fresh: Arc<ClientConfig>,
    name: ServerName<'static>,
    alpn: Option<&'static [u8]>,
}

/// What one connection begins TLS with, again and again.
#[derive(Clone)]
pub struct LinkTls {
    shared: Tls,
    /// Remembers what the server gave this connection.
    returning: Arc<ClientConfig>,
}

impl Tls {
    /// Towards the server called `host`, a name or an address without brackets; `alpn` is the
    /// protocol that is spoken, where it has a name.
    ///
    /// # Errors
    /// [`Failure::Input`]: a file is missing or not what it should be, or the system has no roots.
    pub fn new(trust: &Trust, host: &str, alpn: Option<&'static [u8]>) -> Result<Self> {
        let roots = match &trust.ca {
            Some(file) => files::roots("--ca", file)?,
            None => system_roots()?,
        };
        let identity = trust.identity.as_ref();
        let identity = identity.map(|(cert, key)| files::identity(cert, key)).transpose()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Input(format!("TLS: {}", said(&error))))?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Failure::Input(format!("--cert and --key: {}", said(&error))))?,
        };
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Input(format!("{host}: no certificate can be for this name")))?;
        Ok(Self { fresh: Arc::new(config), name, alpn })
    }

    /// The same for another protocol.
    #[must_use]
    pub fn speaking(&self, alpn: Option<&'static [u8]>) -> Self {
        Self { alpn, ..self.clone() }
    }

    /// The protocol that is asked for.
    pub fn alpn(&self) -> Option<&'static [u8]> {
        self.alpn
    }

    /// For one connection of the load, which remembers on its own.
    pub fn of_link(&self) -> LinkTls {
        let mut config = ClientConfig::clone(&self.fresh);
        config.resumption = Resumption::store(Arc::new(Tickets::default()));
        LinkTls { shared: self.clone(), returning: Arc::new(config) }
    }

    /// Begins a connection that remembers nothing.
    ///
    /// # Errors
    /// As rustls says, which is not known to happen.
    pub fn begin(&self) -> std::io::Result<ClientConnection> {
        self.begin_with(&self.fresh)
    }

    fn begin_with(&self, config: &Arc<ClientConfig>) -> std::io::Result<ClientConnection> {
        let alpn = self.alpn.iter().map(|name| name.to_vec()).collect();
        let begun = ClientConnection::new_with_alpn(Arc::clone(config), self.name.clone(), alpn);
        let mut begun = begun.map_err(|error| failure::io_error(&error))?;
        // All requests of a connection go out at once; their number is limited elsewhere.
        begun.set_buffer_limit(None);
        Ok(begun)
    }
}

impl LinkTls {
    /// Begins a connection.
    ///
    /// # Errors
    /// As [`Tls::begin`].
    pub fn begin(&self, handshake: Handshake) -> std::io::Result<ClientConnection> {
        self.shared.begin_with(match handshake {
            Handshake::Full => &self.shared.fresh,
            Handshake::Resumed => &self.returning,
        })
    }

    /// The protocol that is asked for.
    pub fn alpn(&self) -> Option<&'static [u8]> {
        self.shared.alpn
    }
}

fn system_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // A single root that can't be read is left out, as other programs do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem = "this system has no root certificates: give the server's CA with --ca FILE";
        return Err(Failure::Input(problem.to_owned()));
    }
    Ok(roots)
}
