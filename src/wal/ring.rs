//! The ring: the segments, the next file, and the maximum length of the log.
//!
//! The log may be `max(log_min_size, 2 × live bytes)` long. Cleaning is due when the segments plus
//! the next one would exceed that: then the time of the whole current segment is left to do it in
//! small steps. If the log has room, or there is a spare, the next segment is prepared when the
//! current one is half full. Otherwise the cleaner is expected to free a spare, and a new file is
//! created only if there is none near the end.
//!
//! A released segment is no longer in the table, but its file keeps its name until a durable frame
//! records that the log does not need it: a file that is missing without such a frame was removed
//! from outside.
//!
//! A frame longer than a quarter of a segment (its entry was issued under a
//! larger `--segment-size`) makes all later segments four times as long as it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::cipher::SegmentCipher;
use super::cleaner::first_time;
use super::config::{Config, LOG_SEGMENTS_MAX, SEGMENT_SIZE_STEP};
use super::error::{OpenError, ReadError, io_at};
use super::key::{LogKey, new_salt};
use super::prepare::{Done, Job, Prepared, Preparer, prepare};
use super::reader::Survey;
use super::report::Counters;
use super::segment::{Features, HEADER_BLOCK_LEN, Lsn, SegmentHeader, segment_name, spare_name};
use super::storage::{File, Storage, is_no_space};
use super::sweep::sweep;
use super::table::{Clean, Segment, Table};

/// The segment after the current one.
enum Next {
    Missing,
    /// Ordered, with this size in bytes.
    Ordered(u64),
    Ready(Prepared),
}

/// A released segment whose file still has its name.
struct Released {
    seq: u64,
    size: u64,
    /// Whether the file is kept as a spare.
    is_kept: bool,
    /// End of the first frame that records that the segment is not needed.
    declared_lsn: Option<Lsn>,
}

pub(super) struct Ring {
    pub storage: Arc<dyn Storage>,
    pub config: Config,
    pub table: Table,
    pub key: LogKey,
    /// Identity of the current segment, which starts the checksums of its frames.
    pub identity: u32,
    /// Cipher of the current segment.
    pub cipher: SegmentCipher,
    next: Next,
    /// Features that later segments must have.
    pub features: Features,
    /// Whether the frame at hand has records of puts or deadlines; others go on also where there is
    /// no space for a segment with that feature.
    pub needs_puts: bool,
    /// Length of a new segment, in bytes: that of the configuration, or more for long frames.
    pub segment_len: u64,
    /// Names of files to recycle, all of that length.
    spares: Vec<String>,
    /// Released segments whose files still have their names, oldest first.
    released: VecDeque<Released>,
    preparer: Preparer,
    /// No further segment is ordered before the current one is filled up to here.
    order_from: u64,
    /// Whether the disk was full at the last attempt to prepare a segment.
    pressed: bool,
}

impl Ring {
    pub fn create(
        storage: Arc<dyn Storage>,
        config: Config,
        key: LogKey,
        features: Features,
    ) -> Result<(Self, Arc<dyn File>), OpenError> {
        sweep(storage.as_ref(), config.segment_len(), 0)?;
        let header = SegmentHeader::first(features, key.id(), config.segment_len(), new_salt()?);
        let header = key.sign(header);
        let first = prepare(storage.as_ref(), header, None, &AtomicBool::new(false))?;
        let segments = VecDeque::from([Segment::new(header, HEADER_BLOCK_LEN)]);
        let ring = Self::start(storage, config, key, segments, Vec::new())?;
        Ok((ring, first.file))
    }

    #[expect(clippy::expect_used, reason = "a survey has a current segment")]
    pub fn resume(
        storage: &Arc<dyn Storage>,
        config: Config,
        survey: &Survey,
    ) -> Result<(Self, Arc<dyn File>), OpenError> {
        let key = survey.key.clone().ok_or(OpenError::NoKey)?;
        let limit = config.log_min_size / config.segment_len();
        let room = match config.max_age {
            None => limit.saturating_sub(survey.segments.len() as u64).max(1),
            // A spare has old records in it.
            Some(_) => 0,
        };
        let spares = sweep(storage.as_ref(), config.segment_len(), room)?;
        let mut segments = VecDeque::new();
        for found in &survey.segments {
            segments.push_back(Segment::sealed(found.header));
        }
        let current = segments.back_mut().expect("a survey has a current segment");
        current.sealed = false;
        let current_header = current.header;
        current.used_bytes = survey.tail.end_offset;
        current.has_records = current.used_bytes > HEADER_BLOCK_LEN;
        if config.max_age.is_some() {
            for segment in &mut segments {
                segment.since_ms = first_time(storage.as_ref(), segment, &key);
            }
        }
        let file = open(storage.as_ref(), current_header.seq)?;
        let mut ring = Self::start(Arc::clone(storage), config, key, segments, spares)?;
        if let Some(header) = survey.prepared {
            ring.next = Next::Ready(Prepared {
                header,
                file: open(storage.as_ref(), header.seq)?,
                recycled: false,
            });
        }
        Ok((ring, file))
    }

