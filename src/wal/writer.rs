//! The writer: appends frames to the current segment, seals it and continues in the next one, and
//! syncs the written frames. The rules are in the documentation of [`crate::wal`].

use std::sync::Arc;

use crate::failpoint;

use super::cipher::Tag;
use super::config::{Config, FRAME_LEN_MAX};
use super::error::{AppendError, Failure, OpenError};
use super::frame::buffer::FrameBuffer;
use super::frame::encode::Encoder;
use super::frame::{FRAME_OVERHEAD_MAX, Fields, Kind, frame_len, is_first};
use super::key::LogKey;
use super::reader::Survey;
use super::report::{Appended, Counters};
use super::ring::Ring;
use super::segment::{Features, HEADER_BLOCK_LEN, Lsn, SECTOR_LEN, segment_name};
use super::storage::{File, NotDurable, Storage, is_no_space};

/// Maximum length of a frame's body, in bytes.
pub const BODY_LEN_MAX: usize = FRAME_LEN_MAX as usize - FRAME_OVERHEAD_MAX;
/// Sectors at the end of a segment that are kept free of records: one for a frame that records a
/// release when the disk is full, and one for the seal.
pub(super) const SECTORS_KEPT: u64 = 2;

/// The log, open for writing. One thread at a time uses it.
pub struct Wal {
    pub(super) ring: Ring,
    /// The current segment's file.
    file: Arc<dyn File>,
    /// End of the last frame in the current segment, as an offset in the file.
    pub(super) offset: u64,
    pub(super) durable: Lsn,
    /// Whether the next frame begins a new sector, because everything before it has been synced.
    at_new_sector: bool,
    /// Whether the last frame had records at the start.
    pub(super) began_with_records: bool,
    pub(super) last_time_ms: u64,
    /// The tag of the last frame.
    pub(super) last_tag: Tag,
    /// The tag of the last frame before `durable`.
    pub(super) durable_tag: Tag,
    encoder: Encoder,
    /// Whether the next frame is written durably, if all before it is durable.
    is_durable_next: bool,
    pub(super) failed: Option<Failure>,
    pub(super) counters: Counters,
}

impl Wal {
    /// Creates a new log in a directory where [`survey`](super::survey) found none.
    ///
    /// # Errors
    /// The first segment could not be created.
    pub fn create(
        storage: Arc<dyn Storage>,
        config: Config,
        key: &LogKey,
    ) -> Result<Self, OpenError> {
        Self::create_with(Features::NONE, storage, config, key)
    }

    /// Like [`Wal::create`], with these features.
    pub(crate) fn create_with(
        features: Features,
        storage: Arc<dyn Storage>,
        config: Config,
        key: &LogKey,
    ) -> Result<Self, OpenError> {
        let (ring, file) = Ring::create(storage, config, key.clone(), features)?;
        Ok(Self::start(ring, file, HEADER_BLOCK_LEN, 0))
    }

    /// Continues the log that `survey` found with its key: truncates a torn tail, and removes files
    /// that a crash left behind. The live bytes of the segments are not known yet: the caller has to report
    /// them, as after every append.
    ///
    /// # Errors
    /// The survey has no key, or an error of the operating system. The log is unchanged, or its torn
    /// tail is truncated.
    pub fn resume(
        storage: &Arc<dyn Storage>,
        config: Config,
        survey: &Survey,
    ) -> Result<Self, OpenError> {
        let (ring, file) = Ring::resume(storage, config, survey)?;
        failpoint::pass("recovery-swept");
        survey.tail.wipe(file.as_ref())?;
        let (offset, time_ms) = (survey.tail.end_offset, survey.tail.last_time_ms);
        let began_with_records = survey.tail.ends_with_records;
        let tag = survey.last_tag;
        let log = Self::start(ring, file, offset, time_ms);
        Ok(Self { began_with_records, last_tag: tag, durable_tag: tag, ..log })
    }

    fn start(ring: Ring, file: Arc<dyn File>, offset: u64, last_time_ms: u64) -> Self {
        let durable = ring.table.current().header.lsn_at(offset);
        Self {
            ring,
            file,
            offset,
            durable,
            at_new_sector: true,
            began_with_records: false,
            last_time_ms,
            last_tag: Tag::NONE,
            durable_tag: Tag::NONE,
            encoder: Encoder::default(),
            is_durable_next: false,
            failed: None,
            counters: Counters::default(),
        }
    }

