//! Reads a log that has no writer: finds its end, and distinguishes a torn tail from damage.
//!
//! Opening has two steps. [`survey`] reads all headers and the end of the log; then
//! [`SurveyedSegment::pieces`] returns the frames of a segment, a few megabytes at a time, so that
//! the memory for reading does not depend on the size of a segment. Neither step changes a file, so
//! `verify` uses the same code.
//!
//! The rules (P5):
//!
//! - Seqs have no gaps, each segment begins where the one before it ends, all
//!   belong to one log, and no file is shorter than its header says.
//! - No needed segment is missing before the first one: the last frame records how many segments
//!   before its own the log needs, and a segment is released only after a durable frame records it.
//!   Older segments than those are the remains of a release that a crash interrupted; they are read
//!   like the others.
//! - All files with names of the log are regular files, not links.
//! - In every segment but the current one each frame is valid, up to a seal.
//! - The current segment is the last one; or the last but one, as long as that
//!   is not sealed and nothing was written to the last, which then is merely
//!   prepared. A sealed segment has a successor, always.
//! - In the current segment the first place X without a valid frame ends the log. A valid frame
//!   after X that records that more than X was durable when it was written proves damage. Otherwise
//!   the bytes there were never acknowledged as durable: they are a torn tail, to be truncated (see
//!   [`super::tail`]).
//! - The log does not end before the position that was durable when the prepared segment after the
//!   current one was created.
//! - The log time never goes back, and can be represented in an entry.
//!
//! `survey` syncs the last two segments before it reads them from the device: data that a killed
//! process left in the page cache is durable before it is read, and data that a failed fsync lost
//! is not read at all. The directory is synced as well: later acknowledged changes must not be lost
//! with the name of a file that a killed process had just renamed.

use std::sync::Arc;

use super::error::{Damage, DamageKind, ReadError, io_at};
use super::frame::{Fields, Frames, Span};
use super::segment::{
    HEADER_BLOCK_LEN, HEADER_LEN, LogId, Named, SegmentHeader, parse_name, segment_name,
};
use super::storage::{File, Listed, Storage};
use super::tail::{self, Tail};
use super::walk::Walk;

/// The log in a directory.
pub struct Survey {
    /// The log's id.
    pub log_id: LogId,
    /// The segments to replay, oldest first; the last is the current one.
    pub segments: Vec<SurveyedSegment>,
    /// The end of the log.
    pub tail: Tail,
    /// The prepared, unused segment after the current one.
    pub(crate) prepared: Option<SegmentHeader>,
}

impl Survey {
    /// Whether the log is that of a cluster's node.
    pub fn is_of_cluster(&self) -> bool {
        self.segments.last().is_some_and(|segment| segment.header.is_of_cluster())
    }

    /// Bytes of all segment files to replay.
    pub fn total_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.header.size).sum()
    }
}

/// The end of a segment's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At a seal.
    Sealed,
    /// At this offset: it is the current segment.
    At(u64),
}

/// One segment to replay.
pub struct SurveyedSegment {
    /// Its header.
    pub header: SegmentHeader,
    end: End,
    pub(super) storage: Arc<dyn Storage>,
}

impl SurveyedSegment {
    /// Name of the file, within the data directory.
    pub fn file_name(&self) -> String {
        segment_name(self.header.seq)
    }

    /// Reads the whole segment and checks every frame of it.
    ///
    /// # Errors
    /// Damage, with file and offset, or an error of the operating system.
    pub fn read(&self) -> Result<SegmentFrames, ReadError> {
        let bytes = read_whole(self.storage.as_ref(), &self.header)?;
        let walk = Walk::over(&bytes, &self.header)?;
        self.check_end(&walk)?;
        Ok(SegmentFrames {
            file: self.file_name(),
            seq: self.header.seq,
            bytes,
            bytes_at: 0,
            spans: walk.spans,
            last_time_ms: walk.last_time_ms,
        })
    }

    /// Bytes of the file that contain frames, or space between them.
    pub fn used_bytes(&self) -> u64 {
        match self.end {
            End::Sealed => self.header.size,
            End::At(offset) => offset,
        }
    }

    /// Checks that the frames end at the right place.
    pub(super) fn check_end(&self, walk: &Walk) -> Result<(), Damage> {
        let is_complete = match self.end {
            End::Sealed => walk.sealed,
            End::At(offset) => walk.end_offset == offset && !walk.sealed,
        };
        if is_complete {
            Ok(())
        } else {
            Err(DamageKind::NoFrame.at(&self.file_name(), walk.end_offset))
        }
    }
}

