//! A backup: the log as it was durable at one moment, read while the engine goes on writing.
//!
//! The committer marks the log (a synced empty frame, as at a clean end) and notes how long each
//! file is at that [moment](BackupHead::lsn). A durable byte is never written again while its
//! segment is in the ring, so a reader needs no copy and no lock: it only needs the segments to
//! stay. A *pin* says so: the committer releases no segment from the pinned one on, and since
//! segments go oldest first, one number says it all. The reader moves the pin on with each
//! segment that it has done. Carrying goes on meanwhile; only the last step of cleaning waits.
//!
//! Hard links would not do: a released file is written again under another name. Nor would opened
//! files: for the same reason, and since a log may have more segments than a process descriptors.
//!
//! A pin may not stop the writes of others. It is lost
//!
//! - after 60 seconds without progress ([`STALLED_AFTER`]),
//! - when the log has grown by as many segments as were pinned, and 64 (`pins::GROWTH_MIN`),
//! - when the disk is full.
//!
//! After every read the reader checks that the pin still holds; only then are the bytes known to be
//! those of the segment. One backup is read at a time, so the bounds above are those of all.

pub(super) mod begin;
mod head;
pub(super) mod pins;
mod read;
pub(super) mod request;

pub use head::{BackupError, BackupFile, BackupHead};
pub use pins::STALLED_AFTER;
pub use read::Backup;
