//! The reader's side of a backup.

use std::sync::Arc;

use crossbeam_channel::{TrySendError, bounded};

use crate::engine::handle::Engine;
use crate::engine::job::Job;
use crate::engine::shared::Shared;
use crate::model::time::UnixMillis;
use crate::wal::{Extent, File, Storage};

use super::head::{BackupError, BackupHead};
use super::request::{BackupRequest, Begun};

/// Bytes read at once.
const PIECE_LEN: u64 = 256 << 10;

impl Engine {
    /// Starts a backup, which contains every change that was acknowledged before this call. Blocks
    /// until the committer has marked the moment; writes continue. The segments are kept until the
    /// backup is read to its end or dropped, or until it is not read for 60 seconds.
    ///
    /// # Errors
    /// The engine has no log, another backup is running, or the log cannot be marked.
    pub fn backup(&self) -> Result<Backup, BackupError> {
        let (reply, answer) = bounded(1);
        self.committer.jobs.try_send(Job::Backup(BackupRequest { reply })).map_err(|error| {
            match error {
                TrySendError::Full(_) => BackupError::Busy,
                TrySendError::Disconnected(_) => BackupError::Closed,
            }
        })?;
        let Begun { id, head, extents, storage } =
            answer.recv().map_err(|_| BackupError::Closed)??;
        let shared = Arc::clone(&self.shared);
        Ok(Backup { shared, id, head, extents, storage, at: 0, offset: 0, file: None })
    }
}

/// A running backup. Dropping it releases its segments.
pub struct Backup {
    shared: Arc<Shared>,
    id: u64,
    head: BackupHead,
    extents: Vec<Extent>,
    storage: Arc<dyn Storage>,
    /// Index of the current extent.
    at: usize,
    offset: u64,
    file: Option<Arc<dyn File>>,
}

impl Backup {
    /// The head of the backup.
    #[must_use]
    pub fn head(&self) -> &BackupHead {
        &self.head
    }

    /// Total bytes that [`Backup::read`] returns.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.durable_bytes).sum()
    }

    /// The next bytes of the files, one file after the other, at most 256 KiB; `None` at the end.
    ///
    /// # Errors
    /// The segments have been released, or the operating system refused a read.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let Some(extent) = self.extents.get(self.at) else {
            return Ok(None);
        };
        let refused = |error: std::io::Error| BackupError::Read {
            file: extent.file.clone(),
            reason: error.to_string(),
        };
        let read = (|| {
            let file = match self.file.take() {
                Some(file) => file,
                None => self.storage.open(&extent.file)?,
            };
            let len = (extent.durable_bytes - self.offset).min(PIECE_LEN);
            let mut bytes = vec![0; len as usize];
            file.read_at(&mut bytes, self.offset)?;
            Ok((file, bytes))
        })();
        // Checked first: without the pin, the bytes read (or a missing file) mean nothing.
        let now = self.shared.time.monotonic();
        if !self.shared.backups.touch(self.id, extent.header.seq, now) {
            return Err(BackupError::Lost);
        }
        let (file, bytes) = read.map_err(refused)?;
        self.offset += bytes.len() as u64;
        if self.offset < extent.durable_bytes {
            self.file = Some(file);
        } else {
            (self.at, self.offset) = (self.at + 1, 0);
        }
        if self.at == self.extents.len() {
            self.shared.backups.unpin(self.id);
        }
        Ok(Some(bytes))
    }

    fn is_done(&self) -> bool {
        self.at == self.extents.len()
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.shared.backups.unpin(self.id);
        let moment = UnixMillis(self.head.time_ms);
        if self.is_done() {
            self.shared.backups.complete(moment);
            tracing::info!(%moment, lsn = self.head.lsn, "backup completed");
        } else {
            self.shared.backups.broken.increment();
            tracing::warn!(%moment, lsn = self.head.lsn, "backup ended before it was complete");
        }
    }
}