/// Frames of one segment in their order, checked: all of them, or a piece.
pub struct SegmentFrames {
    pub(super) file: String,
    /// Number of the segment.
    pub seq: u64,
    pub(super) bytes: Vec<u8>,
    /// Offset in the file of the first of `bytes`.
    pub(super) bytes_at: u64,
    pub(super) spans: Vec<Span>,
    pub(super) last_time_ms: Option<u64>,
}

impl SegmentFrames {
    /// The frames, in order; marks too, whose bodies are empty.
    pub fn iter(&self) -> Frames<'_> {
        Frames { bytes: &self.bytes, spans: self.spans.iter() }
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Log time of the last frame, a seal included, Unix milliseconds; `None` without frames.
    pub fn last_time_ms(&self) -> Option<u64> {
        self.last_time_ms
    }

    /// The buffer, for the next piece: fresh memory would cost more than the reading.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Checks that the log time does not go back from the frames before these,
    /// the last of which had `before_ms` (0 for none).
    ///
    /// # Errors
    /// The damage.
    pub fn check_follows(&self, before_ms: u64) -> Result<(), Damage> {
        match self.spans.first() {
            Some(first) if first.log_time_ms < before_ms => {
                Err(DamageKind::TimeWentBack { before_ms, after_ms: first.log_time_ms }
                    .at(&self.file, self.bytes_at + first.at as u64))
            }
            _ => Ok(()),
        }
    }
}

impl<'a> IntoIterator for &'a SegmentFrames {
    type Item = super::frame::Frame<'a>;
    type IntoIter = Frames<'a>;

    fn into_iter(self) -> Frames<'a> {
        self.iter()
    }
}

/// Examines all segments of a directory and finds the end of the log. `None`: there is no log yet.
///
/// # Errors
/// Damage, with file and offset, or an error of the operating system.
pub fn survey(storage: &Arc<dyn Storage>) -> Result<Option<Survey>, ReadError> {
    storage.sync_dir().map_err(io_at(".", "sync"))?;
    let mut headers = read_headers(storage.as_ref())?;
    let Some(last) = headers.last().copied() else {
        return Ok(None);
    };
    check_chain(&headers)?;
    let mut ending = Ending::look(storage.as_ref(), last)?;
    let mut prepared = None;
    if let [.., before, _] = headers[..]
        && !ending.was_written
    {
        let ending_before = Ending::look(storage.as_ref(), before)?;
        if ending_before.tail.is_some() {
            prepared = headers.pop();
            ending = ending_before;
        }
    }
    let Ending { header: current, tail: Some(mut tail), .. } = ending else {
        let header = ending.header;
        let missing = DamageKind::MissingSegment { seq: header.seq + 1 };
        return Err(missing.at(&segment_name(header.seq), ending.end_offset).into());
    };
    let last = match ending.last {
        Some(last) => Some((current, last)),
        None => last_before(storage.as_ref(), &headers)?,
    };
    tail.last_time_ms = last.map_or(0, |(_, last)| last.log_time_ms);
    check_oldest(&headers, last)?;
    if let Some(prepared) = prepared.filter(|prepared| prepared.synced_lsn > tail.end_lsn) {
        let (seq, durable) = (prepared.seq, prepared.synced_lsn);
        let early = DamageKind::EndsTooEarly { seq, durable };
        return Err(early.at(&segment_name(current.seq), tail.end_offset).into());
    }
    let segments = headers
        .iter()
        .map(|header| SurveyedSegment {
            header: *header,
            end: if header.seq == current.seq { End::At(tail.end_offset) } else { End::Sealed },
            storage: Arc::clone(storage),
        })
        .collect();
    Ok(Some(Survey { log_id: current.log_id, segments, tail, prepared }))
}

/// The last frame before the current segment (the last of `headers`), which has no frame; and the
/// header of that frame's segment.
fn last_before(
    storage: &dyn Storage,
    headers: &[SegmentHeader],
) -> Result<Option<(SegmentHeader, Fields)>, ReadError> {
    let Some(before) = headers.len().checked_sub(2).map(|at| headers[at]) else {
        return Ok(None);
    };
    let bytes = read_whole(storage, &before)?;
    Ok(Walk::over(&bytes, &before)?.last.map(|last| (before, last)))
}

/// Checks that no segment is missing before the first of `headers`, for a log with this last frame.
fn check_oldest(
    headers: &[SegmentHeader],
    last: Option<(SegmentHeader, Fields)>,
) -> Result<(), Damage> {
    let (Some(first), Some(current)) = (headers.first(), headers.last()) else {
        return Ok(());
    };
    let by_frame = last.and_then(|(header, last)| header.oldest_needed(last.older));
    let needed = by_frame.or_else(|| current.oldest_needed(current.older));
    match needed {
        Some(needed) if first.seq > needed => {
            let missing = DamageKind::MissingOldest { seq: first.seq - 1 };
            Err(missing.at(&segment_name(first.seq), 0))
        }
        _ => Ok(()),
    }
}

