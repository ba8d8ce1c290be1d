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
//! - when the log has grown by as many segments as were pinned, and 64 ([`GROWTH_MIN`]),
//! - when the disk is full.
//!
//! Who reads looks after every read whether the pin still holds; only then are the bytes known to
//! be those of the segment. One backup is read at a time, so the bounds above are those of all.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};
use serde::{Deserialize, Serialize};

use crate::model::metrics::Counter;
use crate::model::time::UnixMillis;
use crate::wal::{AppendError, Extent, File, Storage, Wal};

use super::commit::Committer;
use super::shared::Shared;
use super::{Engine, Job};

/// A backup of which nothing is read for so long does not count any more.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Segments by which the log may always grow while it is pinned.
const GROWTH_MIN: u64 = 64;
/// Bytes read at once.
const PIECE_LEN: u64 = 256 << 10;
/// The form of the head and of what follows it.
const FORMAT: u32 = 1;

/// Why there is no backup, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Nothing is on disk.
    #[error("this server keeps nothing on disk, so there is nothing to back up")]
    NoLog,
    /// One at a time.
    #[error("another backup is being taken")]
    Running,
    /// As for a call.
    #[error("too many calls wait already")]
    Busy,
    /// The moment cannot be marked.
    #[error("the log's disk is full")]
    DiskFull,
    /// The moment cannot be marked, for another reason than a full disk.
    #[error("{0}")]
    Unavailable(String),
    /// The log takes nothing any more.
    #[error("the log has failed: what is durable is known after a restart")]
    Failed,
    /// The engine is closing.
    #[error("the engine is closing")]
    Closed,
    /// The pin was lost.
    #[error("the backup was too slow, or the disk is full: its segments are not kept any more")]
    Lost,
    /// The system refused a read.
    #[error("{file} can't be read: {reason}")]
    Read {
        /// Name of the file, within the data directory.
        file: String,
        /// What the system said.
        reason: String,
    },
}

/// What a backup holds. Says nothing of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Of this head and what follows it, 1.
    pub format: u32,
    /// The jeton that wrote it.
    pub jeton: String,
    /// The log's id in hexadecimal: which secret it belongs to, and nothing else of that.
    pub log_id: String,
    /// The moment, as a position in the log: all that is before it is in the backup, and nothing
    /// that is behind it.
    pub lsn: u64,
    /// The moment in engine time, Unix milliseconds.
    pub time_ms: u64,
    /// The files, oldest first.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    /// Its name.
    pub name: String,
    /// Its bytes that are sent.
    pub sent: u64,
    /// Its length: the rest are zeros.
    pub length: u64,
}

/// A request for a backup, on its way to the committer.
pub(super) struct Asked {
    reply: Sender<Result<Begun, BackupError>>,
}

/// What the committer answers.
struct Begun {
    id: u64,
    head: BackupHead,
    extents: Vec<Extent>,
    storage: Arc<dyn Storage>,
}

/// The one pin there may be, and what was counted.
#[derive(Debug, Default)]
pub(super) struct Pins {
    state: Mutex<State>,
    pub(super) taken: Counter,
    pub(super) broken: Counter,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    pin: Option<Pin>,
}

#[derive(Debug)]
struct Pin {
    id: u64,
    /// No segment from here on is released.
    from_seq: u64,
    /// So many segments may be there.
    segments_max: u64,
    /// Monotonic time of the last read.
    touched: Duration,
}

impl Pin {
    fn is_stalled(&self, now: Duration) -> bool {
        now.saturating_sub(self.touched) > STALLED_AFTER
    }
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a backup is being read. `now` is monotonic, as everywhere here.
    pub(super) fn is_running(&self, now: Duration) -> bool {
        self.lock().pin.as_ref().is_some_and(|pin| !pin.is_stalled(now))
    }

    /// Pins the segments from `from_seq` on, of which there are so many.
    fn pin(&self, from_seq: u64, segments: u64, now: Duration) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        let (id, segments_max) = (state.last_id, segments.saturating_mul(2) + GROWTH_MIN);
        state.pin = Some(Pin { id, from_seq, segments_max, touched: now });
        id
    }

    /// The reader has done a step and needs nothing before `from_seq`. False: the pin is lost.
    fn touch(&self, id: u64, from_seq: u64, now: Duration) -> bool {
        match self.lock().pin.as_mut().filter(|pin| pin.id == id) {
            Some(pin) => {
                (pin.from_seq, pin.touched) = (from_seq, now);
                true
            }
            None => false,
        }
    }

    fn unpin(&self, id: u64) {
        let mut state = self.lock();
        state.pin.take_if(|pin| pin.id == id);
    }

    /// Whether segment `seq`, of so many, may not be released yet. Takes the pin away where it has
    /// held for too long.
    fn holds(&self, seq: u64, segments: u64, is_full: bool, now: Duration) -> bool {
        let mut state = self.lock();
        let Some(pin) = state.pin.as_ref().filter(|pin| seq >= pin.from_seq) else {
            return false;
        };
        let reason = match () {
            () if is_full => "the disk is full",
            () if pin.is_stalled(now) => "nobody reads it",
            () if segments > pin.segments_max => "the log grew too long",
            () => return true,
        };
        tracing::warn!(reason, "a backup is given up: segments are released again");
        state.pin = None;
        false
    }
}

impl Shared {
    /// Whether the oldest segment, `seq`, must wait for a backup.
    pub(super) fn holds(&self, wal: &Wal, seq: u64) -> bool {
        let is_full = self.disk_full.load(Ordering::Relaxed);
        self.backups.holds(seq, wal.segments().len() as u64, is_full, self.time.monotonic())
    }
}