    /// Appends a frame with the records in `frame`, encrypted. It is durable only after
    /// [`Wal::sync`]. `frame` is not changed, so that it may be retried.
    ///
    /// # Errors
    /// The frame is not in the log: the body was too long, the disk is full at the moment, or the
    /// log has failed permanently.
    ///
    /// # Panics
    /// If `log_time_ms` is less than that of the frame before: engine time never runs backwards.
    pub fn append(
        &mut self,
        log_time_ms: u64,
        frame: &FrameBuffer,
    ) -> Result<Appended, AppendError> {
        self.append_body(log_time_ms, frame.body())
    }

    /// [`Wal::append`] and [`Wal::sync`], which are one call of the system if all before it is durable.
    ///
    /// # Errors
    /// As for [`Wal::append`]; a failed sync is [`AppendError::Failed`].
    pub fn append_durably(
        &mut self,
        log_time_ms: u64,
        frame: &FrameBuffer,
    ) -> Result<Appended, AppendError> {
        self.is_durable_next = true;
        let appended = self.append_body(log_time_ms, frame.body());
        self.is_durable_next = false;
        let appended = appended?;
        self.sync()?;
        Ok(appended)
    }

    fn append_body(&mut self, log_time_ms: u64, body: &[u8]) -> Result<Appended, AppendError> {
        assert!(log_time_ms >= self.last_time_ms, "log time runs backwards");
        self.check_failed()?;
        let (len, max) = (body.len(), BODY_LEN_MAX);
        if len > max {
            return Err(AppendError::TooLong { len, max });
        }
        self.notice_jobs()?;
        self.ring.grow_for(frame_len(len, true));
        // Repeated only if the segments at hand are too small for the frame, or lack a feature.
        while !self.fits(len, SECTORS_KEPT) {
            self.roll()?;
        }
        self.write_records(log_time_ms, body)?;
        self.ring.prepare_ahead(self.offset, self.durable);
        Ok(Appended { end_lsn: self.head(), seq: self.current_seq() })
    }

    /// Whether the next frame has records of puts or deadlines; later segments are then made for such.
    pub(crate) fn use_puts(&mut self, needs_puts: bool) {
        self.ring.needs_puts = needs_puts;
        if needs_puts {
            self.ring.features = Features::PUTS;
        }
    }

    /// Appends an empty frame and syncs: it records the time, and makes damage to the last real
    /// frame provable.
    ///
    /// # Errors
    /// As for [`Wal::append`]; a failed sync is [`AppendError::Failed`].
    pub fn mark(&mut self, log_time_ms: u64) -> Result<Lsn, AppendError> {
        // Synced first, so that the synced Lsn of the mark includes the last frames.
        self.sync()?;
        failpoint::pass("mark-before");
        self.append_body(log_time_ms, &[])?;
        failpoint::pass("mark-written");
        Ok(self.sync()?)
    }