/// Summary of one of the last two segments, read from the device. Its bytes are not kept, so that
/// only one segment is in memory at a time.
struct Ending {
    header: SegmentHeader,
    /// Log time of the last frame.
    end_offset: u64,
    /// The last frame, the seal included.
    last: Option<Fields>,
    /// The tail after the last frame; `None` after a seal.
    tail: Option<Tail>,
    /// Whether anything was ever written to it, so that the segment before it was sealed and
    /// synced.
    was_written: bool,
}

impl Ending {
    fn look(storage: &dyn Storage, header: SegmentHeader) -> Result<Self, ReadError> {
        let name = segment_name(header.seq);
        let file = storage.open(&name).map_err(io_at(&name, "open"))?;
        file.sync().map_err(io_at(&name, "sync"))?;
        file.forget_cache().map_err(io_at(&name, "read"))?;
        let bytes = read_whole(storage, &header)?;
        let walk = Walk::over(&bytes, &header)?;
        let was_written = walk.has_frames() || tail::has_traces(&bytes, &header);
        // An unused segment cannot be damaged, so its error must not hide that of the segment
        // before it.
        let tail = if walk.sealed { None } else { Some(tail::examine(&bytes, &header, &walk)?) };
        let Walk { end_offset, last, .. } = walk;
        Ok(Self { header, end_offset, last, tail, was_written })
    }
}

fn read_whole(storage: &dyn Storage, header: &SegmentHeader) -> Result<Vec<u8>, ReadError> {
    let name = segment_name(header.seq);
    let file = storage.open(&name).map_err(io_at(&name, "open"))?;
    let mut bytes = vec![0; header.size as usize];
    file.read_at(&mut bytes, 0).map_err(io_at(&name, "read"))?;
    Ok(bytes)
}

/// The headers of all segments, in the order of their seqs.
fn read_headers(storage: &dyn Storage) -> Result<Vec<SegmentHeader>, ReadError> {
    let files = storage.list().map_err(io_at(".", "list"))?;
    let mut headers = Vec::new();
    let mut spare = None;
    for Listed { name, len, is_regular } in files {
        match parse_name(&name) {
            Named::Segment(_) | Named::Spare(_) | Named::Fresh if !is_regular => {
                return Err(DamageKind::NotRegular.at(&name, 0).into());
            }
            Named::Segment(seq) => headers.push(read_header(storage, &name, seq, len)?),
            Named::Spare(_) => spare = Some(name),
            Named::Malformed => return Err(DamageKind::BadName.at(&name, 0).into()),
            Named::Fresh | Named::Other => {}
        }
    }
    // A log always has a current segment, so a spare without segments is the rest of a log whose
    // segments are missing.
    if let (true, Some(spare)) = (headers.is_empty(), spare) {
        return Err(DamageKind::NoSegments.at(&spare, 0).into());
    }
    headers.sort_by_key(|header| header.seq);
    Ok(headers)
}

fn read_header(
    storage: &dyn Storage,
    name: &str,
    seq: u64,
    len: u64,
) -> Result<SegmentHeader, ReadError> {
    let short = |expected| DamageKind::ShortFile { len, expected }.at(name, len);
    if len < HEADER_BLOCK_LEN {
        return Err(short(HEADER_BLOCK_LEN).into());
    }
    let file: Arc<dyn File> = storage.open(name).map_err(io_at(name, "open"))?;
    let mut bytes = [0; HEADER_LEN];
    file.read_at(&mut bytes, 0).map_err(io_at(name, "read"))?;
    let header =
        SegmentHeader::decode(&bytes).map_err(|fault| DamageKind::from(fault).at(name, 0))?;
    if header.seq != seq {
        return Err(DamageKind::WrongName { seq: header.seq }.at(name, 0).into());
    }
    if len < header.size {
        return Err(short(header.size).into());
    }
    Ok(header)
}

fn check_chain(headers: &[SegmentHeader]) -> Result<(), Damage> {
    for pair in headers.windows(2) {
        let (before, header) = (pair[0], pair[1]);
        let what = if header.log_id != before.log_id {
            DamageKind::ForeignLog
        } else if header.seq != before.seq + 1 {
            DamageKind::MissingSegment { seq: before.seq + 1 }
        } else if header.base_lsn != before.end_lsn() {
            DamageKind::WrongBase { expected: before.end_lsn() }
        } else {
            continue;
        };
        return Err(what.at(&segment_name(header.seq), 0));
    }
    Ok(())
}
