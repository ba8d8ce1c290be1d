//! Jobs in the committer's queue.

use super::backup::request::BackupRequest;
use super::mailbox::Reply;
use super::op::Op;

/// Jobs in the committer's queue.
pub(super) enum Job {
    /// Start a backup.
    Backup(BackupRequest),
    /// A call.
    Call(Call),
    /// Perform the queued calls, then end.
    Close,
}

/// Whether a thread performs its calls itself, where nobody else does any at the moment.
#[cfg_attr(
    not(any(feature = "server", test)),
    expect(dead_code, reason = "only the workers of a server commit on their own threads")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Here {
    /// It never does.
    #[default]
    Never,
    /// If it then waits for no disk.
    WithoutWait,
    /// Also if it waits for a fast disk, and serves nobody meanwhile.
    WithWait,
}

/// Operations, and the receiver of their outcomes.
pub(super) struct Call {
    pub(super) ops: Vec<Op>,
    pub(super) reply: Reply,
    /// Whether all operations are performed or none, in one frame.
    pub(super) is_together: bool,
}

/// The log could not be closed cleanly. Changes acknowledged under
/// [`SyncMode::Always`](super::SyncMode::Always) are durable nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log could not be closed cleanly: {0}")]
pub struct CloseError(pub(super) String);
