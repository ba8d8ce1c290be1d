//! The only interface to the disk: a narrow trait, and its implementation for a real directory
//! (`disk`).
//!
//! Everything the log does to files goes through [`Storage`] and [`File`], so that a test can use a
//! disk that loses data, tears writes and fails. The rules for both sides:
//!
//! - Bytes written to a file survive a crash only after [`File::sync`]. Until
//!   then each 512-byte sector of them may be old, new or garbled.
//! - A created, renamed or removed name survives a crash only after
//!   [`Storage::sync_dir`]. Until then the old name may be back.
//! - After a failed [`File::sync`] it is unknown which bytes are on the disk. It is never retried:
//!   the kernel may have marked the pages clean, so that a second attempt succeeds although the
//!   bytes are lost.

use std::io;
use std::sync::Arc;

pub mod disk;

/// One directory of files.
pub trait Storage: Send + Sync {
    /// Creates an empty file, replacing an existing one, and reserves `reserve_len` bytes for it if
    /// the file system can, so that a full disk is detected before anything is written. The length
    /// stays 0.
    fn create(&self, name: &str, reserve_len: u64) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// All names in the directory, in no particular order.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Renames a file; an existing file `to` is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable that were created, renamed or removed so far.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// Length of the file, in bytes.
    pub len: u64,
    /// Whether it is a regular file: not a link, directory or device.
    pub is_regular: bool,
}

/// One open file. All methods may be called from any thread.
pub trait File: Send + Sync {
    /// Fills all of `buf` with the bytes at `offset`, or fails.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may
    /// have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable.
    fn sync(&self) -> io::Result<()>;

    /// Writes all of `bytes` at `offset` and makes them durable: one call of the system where it has one.
    /// Nothing else that was written is made durable.
    ///
    /// # Errors
    /// Any part of `bytes` may have been written, and none of them need be durable.
    fn write_durably_at(&self, bytes: &[u8], offset: u64) -> Result<(), NotDurable> {
        self.write_at(bytes, offset).map_err(NotDurable::Written)?;
        self.sync().map_err(NotDurable::Synced)
    }

    /// Drops the clean cached pages of this file, so that the next read returns the bytes of the
    /// device. After a failed sync in an earlier process the cache may contain bytes that never
    /// reached the device.
    fn forget_cache(&self) -> io::Result<()>;

    /// Truncates or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// What failed of a [durable write](File::write_durably_at).
#[derive(Debug)]
pub enum NotDurable {
    /// The write. If there was no space it may be repeated.
    Written(io::Error),
    /// The sync, or one of both. It is final.
    Synced(io::Error),
}

/// Whether an error means that there is no space at the moment. Such a write may be retried later;
/// every other failure is final.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
