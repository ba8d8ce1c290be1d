//! How keys have changed from one table to the next.

use std::sync::Arc;

use super::access::Access;

/// How a key has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is valid now.
    Added,
    /// Its scopes, namespace, expiry, holder, networks, certificate or text are others.
    Changed,
    /// It was revoked, or is no longer in the file.
    Removed,
}

/// Keys that have changed, in the order of their ids, each with its access now, or before it was
/// removed.
pub type KeyChanges = Vec<(KeyChange, Arc<Access>)>;
