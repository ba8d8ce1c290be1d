//! Why `jeton serve` ends, and its exit code.

use std::io;

use super::exit::{FAILED, MISTAKEN, NO_RESTART};
use super::explain;
use super::secret_command::SecretCommandError;
use crate::audit::{AuditError, KeyError};
use crate::cluster::node::{IdentityError, NodeError};
use crate::engine::{CloseError, OpenError, SecretError};
use crate::keys::KeysError;
use crate::net::listen::ListenAddress;
use crate::tls::TlsError;
use crate::trace::Unusable;
use crate::wal::DiskError;

/// Why a server did not start, or did not shut down cleanly.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error("{flag} {address}: {}", explain::bind(address, source))]
    Bind { flag: &'static str, address: ListenAddress, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Secret(#[from] SecretCommandError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    AuditKey(#[from] KeyError),
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error(transparent)]
    Node(NodeError),
    #[error(transparent)]
    Trace(#[from] Unusable),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<NodeError> for ServeError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Open(error) => Self::Open(error),
            NodeError::Secret(error) => Self::Open(error.into()),
            error => Self::Node(error),
        }
    }
}

impl ServeError {
    /// The exit code: 2 if the configuration names something unusable, so that a restart would fail
    /// again; otherwise 1.
    pub(super) fn code(&self) -> u8 {
        let is_mistake = match self {
            Self::Keys(KeysError::Io { source, .. })
            | Self::Audit(AuditError::File { source, .. }) => is_misnamed(source),
            Self::Keys(_) | Self::Audit(AuditError::NoFile(..)) => true,
            Self::Secret(error) => error.is_mistake(),
            Self::Tls(error) => !matches!(error, TlsError::Library(_)),
            Self::Open(
                OpenError::Config(_)
                | OpenError::Secret(SecretError::TooWide(_))
                | OpenError::OfCluster
                | OpenError::OfSingle,
            )
            | Self::Audit(AuditError::TooWide(..)) => true,
            Self::Open(OpenError::Secret(SecretError::Io { source, .. })) => is_misnamed(source),
            Self::Open(OpenError::Disk(error))
            | Self::Node(NodeError::Identity(IdentityError::Disk(error))) => is_misplaced(error),
            Self::Node(error) => return code_of(error),
            _ => false,
        };
        if is_mistake { MISTAKEN } else { FAILED }
    }
}

/// The exit code of a node that did not start, or had to end.
fn code_of(error: &NodeError) -> u8 {
    match error {
        NodeError::Marked { .. } => NO_RESTART,
        NodeError::Ended(ending) if ending.forbids_restart() => NO_RESTART,
        // Another attempt finds the same stream and the same log.
        NodeError::Mistaken(_)
        | NodeError::OtherCluster(_)
        | NodeError::Lost(_)
        | NodeError::Identity(IdentityError::Malformed(_)) => MISTAKEN,
        _ => FAILED,
    }
}

/// Whether the error shows that the data directory cannot be one.
fn is_misplaced(error: &DiskError) -> bool {
    match error {
        DiskError::TooWide(_) | DiskError::NoFile { .. } => true,
        DiskError::Io { source, .. } => is_misnamed(source),
        DiskError::Locked { .. } => false,
    }
}

/// Whether the error shows that the configuration names a wrong path.
fn is_misnamed(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | AlreadyExists | PermissionDenied
    )
}
