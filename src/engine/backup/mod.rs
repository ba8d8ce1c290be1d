//! A backup: the durable log at one moment, read while the engine continues to write.
//!
//! The committer marks the log (a synced empty frame, as at a clean end) and records the length of
//! each file at that [moment](BackupHead::lsn). A durable byte is never overwritten while its
//! segment is in the ring, so a reader needs neither a copy nor a lock; it only needs the segments
//! to stay. A *pin* keeps them: the committer releases no segment from the pinned one on. Segments
//! are released oldest first, so one number is enough. The reader moves the pin forward after each
//! segment. Relocation continues meanwhile; only the last step of cleaning waits.
//!
//! Hard links would not be sufficient, because a released file is reused under another name. Open
//! files would not be sufficient for the same reason, and because a log may have more segments than
//! a process has file descriptors.
//!
//! A pin must not stop writes. It is lost
//!
//! - after 60 seconds without progress ([`STALLED_AFTER`]),
//! - when the log has grown by as many segments as were pinned, and 64 (`pins::GROWTH_MIN`),
//! - when the disk is full.
//!
//! After every read the reader checks that the pin still holds; only then are the bytes known to be
//! those of the segment. Only one backup runs at a time, so these bounds apply to all backups
//! together.

pub(super) mod begin;
mod head;
pub(super) mod pins;
mod read;
pub(super) mod request;

pub use head::{BackupError, BackupFile, BackupHead};
pub use pins::STALLED_AFTER;
pub use read::Backup;
