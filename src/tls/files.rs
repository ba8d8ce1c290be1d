//! Reads PEM files (RFC 7468). Errors name the file and the mistake, but contain no byte of its
//! content, because one file is a private key.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{name, said};
use crate::model::time::UnixMillis;
use crate::permissions::{self, Strictness};

/// Maximum length of a file, in bytes: four times a bundle of all public roots.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The operating system refused.
    #[error("--{setting} {} can't be read: {reason}", file.display())]
    Io {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        reason: String,
    },
    /// The content of the file is wrong.
    #[error("--{setting} {}: {reason}", file.display())]
    Form {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The mistake, without the content.
        reason: String,
    },
    /// The system has no root certificates.
    #[error("this system has no root certificates: give a CA with --ca FILE")]
    NoRoots,
    /// rustls rejected the configuration for another reason.
    #[error("TLS can't be set up: {0}")]
    Library(String),
}

impl TlsError {
    /// The setting that names the wrong file, such as `tls-cert`.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::Io { setting, .. } | Self::Form { setting, .. } => Some(setting),
            Self::NoRoots | Self::Library(_) => None,
        }
    }

    /// The sentence without the setting.
    #[must_use]
    pub fn without_setting(&self) -> String {
        match self {
            Self::Io { file, reason, .. } => {
                format!("{} can't be read: {reason}", file.display())
            }
            Self::Form { file, reason, .. } => format!("{}: {reason}", file.display()),
            Self::NoRoots | Self::Library(_) => self.to_string(),
        }
    }
}

/// The content of a PEM file.
pub(super) struct Pem {
    setting: &'static str,
    file: PathBuf,
    text: Zeroizing<Vec<u8>>,
    found: Metadata,
}

impl Pem {
    /// Reads `file`, which `setting` names.
    pub(super) fn read(setting: &'static str, file: &Path) -> Result<Self, TlsError> {
        let refused = |error: io::Error| TlsError::Io {
            setting,
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let metadata = fs::metadata(file).map_err(refused)?;
        let file = file.to_owned();
        if !metadata.is_file() {
            return Err(TlsError::Form { setting, file, reason: "is not a file".to_owned() });
        }
        // The buffer has its final size from the start: a growing buffer would leave copies of a
        // key in memory.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_LEN_MAX as usize + 1));
        let opened = File::open(&file).map_err(refused)?;
        let found = opened.metadata().map_err(refused)?;
        opened.take(FILE_LEN_MAX + 1).read_to_end(&mut text).map_err(refused)?;
        let pem = Self { setting, file, text, found };
        if pem.text.len() as u64 > FILE_LEN_MAX {
            return Err(pem.wrong(format!("must have at most {FILE_LEN_MAX} bytes")));
        }
        Ok(pem)
    }

    fn wrong(&self, reason: impl Into<String>) -> TlsError {
        TlsError::Form { setting: self.setting, file: self.file.clone(), reason: reason.into() }
    }

    /// Turns an error of rustls into one that names this file.
    pub(super) fn refused(&self, error: &dyn fmt::Display) -> TlsError {
        self.wrong(error.to_string())
    }

    fn holds(&self, what: &[u8]) -> bool {
        self.text.windows(what.len()).any(|window| window == what)
    }

    /// Its certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let certificates = read.map_err(|error| self.wrong(reason(&error)))?;
        if certificates.is_empty() {
            let hint = match PrivateKeyDer::from_pem_slice(&self.text) {
                Ok(_) => "contains a private key and no certificate",
                Err(_) => "contains no certificate (-----BEGIN CERTIFICATE-----)",
            };
            return Err(self.wrong(hint));
        }
        for (n, certificate) in (1..).zip(&certificates) {
            if !name::is_certificate(certificate) {
                return Err(self.wrong(format!("certificate {n} in it is damaged")));
            }
        }
        Ok(certificates)
    }

    /// Its certificates as roots.
    pub(super) fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.refused(&said(&error)))?;
        }
        Ok(roots)
    }

    /// Its private key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        if self.holds(b"BEGIN ENCRYPTED PRIVATE KEY") || self.holds(b"Proc-Type: 4,ENCRYPTED") {
            return Err(self.wrong(
                "is encrypted, and jeton cannot ask for the password: decrypt it with openssl \
                 pkey -in FILE -out NEW, mode 0600",
            ));
        }
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) if self.holds(b"BEGIN CERTIFICATE") => {
                Err(self.wrong("contains a certificate and no private key"))
            }
            Err(error) => Err(self.wrong(reason(&error))),
        }
    }

    /// The private key of this file with the certificates of `cert`.
    pub(super) fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        cert: &Self,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let key = self.private_key()?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.wrong(format!(
                "is not the key of the first certificate in {}",
                cert.file.display()
            )),
            Error::InvalidCertificate(_) => cert.refused(&said(&error)),
            error => self.refused(&said(&error)),
        })
    }

    /// Expiry of its first certificate.
    pub(super) fn not_after(&self) -> Option<UnixMillis> {
        let first = CertificateDer::from_pem_slice(&self.text).ok()?;
        Some(name::validity(&first)?.1)
    }

    /// Warnings about certificates that are not valid now.
    pub(super) fn warnings(&self, now: UnixMillis) -> Vec<String> {
        let certificates = CertificateDer::pem_slice_iter(&self.text).filter_map(Result::ok);
        let validities = certificates.map(|certificate| name::validity(&certificate));
        let said = (1..).zip(validities).filter_map(|(n, validity)| {
            let (not_before, not_after) = validity?;
            let file = self.file.display();
            if not_after < now {
                Some(format!("certificate {n} in {file} has expired: {not_after}"))
            } else if now < not_before {
                Some(format!("certificate {n} in {file} is not valid before {not_before}"))
            } else {
                None
            }
        });
        said.collect()
    }

    /// The warning if other users may read the private key. Its mode is not changed, because other
    /// programs may use the file too.
    pub(super) fn warning_of_mode(
        &self,
        strictness: Strictness,
    ) -> Result<Option<String>, TlsError> {
        match permissions::look(&self.file, &self.found) {
            Some(wide) if strictness == Strictness::Refuse => {
                let (setting, file) = (self.setting, self.file.clone());
                let reason =
                    format!("(mode {:o}) can be {}: {}", wide.mode, wide.deed, wide.remedy);
                Err(TlsError::Form { setting, file, reason })
            }
            wide => Ok(wide.map(|wide| wide.to_string())),
        }
    }
}

/// The mistake in a file, without quoting it: it may contain a key.
fn reason(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "ends in the middle of a section",
        pem::Error::IllegalSectionStart { .. } => "has a -----BEGIN line that can't be read",
        pem::Error::Base64Decode(_) => "has a section that is not base64",
        pem::Error::NoItemsFound => {
            "contains no private key (-----BEGIN PRIVATE KEY-----, RSA or EC PRIVATE KEY)"
        }
        _ => "is not PEM",
    }
}

/// Serves the same certificate for every server name.
#[derive(Debug)]
pub(super) struct One(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