    fn start(
        storage: Arc<dyn Storage>,
        config: Config,
        key: LogKey,
        segments: VecDeque<Segment>,
        spares: Vec<String>,
    ) -> io::Result<Self> {
        let table = Table::new(segments);
        let header = table.current().header;
        Ok(Self {
            preparer: Preparer::new(Arc::clone(&storage), config.preparing)?,
            storage,
            config,
            identity: header.identity(),
            cipher: key.cipher(&header),
            key,
            order_from: header.size / 2,
            table,
            next: Next::Missing,
            features: Features::NONE,
            needs_puts: false,
            segment_len: config.segment_len(),
            spares,
            released: VecDeque::new(),
            pressed: false,
        })
    }

    /// Whether frames may be written to the current segment.
    pub fn has_features(&self) -> bool {
        !self.needs_puts || self.table.current().header.features.contains(Features::PUTS)
    }

    /// Bytes of the segments, including the next one if there is one.
    pub fn total_bytes(&self) -> u64 {
        let next = match &self.next {
            Next::Missing => 0,
            Next::Ordered(size) => *size,
            Next::Ready(prepared) => prepared.header.size,
        };
        self.table.total_bytes() + next
    }

    /// Bytes of the segments, as if there was a next one.
    fn total_bytes_soon(&self) -> u64 {
        match self.next {
            Next::Missing => self.total_bytes() + self.segment_len,
            Next::Ordered(_) | Next::Ready(_) => self.total_bytes(),
        }
    }

    pub fn limit(&self) -> u64 {
        let live = self.table.live_bytes().saturating_mul(2);
        live.max(self.config.log_min_size)
    }

    /// Whether the oldest segment is due for cleaning. The current segment and the next one do not
    /// count, because they exist whatever the live bytes.
    fn is_long(&self) -> bool {
        let current = self.table.current().header.size;
        let sealed = self.table.total_bytes() - current;
        self.pressed
            || self.total_bytes_soon() > self.config.log_min_size
                && sealed > self.table.live_bytes().saturating_mul(2)
            || self.table.len() + 1 >= LOG_SEGMENTS_MAX
    }

    /// Number of segments before the current one that the log needs.
    #[expect(clippy::expect_used, reason = "no segment is ordered beyond LOG_SEGMENTS_MAX")]
    pub fn older(&self) -> u16 {
        u16::try_from(self.table.len() - 1).expect("at most 65,535 segments are alive")
    }

    /// Enlarges later segments for a frame of `frame_len` bytes.
    pub fn grow_for(&mut self, frame_len: u64) {
        if frame_len <= self.segment_len / 4 {
            return;
        }
        self.segment_len = (4 * frame_len).next_multiple_of(SEGMENT_SIZE_STEP);
        self.released.iter_mut().for_each(|released| released.is_kept = false);
        for name in std::mem::take(&mut self.spares) {
            self.preparer.give(Job::Retire { name, spare: None });
        }
    }

    /// Orders the next segment if it is due: the current one is filled up to `offset`, and the log
    /// is durable up to `durable`.
    pub fn prepare_ahead(&mut self, offset: u64, durable: Lsn) {
        if !matches!(self.next, Next::Missing) || offset < self.order_from {
            return;
        }
        let size = self.table.current().header.size;
        if self.spares.is_empty() && self.is_long() && offset < size / 8 * 7 {
            return;
        }
        // A full ring is reported when the segment is needed.
        let _ = self.order(durable);
    }