    /// Closes the log cleanly, with a last [`Wal::mark`].
    ///
    /// # Errors
    /// As for [`Wal::mark`]. Frames synced before are durable in any case.
    pub fn close(mut self, log_time_ms: u64) -> Result<Lsn, AppendError> {
        failpoint::pass("close-before");
        let end = self.mark(log_time_ms)?;
        failpoint::pass("close-done");
        Ok(end)
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// The log has failed permanently, now or before. Frames appended since the last sync may or
    /// may not exist after the next start.
    pub fn sync(&mut self) -> Result<Lsn, Failure> {
        self.check_failed()?;
        let head = self.head();
        if self.durable < head {
            let synced = self.file.sync();
            synced.map_err(|error| self.fail("sync", &error))?;
            self.synced();
        }
        Ok(head)
    }

    /// All that was written is durable now.
    fn synced(&mut self) {
        self.counters.syncs += 1;
        self.durable = self.head();
        self.durable_tag = self.last_tag;
        self.at_new_sector = true;
        failpoint::pass("sync-done");
        if self.ring.retire(self.durable) {
            self.ring.prepare_ahead(self.offset, self.durable);
        }
    }

    /// Position of the next frame, as an offset in the current segment.
    fn next_place(&self) -> u64 {
        if self.at_new_sector { self.offset.next_multiple_of(SECTOR_LEN) } else { self.offset }
    }

    /// Whether a frame with a body of this length fits in the current segment with `sectors` free
    /// sectors after it, each for one short frame.
    pub(super) fn fits(&self, body_len: usize, sectors: u64) -> bool {
        let (header, place) = (self.ring.table.current().header, self.next_place());
        let end = (place + frame_len(body_len, is_first(place))).next_multiple_of(SECTOR_LEN);
        self.ring.has_features() && end + sectors * SECTOR_LEN <= header.size
    }

    pub(super) fn write_records(
        &mut self,
        log_time_ms: u64,
        body: &[u8],
    ) -> Result<(), AppendError> {
        self.write(log_time_ms, Kind::Records, body)?;
        self.last_time_ms = log_time_ms;
        self.counters.frames += 1;
        Ok(())
    }

    fn write(&mut self, log_time_ms: u64, kind: Kind, body: &[u8]) -> Result<(), AppendError> {
        let place = self.next_place();
        let header = self.ring.table.current().header;
        let fields = Fields {
            kind,
            body_len: body.len(),
            lsn: header.lsn_at(place),
            log_time_ms,
            older: self.ring.older(),
            synced_lsn: self.durable,
            carries_tag: is_first(place),
        };
        let is_durable =
            self.is_durable_next && kind == Kind::Records && self.durable == self.head();
        let (cipher, identity) = (&self.ring.cipher, self.ring.identity);
        let (bytes, tag) = self.encoder.encode(cipher, identity, &fields, self.last_tag, body)?;
        let end = place + bytes.len() as u64;
        assert!(end <= header.size, "the frame was known to fit");
        failpoint::pass("frame-before-write");
        if failpoint::is_due("frame-half-written") {
            let _ = self.file.write_at(&bytes[..bytes.len() / 2], place);
            failpoint::die();
        }
        let written = match is_durable {
            true => self.file.write_durably_at(bytes, place),
            false => self.file.write_at(bytes, place).map_err(NotDurable::Written),
        };
        match written {
            Ok(()) => {}
            Err(NotDurable::Written(error)) if is_no_space(&error) => {
                if is_durable {
                    let taken_back = take_back(&*self.file, bytes, place);
                    taken_back.map_err(|error| self.fail("take back a frame of", &error))?;
                }
                return Err(AppendError::NoSpace(error));
            }
            Err(NotDurable::Written(error)) => return Err(self.fail("write", &error).into()),
            Err(NotDurable::Synced(error)) => return Err(self.fail("sync", &error).into()),
        }
        self.counters.bytes_appended += end - self.offset;
        self.offset = end;
        self.last_tag = tag;
        self.at_new_sector = false;
        self.ring.table.current_mut().note_frame(end, log_time_ms, body.len());
        self.ring.declared(header.lsn_at(end));
        failpoint::pass("frame-written");
        if is_durable {
            self.synced();
        }
        Ok(())
    }

    /// Seals the current segment and continues in the next one.
    pub(super) fn roll(&mut self) -> Result<(), AppendError> {
        // The next segment comes first, because a seal records that it exists. That can take as
        // long as filling a whole file, so the written frames are synced before the wait.
        if !self.ring.has_next() {
            self.sync()?;
        }
        self.wait_for_next()?;
        failpoint::pass("seal-before-write");
        self.write(self.last_time_ms, Kind::Seal, &[])?;
        failpoint::pass("seal-written");
        self.sync()?;
        failpoint::pass("seal-synced");
        self.file = self.ring.advance();
        self.offset = HEADER_BLOCK_LEN;
        self.durable = self.head();
        self.at_new_sector = true;
        Ok(())
    }

    fn wait_for_next(&mut self) -> Result<(), AppendError> {
        // No failure here affects the log: the next attempt creates another file.
        self.ring.wait_for_next(self.durable, &mut self.counters).map_err(
            |error| match is_no_space(&error) {
                true => AppendError::NoSpace(error),
                false => AppendError::NoSegment(error),
            },
        )
    }

    pub(super) fn notice_jobs(&mut self) -> Result<(), Failure> {
        let noticed = self.ring.notice_jobs(&mut self.counters);
        noticed.map_err(|error| self.fail("turn the ring at", &error))
    }

    pub(super) fn check_failed(&self) -> Result<(), Failure> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, operation: &'static str, error: &std::io::Error) -> Failure {
        let failure = Failure {
            file: segment_name(self.current_seq()),
            operation,
            reason: error.to_string(),
        };
        self.failed.get_or_insert(failure).clone()
    }
}

/// Makes sure that no restart finds a frame that is refused because there is no space, also after a power
/// cut. If the sync found that, all of the frame is in the file, and the disk may have any part of it.
///
/// # Errors
/// It is there and stays there, or it may still be on the disk.
fn take_back(file: &dyn File, frame: &[u8], place: u64) -> std::io::Result<()> {
    let head = &frame[..frame.len().min(SECTOR_LEN as usize)];
    match file.write_at(&[0; SECTOR_LEN as usize][..head.len()], place) {
        Ok(()) => file.sync(),
        Err(error) => {
            let mut found = vec![0; head.len()];
            let is_gone = file.read_at(&mut found, place).is_ok() && found != head;
            if is_gone { Ok(()) } else { Err(error) }
        }
    }
}