impl Committer {
    /// Begins the backup that was asked for, if one was. To be called between turns.
    pub(super) fn begin_backup(&mut self) {
        if let Some(Asked { reply }) = self.backup.take() {
            let begun = self.mark_for_backup();
            if let Err(error) = &begun {
                tracing::warn!(%error, "no backup");
            }
            let id = begun.as_ref().ok().map(|begun| begun.id);
            // Nobody waits any more: nobody will read it.
            if let (Err(_), Some(id)) = (reply.send(begun), id) {
                self.shared.backups.unpin(id);
            }
        }
    }

    fn mark_for_backup(&mut self) -> Result<Begun, BackupError> {
        let Some(log) = &mut self.log else { return Err(BackupError::NoLog) };
        let monotonic = self.shared.time.monotonic();
        if self.shared.backups.is_running(monotonic) {
            return Err(BackupError::Running);
        }
        let is_empty = self.ledger.tally.entries == 0;
        self.now = self.shared.time.observe(&mut self.observer, is_empty);
        let marked = log.wal.mark(self.now.0).map_err(|error| {
            self.shared.note_append_error(&error);
            match &error {
                AppendError::Failed(_) => BackupError::Failed,
                AppendError::NoSpace(_) => BackupError::DiskFull,
                AppendError::NoSegment(_) | AppendError::TooLong { .. } => {
                    BackupError::Unavailable(error.to_string())
                }
            }
        })?;
        self.shared.note_space();
        log.wants_mark = false;
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
            time_ms: self.now.0,
            files: files.collect(),
        };
        let id = self.shared.backups.pin(oldest.seq, extents.len() as u64, monotonic);
        tracing::info!(lsn = head.lsn, segments = extents.len(), "a backup begins");
        Ok(Begun { id, head, extents, storage: log.wal.storage() })
    }
}

impl Engine {
    /// Begins a backup: all that was acknowledged before this call is in it. Blocks until the
    /// committer has marked the moment; writes go on. The segments are kept until the backup is
    /// read to its end or dropped; one that is not read for 60 seconds loses them.
    ///
    /// # Errors
    /// There is no log, another backup is being read, or the log cannot be marked.
    pub fn backup(&self) -> Result<Backup, BackupError> {
        let (reply, answer) = bounded(1);
        self.committer.jobs.try_send(Job::Backup(Asked { reply })).map_err(
            |error| match error {
                TrySendError::Full(_) => BackupError::Busy,
                TrySendError::Disconnected(_) => BackupError::Closed,
            },
        )?;
        let Begun { id, head, extents, storage } =
            answer.recv().map_err(|_| BackupError::Closed)??;
        let shared = Arc::clone(&self.shared);
        Ok(Backup { shared, id, head, extents, storage, at: 0, offset: 0, file: None })
    }
}

/// A backup that is being read. Dropped, it lets go of the segments.
pub struct Backup {
    shared: Arc<Shared>,
    id: u64,
    head: BackupHead,
    extents: Vec<Extent>,
    storage: Arc<dyn Storage>,
    /// The extent that is read.
    at: usize,
    offset: u64,
    file: Option<Arc<dyn File>>,
}

impl Backup {
    /// What it holds.
    #[must_use]
    pub fn head(&self) -> &BackupHead {
        &self.head
    }

    /// Bytes that [`Backup::read`] gives, all of them together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.durable_bytes).sum()
    }

    /// The next bytes of the files, one file behind the other, at most 256 KiB; nothing at the end.
    ///
    /// # Errors
    /// The segments are not kept any more, or what the system said.
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
        // Before anything else: without the pin it is not known what was read, or found missing.
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
            self.shared.backups.taken.increment();
            tracing::info!(%moment, lsn = self.head.lsn, "a backup was read to its end");
        } else {
            self.shared.backups.broken.increment();
            tracing::warn!(%moment, lsn = self.head.lsn, "a backup was not read to its end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pin_holds_what_is_behind_it_and_moves_on() {
        let pins = Pins::default();
        assert!(!pins.holds(1, 1, false, SECOND) && !pins.is_running(SECOND));
        let id = pins.pin(5, 3, SECOND);
        assert!(pins.is_running(SECOND) && pins.holds(5, 3, false, SECOND));
        assert!(pins.touch(id, 6, SECOND));
        assert!(!pins.holds(5, 3, false, SECOND) && pins.holds(6, 3, false, SECOND));
        pins.unpin(id + 1);
        assert!(pins.holds(6, 3, false, SECOND), "that was another one's");
        pins.unpin(id);
        assert!(!pins.holds(6, 3, false, SECOND) && !pins.touch(id, 7, SECOND));
    }

    #[test]
    fn a_pin_is_lost_when_it_is_stalled_the_log_is_long_or_the_disk_full() {
        let late = SECOND + STALLED_AFTER + SECOND;
        for (segments, is_full, now, is_held) in [
            (70, false, SECOND, true),
            (71, false, SECOND, false),
            (3, true, SECOND, false),
            (3, false, SECOND + STALLED_AFTER, true),
            (3, false, late, false),
        ] {
            let pins = Pins::default();
            let id = pins.pin(5, 3, SECOND);
            assert_eq!(pins.holds(5, segments, is_full, now), is_held, "{segments} {is_full}");
            assert_eq!(pins.touch(id, 5, now), is_held, "who reads is told");
        }
        let pins = Pins::default();
        pins.pin(5, 3, SECOND);
        assert!(!pins.is_running(late), "another may take its place");
    }
}
