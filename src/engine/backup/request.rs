//! Messages between a backup's reader and the committer.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::wal::{Extent, Storage};

use super::head::{BackupError, BackupHead};

/// A request for a backup, on its way to the committer.
pub(in crate::engine) struct BackupRequest {
    pub(in crate::engine) reply: Sender<Result<Begun, BackupError>>,
}

/// The committer's answer.
pub(in crate::engine) struct Begun {
    pub(super) id: u64,
    pub(super) head: BackupHead,
    pub(super) extents: Vec<Extent>,
    pub(super) storage: Arc<dyn Storage>,
}
