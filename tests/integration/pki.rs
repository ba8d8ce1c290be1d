//! Certificate authorities for tests, and clients that speak TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::raw::{Conn, PATIENCE};

/// A connection that speaks TLS.
pub type TlsConn = Conn<StreamOwned<ClientConnection, TcpStream>>;

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these DNS names or addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&params(names))
    }

    /// A certificate that names its holder in other fields than its DNS names.
    pub fn issue_named(&self, uri: &str, common_name: &str) -> Identity {
        let mut params = params(&[]);
        let uri = uri.try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(&params)
    }

    /// A certificate that expired in 2021.
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> Client {
        Client {
            roots: self.pem.clone(),
            identity: None,
            versions: vec![&rustls::version::TLS12, &rustls::version::TLS13],
            alpn: vec![b"http/1.1".to_vec()],
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

/// Files of an identity and an authority in a folder.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

impl Files {
    pub fn in_dir(dir: &Path, identity: &Identity, ca: &Ca) -> Self {
        let path = |name: &str| dir.join(name);
        let files = Self { cert: path("cert.pem"), key: path("key.pem"), ca: path("ca.pem") };
        put(&files.cert, &identity.cert);
        put(&files.key, &identity.key);
        put(&files.ca, &ca.pem);
        files
    }
}

/// Replaces a file atomically, like tools that renew certificates.
pub fn put(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    std::fs::rename(&new, file).expect("renamed");
}

/// The certificate in a PEM text.
pub fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// TLS settings of a client.
#[derive(Clone)]
pub struct Client {
    roots: String,
    identity: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
}

impl Client {
    /// Presents a certificate.
    pub fn with(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Uses only this version.
    pub fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Offers these protocols.
    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.roots)).expect("a root");
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![der(cert)], key).expect("a pair")
            }
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_early_data = true;
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// A connection whose handshake has ended on the client's side.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsConn> {
        connect(self.config(), address)
    }
}

/// The same with a configuration that remembers earlier sessions.
pub fn connect(config: Arc<ClientConfig>, address: SocketAddr) -> io::Result<TlsConn> {
    let name = ServerName::from(address.ip());
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Conn::over(stream))
}
