//! Reads the oldest segment step by step, so that its live entries can be relocated to the head of
//! the log.
//!
//! The log does not know entries. A [`Cleaner`] passes the frames of the segment to the engine,
//! which looks up each record in the store and appends the live entries again. When the cleaner is
//! done and the relocated entries are durable, the engine releases the segment. Stopping in between
//! loses nothing: the segment still exists, and an entry that was relocated twice is only stored
//! twice.
//!
//! The end is believed only if nothing can be behind it: the tag of the seal is right, and it is the
//! one that the first frame of the next segment carries. Otherwise the entries behind a seal that
//! somebody wrote without the secret would be released with the segment.

use std::sync::Arc;

use super::cipher::{SegmentCipher, Tag};
use super::error::{DamageKind, ReadError, io_at};
use super::frame::{Frames, Kind, Located, Span, carried_tag, decrypt, locate};
use super::key::LogKey;
use super::segment::{HEADER_BLOCK_LEN, SegmentHeader, segment_name};
use super::storage::{File, Storage};
use super::table::Segment;

/// Minimum bytes per step, however small its budget.
const READ_LEN_MIN: u64 = 64 << 10;
/// Maximum bytes per step, unless one frame is longer.
const READ_LEN_MAX: u64 = 1 << 20;

/// Result of a step.
pub enum Step<'a> {
    /// The next frames, at least one.
    Frames(Frames<'a>),
    /// The end of the segment.
    Done,
}

/// A pass over one sealed segment.
pub struct Cleaner {
    header: SegmentHeader,
    identity: u32,
    cipher: SegmentCipher,
    file: Arc<dyn File>,
    /// End of the last returned frame.
    offset: u64,
    sealed: bool,
    /// Bytes of the file from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
    spans: Vec<Span>,
    /// The tag of the last returned frame, or of the seal.
    before: Tag,
    /// The tag that the first frame carries, once it was seen.
    carried: Option<Tag>,
    /// The segment after this one, whose first frame must carry the tag of this one's seal.
    next: Option<Box<Self>>,
}

impl Cleaner {
    /// A pass over the segment with this header, which `next` follows.
    pub(crate) fn open(
        storage: &dyn Storage,
        header: SegmentHeader,
        next: Option<SegmentHeader>,
        key: &LogKey,
    ) -> Result<Self, ReadError> {
        let next = next.map(|next| Self::open(storage, next, None, key)).transpose()?;
        let name = segment_name(header.seq);
        Ok(Self {
            header,
            identity: header.identity(),
            cipher: key.cipher(&header),
            file: storage.open(&name).map_err(io_at(&name, "open"))?,
            offset: HEADER_BLOCK_LEN,
            sealed: false,
            window: Vec::new(),
            window_at: HEADER_BLOCK_LEN,
            spans: Vec::new(),
            before: Tag::NONE,
            carried: None,
            next: next.map(Box::new),
        })
    }

    /// The segment's seq.
    pub fn seq(&self) -> u64 {
        self.header.seq
    }

    /// The bytes processed, and the total bytes. The total is an upper bound until the end is
    /// reached.
    pub fn progress(&self) -> (u64, u64) {
        let all = self.header.size - HEADER_BLOCK_LEN;
        let done = if self.sealed { all } else { self.offset - HEADER_BLOCK_LEN };
        (done, all)
    }

    /// Whether the whole segment has been processed.
    pub fn is_done(&self) -> bool {
        self.sealed
    }

    /// Returns the next frames: about `budget_bytes` of them, at least one frame.
    ///
    /// # Errors
    /// Damage, with file and offset, or an error of the operating system. After an error the pass
    /// can't continue.
    pub fn step(&mut self, budget_bytes: u64) -> Result<Step<'_>, ReadError> {
        self.spans.clear();
        self.drop_shown();
        let stop_at = self.offset.saturating_add(budget_bytes);
        let mut seal = None;
        while !self.sealed && (self.spans.is_empty() || self.offset < stop_at) {
            let at = self.offset;
            match locate(&self.header, self.identity, &self.window, self.window_at, at) {
                Located::At(place, fields) => {
                    self.offset = place + fields.total_len();
                    let span = Span { at: (place - self.window_at) as usize, fields };
                    if fields.carries_tag {
                        self.carried = Some(carried_tag(&self.window[span.at..]));
                    }
                    if fields.kind == Kind::Seal {
                        seal = Some(span);
                        break;
                    }
                    self.spans.push(span);
                }
                // The buffered bytes are enough for one step.
                Located::NeedUntil(_) if !self.spans.is_empty() => break,
                Located::NeedUntil(needed) => self.read_until(needed, budget_bytes)?,
                Located::Nowhere => {
                    let name = segment_name(self.header.seq);
                    return Err(DamageKind::NoFrame.at(&name, self.offset).into());
                }
            }
        }
        let spans = self.spans.iter().chain(&seal);
        decrypt(&self.cipher, &mut self.window, spans, &mut self.before).map_err(|at| {
            let name = segment_name(self.header.seq);
            DamageKind::Tag.at(&name, self.window_at + at as u64)
        })?;
        if seal.is_some() {
            self.check_next()?;
            self.sealed = true;
        }
        if self.spans.is_empty() {
            return Ok(Step::Done);
        }
        Ok(Step::Frames(Frames { bytes: &self.window, spans: self.spans.iter() }))
    }

    /// Checks that the next segment continues this one after its seal.
    fn check_next(&mut self) -> Result<(), ReadError> {
        let Some(mut next) = self.next.take() else { return Ok(()) };
        next.step(0)?;
        if next.carried == Some(self.before) {
            return Ok(());
        }
        let seq = next.header.seq;
        Err(DamageKind::OtherHistory { seq }.at(&segment_name(seq), HEADER_BLOCK_LEN).into())
    }

    /// Drops the bytes before `offset`.
    fn drop_shown(&mut self) {
        let shown = ((self.offset - self.window_at) as usize).min(self.window.len());
        self.window.drain(..shown);
        self.window_at += shown as u64;
    }

    /// Extends the window to `needed` at least.
    fn read_until(&mut self, needed: u64, budget_bytes: u64) -> Result<(), ReadError> {
        let known = self.window_at + self.window.len() as u64;
        let piece = budget_bytes.clamp(READ_LEN_MIN, READ_LEN_MAX);
        let until = needed.max(known + piece).min(self.header.size);
        let old_len = self.window.len();
        self.window.resize(old_len + (until - known) as usize, 0);
        let name = segment_name(self.header.seq);
        let read = self.file.read_at(&mut self.window[old_len..], known);
        if read.is_err() {
            self.window.truncate(old_len);
        }
        read.map_err(io_at(&name, "read"))
    }
}

/// Log time of the first frame of a segment, Unix milliseconds; `None` if it has none or cannot be
/// read: what is damaged is reported when it is cleaned.
pub(super) fn first_time(storage: &dyn Storage, segment: &Segment, key: &LogKey) -> Option<u64> {
    if segment.used_bytes <= HEADER_BLOCK_LEN {
        return None;
    }
    let mut cleaner = Cleaner::open(storage, segment.header, None, key).ok()?;
    match cleaner.step(0).ok()? {
        Step::Frames(mut frames) => frames.next().map(|frame| frame.log_time_ms),
        Step::Done => None,
    }
}
