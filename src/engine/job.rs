//! What is queued for the committer.

use super::backup::request::BackupRequest;
use super::mailbox::Reply;
use super::op::Op;

/// What is queued for the committer.
pub(super) enum Job {
    /// Begin a backup.
    Backup(BackupRequest),
    /// A call.
    Call(Call),
    /// Finish what is queued, then end.
    Close,
}

/// Operations, and where their outcomes go.
pub(super) struct Call {
    pub(super) ops: Vec<Op>,
    pub(super) reply: Reply,
}

/// The log could not be closed in good order. What was acknowledged under
/// [`SyncMode::Always`](super::SyncMode::Always) is durable all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log could not be closed in good order: {0}")]
pub struct CloseError(pub(super) String);
