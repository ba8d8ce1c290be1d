//! The committer's part of a backup: marks the moment and pins the segments.

use crate::engine::clocks::Timekeeper;
use crate::engine::sequencer::Sequencer;
use crate::wal::AppendError;

use super::head::{BackupError, BackupFile, BackupHead, FORMAT};
use super::request::{BackupRequest, Begun};

/// Starts the requested backup. To be called between turns.
pub(in crate::engine) fn begin<T: Timekeeper>(
    request: &BackupRequest,
    sequencer: &mut Sequencer<T>,
) {
    let begun = mark(sequencer);
    if let Err(error) = &begun {
        tracing::warn!(%error, "no backup");
    }
    let id = begun.as_ref().ok().map(|begun| begun.id);
    // The requester is gone, so the backup will not be read.
    if let (Err(_), Some(id)) = (request.reply.send(begun), id) {
        sequencer.shared.backups.unpin(id);
    }
}

fn mark<T: Timekeeper>(sequencer: &mut Sequencer<T>) -> Result<Begun, BackupError> {
    if sequencer.log.is_none() {
        return Err(BackupError::NoLog);
    }
    let monotonic = sequencer.shared.time.monotonic();
    if sequencer.shared.backups.is_running(monotonic) {
        return Err(BackupError::Running);
    }
    let now = sequencer.take_time();
    let Sequencer { shared, log: Some(log), accounting, .. } = sequencer else {
        return Err(BackupError::NoLog);
    };
    let marked = log.mark(now).map_err(|error| {
        shared.note_append_error(&error);
        match &error {
            AppendError::Failed(_) => BackupError::Failed,
            AppendError::NoSpace(_) => BackupError::DiskFull,
            AppendError::NoSegment(_) | AppendError::NoRandom(_) | AppendError::TooLong { .. } => {
                BackupError::Unavailable(error.to_string())
            }
        }
    })?;
    shared.health.note_written();
    let extents = log.wal.extents();
    let Some(oldest) = extents.first().map(|oldest| oldest.header) else {
        unreachable!("a log has a current segment");
    };
    let files = extents.iter().map(|extent| BackupFile {
        name: extent.file.clone(),
        sent: extent.durable_bytes,
        length: extent.header.size,
    });
    let head = BackupHead {
        format: FORMAT,
        jeton: crate::build_info::VERSION.to_owned(),
        log_id: const_hex::encode(oldest.log_id.0),
        lsn: marked.0,
        tag: const_hex::encode(log.wal.last_tag().0),
        time_ms: now.0,
        tokens: accounting.totals.tokens,
        files: files.collect(),
        mac: String::new(),
    };
    let head = head.sign(log.wal.key());
    let id = shared.backups.pin(oldest.seq, extents.len() as u64, monotonic);
    tracing::info!(lsn = head.lsn, segments = extents.len(), "backup started");
    Ok(Begun { id, head, extents, storage: log.wal.storage() })
}