    pub fn order(&mut self, durable: Lsn) -> io::Result<()> {
        if self.table.len() >= LOG_SEGMENTS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the log has 65535 segments: a larger --segment-size is needed",
            ));
        }
        let current = self.table.current().header;
        let (len, older) = (self.segment_len, self.older() + 1);
        let header = current.next(self.features, len, older, durable, new_salt()?);
        let header = self.key.sign(header);
        self.next = Next::Ordered(header.size);
        self.preparer.give(Job::Prepare { header: Box::new(header), spare: self.spares.pop() });
        Ok(())
    }

    /// Processes the results of the preparer.
    pub fn notice_jobs(&mut self, counters: &mut Counters) -> io::Result<()> {
        while let Some(done) = self.preparer.poll() {
            let was_preparing = matches!(done, Done::NotPrepared { .. });
            match self.notice(done, counters) {
                // The error is returned to the caller that needs the segment.
                Err(error) if was_preparing || is_no_space(&error) => {}
                noticed => noticed?,
            }
        }
        Ok(())
    }

    fn notice(&mut self, done: Done, counters: &mut Counters) -> io::Result<()> {
        match done {
            Done::Retired(retired) => retired,
            Done::Prepared(prepared) => {
                match prepared.recycled {
                    true => counters.segments_recycled += 1,
                    false => counters.segments_created += 1,
                }
                self.pressed = false;
                self.next = Next::Ready(prepared);
                Ok(())
            }
            Done::NotPrepared { error, spare } => {
                self.next = Next::Missing;
                self.spares.extend(spare);
                self.pressed = is_no_space(&error);
                // Not retried with every append.
                let current = self.table.current();
                self.order_from = current.used_bytes + current.header.size / 8;
                Err(error)
            }
        }
    }

    /// Whether the next segment is neither ready nor ordered.
    pub fn lacks_next(&self) -> bool {
        matches!(self.next, Next::Missing)
    }

    /// Whether the next segment is ready, so that no wait is needed.
    pub fn has_next(&self) -> bool {
        matches!(self.next, Next::Ready(_))
    }

    /// Returns when the next segment is ready.
    pub fn wait_for_next(&mut self, durable: Lsn, counters: &mut Counters) -> io::Result<()> {
        loop {
            match self.next {
                Next::Ready(_) => return Ok(()),
                Next::Missing => self.order(durable)?,
                Next::Ordered(_) => match self.preparer.wait() {
                    Some(done) => self.notice(done, counters)?,
                    None => {
                        return Err(io::Error::other(
                            "the thread that prepares segments has \
                        ended",
                        ));
                    }
                },
            }
        }
    }

    /// Makes the next segment the current one. It must be ready.
    pub fn advance(&mut self) -> Arc<dyn File> {
        let Next::Ready(prepared) = std::mem::replace(&mut self.next, Next::Missing) else {
            unreachable!("sealing a segment waits for the next one first");
        };
        self.table.roll(prepared.header, HEADER_BLOCK_LEN);
        self.identity = prepared.header.identity();
        self.cipher = self.key.cipher(&prepared.header);
        self.order_from = prepared.header.size / 2;
        prepared.file
    }

    pub fn clean_due(&self, now_ms: u64) -> Clean {
        let Some(oldest) = self.table.oldest() else {
            return Clean::Nothing;
        };
        let seq = oldest.header.seq;
        if oldest.latest_deadline_ms < now_ms {
            Clean::Expired { seq }
        } else if self.config.must_clean(oldest.age_ms(now_ms)) {
            Clean::Aged { seq }
        } else if self.is_long() {
            Clean::Scan { seq }
        } else {
            Clean::Nothing
        }
    }

    pub fn release(&mut self, seq: u64) {
        let size = self.table.pop_oldest(seq).header.size;
        let kept = self.released.iter().filter(|released| released.is_kept).count();
        let spares = (self.spares.len() + kept) as u64;
        let wanted = spares == 0 && matches!(self.next, Next::Missing);
        let has_room = self.total_bytes_soon() + (spares + 1) * self.segment_len <= self.limit();
        let may_keep = size == self.segment_len && self.config.max_age.is_none();
        let is_kept = may_keep && (wanted || has_room);
        self.released.push_back(Released { seq, size, is_kept, declared_lsn: None });
    }

    /// Bytes of the files of released segments that no frame has recorded yet.
    pub fn undeclared_bytes(&self) -> u64 {
        let undeclared = self.released.iter().filter(|released| released.declared_lsn.is_none());
        undeclared.map(|released| released.size).sum()
    }

    /// Notes that a frame ending at `end_lsn` records which segments the log needs.
    pub fn declared(&mut self, end_lsn: Lsn) {
        for released in self.released.iter_mut().rev() {
            if released.declared_lsn.is_some() {
                break;
            }
            released.declared_lsn = Some(end_lsn);
        }
    }

    /// Retires the names of released segments that a frame before `durable` records. Returns
    /// whether there were any.
    pub fn retire(&mut self, durable: Lsn) -> bool {
        let is_durable =
            |released: &mut Released| released.declared_lsn.is_some_and(|lsn| lsn <= durable);
        let mut has_retired = false;
        while let Some(released) = self.released.pop_front_if(is_durable) {
            has_retired = true;
            let spare = released.is_kept.then(|| spare_name(released.seq));
            self.spares.extend(spare.clone());
            self.preparer.give(Job::Retire { name: segment_name(released.seq), spare });
        }
        if has_retired && self.pressed {
            // There is space now in either case, so the next attempt is made at once.
            self.order_from = 0;
        }
        has_retired
    }
}

fn open(storage: &dyn Storage, seq: u64) -> Result<Arc<dyn File>, ReadError> {
    let name = segment_name(seq);
    storage.open(&name).map_err(io_at(&name, "open"))
}
