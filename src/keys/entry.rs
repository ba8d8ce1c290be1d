//! A key's entry in the keys file, and why the file cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::holder::CertificateName;
use super::text::{KeyHash, KeyId};
use crate::model::namespace::Namespace;
use crate::model::network::Network;
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;
use crate::permissions::TooWide;

/// Maximum length of a key's name, in bytes.
pub const NAME_LEN_MAX: usize = 100;

/// Maximum networks of a key.
pub const NETWORKS_MAX: usize = 64;

/// Error for a scope that the namespace `*` cannot have.
pub const WITHOUT_TOKENS: &str =
    "scopes: the namespace * is the whole server and accepts only admin, metrics and backup";

/// A key's entry in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Its id.
    pub id: KeyId,
    /// Its name, for people.
    pub name: String,
    /// The namespace that it gives access to.
    pub namespace: Namespace,
    /// Its scopes.
    pub scopes: Scopes,
    /// Hash of the whole key.
    pub hash: KeyHash,
    /// When the key was created.
    pub created_at: UnixMillis,
    /// When the key expires; `None`: never.
    pub expires_at: Option<UnixMillis>,
    /// When the key was revoked.
    pub revoked_at: Option<UnixMillis>,
    /// Its holder: the first of the keys that this one replaces. `None` if it replaces no key.
    pub holder: Option<KeyId>,
    /// Name of the client certificate that counts as the key ([`crate::tls::Peer::names`]).
    pub certificate: Option<CertificateName>,
    /// The networks from which the key is accepted; empty: from anywhere.
    pub from: Vec<Network>,
}

/// Why the keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operating system refused.
    #[error("the keys file {} can't be {deed}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The action that failed.
        deed: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// It is not TOML, or lacks a field.
    #[error("the keys file {}: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// The mistake and its place, without the content of the file.
        reason: String,
    },
    /// Other users may write the file, or may read it while `--strict-permissions` is set.
    #[error("the keys file {0}")]
    TooWide(#[from] TooWide),
    /// The file has no such key.
    #[error("the keys file {} has no key {id}", file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The id.
        id: KeyId,
    },
}

impl KeysError {
    /// A mistake in `file`.
    pub(super) fn form(file: &Path, reason: impl Into<String>) -> Self {
        Self::Form { file: file.to_owned(), reason: reason.into() }
    }

    /// Whether the file could not be read, so that its content is unknown.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
