//! Reads a log that has no writer: finds its end, and distinguishes a torn tail from damage.
//!
//! Opening has two steps. [`survey`] reads all headers and the end of the log; then
//! [`SurveyedSegment::pieces`] returns the frames of a segment, a few megabytes at a time, so that
//! the memory for reading does not depend on the size of a segment. Neither step changes a file, so
//! `verify` uses the same code.
//!
//! Without the log's key, only its structure and its checksums are read, and the bodies of frames stay
//! encrypted; [`Survey::with_key`] makes the same reading verify the headers' MACs and every frame's
//! tag, and decrypt the bodies.
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
//! - The first frame of each segment carries the tag of the last frame of the segment before it.
//! - With the key: the MAC of every header and the tag of every frame are right.
//!
//! `survey` syncs the last two segments before it reads them from the device: data that a killed
//! process left in the page cache is durable before it is read, and data that a failed fsync lost
//! is not read at all. The directory is synced as well: later acknowledged changes must not be lost
//! with the name of a file that a killed process had just renamed.

use std::sync::Arc;

use super::checked::SegmentFrames;
use super::cipher::{SegmentCipher, Tag};
use super::error::{Damage, DamageKind, ReadError, io_at};
use super::headers;
use super::key::LogKey;
use super::segment::{LogId, SegmentHeader, segment_name};
use super::storage::Storage;
use super::tail::{self, Tail};
use super::walk::{LastFrame, Walk};

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
    /// The tag of the last frame, which the next one continues.
    pub(crate) last_tag: Tag,
    pub(crate) key: Option<LogKey>,
}

impl Survey {
    /// Whether the log is that of a cluster's node.
    pub fn is_of_cluster(&self) -> bool {
        self.segments.last().is_some_and(|segment| segment.header.is_of_cluster())
    }

    /// The same log, read with its key.
    ///
    /// # Errors
    /// The log has another id, or a header was not made with the key.
    pub fn with_key(mut self, key: &LogKey) -> Result<Self, ReadError> {
        let headers = self.segments.iter().map(|segment| &segment.header);
        for header in headers.chain(&self.prepared) {
            if header.log_id != key.id() {
                return Err(DamageKind::ForeignLog.at(&segment_name(header.seq), 0).into());
            }
            if !key.made(header) {
                return Err(DamageKind::HeaderMac.at(&segment_name(header.seq), 0).into());
            }
        }
        self.segments.iter_mut().for_each(|segment| segment.key = Some(key.clone()));
        self.key = Some(key.clone());
        Ok(self)
    }

    /// Whether the log is read with its key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The tag of the last frame of the log.
    pub fn last_tag(&self) -> Tag {
        self.last_tag
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
    key: Option<LogKey>,
}

impl SurveyedSegment {
    /// Name of the file, within the data directory.
    pub fn file_name(&self) -> String {
        segment_name(self.header.seq)
    }

    /// The cipher of the segment, if the log is read with its key.
    pub(super) fn cipher(&self) -> Option<SegmentCipher> {
        self.key.as_ref().map(|key| key.cipher(&self.header))
    }

    /// Reads the whole segment and checks every frame of it.
    ///
    /// # Errors
    /// Damage, with file and offset, or an error of the operating system.
    pub fn read(&self) -> Result<SegmentFrames, ReadError> {
        let bytes = read_whole(self.storage.as_ref(), &self.header)?;
        let walk = Walk::over(&bytes, &self.header)?;
        self.check_end(&walk)?;
        let mut frames = SegmentFrames {
            file: self.file_name(),
            seq: self.header.seq,
            bytes,
            bytes_at: 0,
            spans: walk.spans,
            seal: walk.seal,
            last_time_ms: walk.last_time_ms,
            last_tag: walk.last.map(|(_, tag)| tag),
            carried: walk.carried,
        };
        if let Some(cipher) = self.cipher() {
            let mut before = Tag::NONE;
            frames.decrypt(&cipher, &mut before)?;
        }
        Ok(frames)
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

/// Examines all segments of a directory and finds the end of the log. `None`: there is no log yet.
///
/// # Errors
/// Damage, with file and offset, or an error of the operating system.
pub fn survey(storage: &Arc<dyn Storage>) -> Result<Option<Survey>, ReadError> {
    storage.sync_dir().map_err(io_at(".", "sync"))?;
    let mut headers = headers::read(storage.as_ref())?;
    let Some(last) = headers.last().copied() else {
        return Ok(None);
    };
    headers::check_chain(&headers)?;
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
    tail.last_time_ms = last.map_or(0, |(_, (last, _))| last.log_time_ms);
    let last_tag = last.map_or(Tag::NONE, |(_, (_, tag))| tag);
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
            key: None,
        })
        .collect();
    Ok(Some(Survey { log_id: current.log_id, segments, tail, prepared, last_tag, key: None }))
}

/// The last frame before the current segment (the last of `headers`), which has no frame; and the
/// header of that frame's segment.
fn last_before(
    storage: &dyn Storage,
    headers: &[SegmentHeader],
) -> Result<Option<(SegmentHeader, LastFrame)>, ReadError> {
    let Some(before) = headers.len().checked_sub(2).map(|at| headers[at]) else {
        return Ok(None);
    };
    let bytes = read_whole(storage, &before)?;
    Ok(Walk::over(&bytes, &before)?.last.map(|last| (before, last)))
}

/// Checks that no segment is missing before the first of `headers`, for a log with this last frame.
fn check_oldest(
    headers: &[SegmentHeader],
    last: Option<(SegmentHeader, LastFrame)>,
) -> Result<(), Damage> {
    let (Some(first), Some(current)) = (headers.first(), headers.last()) else {
        return Ok(());
    };
    let needed = match last {
        Some((header, (last, _))) => header.oldest_needed(last.older),
        None => current.oldest_needed(current.older),
    };
    if first.seq > needed {
        let missing = DamageKind::MissingOldest { seq: first.seq - 1 };
        return Err(missing.at(&segment_name(first.seq), 0));
    }
    Ok(())
}

/// Summary of one of the last two segments, read from the device. Its bytes are not kept, so that
/// only one segment is in memory at a time.
struct Ending {
    header: SegmentHeader,
    /// Log time of the last frame.
    end_offset: u64,
    /// The last frame, the seal included, and its tag.
    last: Option<LastFrame>,
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

/// All bytes of a segment.
pub(super) fn read_whole(
    storage: &dyn Storage,
    header: &SegmentHeader,
) -> Result<Vec<u8>, ReadError> {
    let name = segment_name(header.seq);
    let file = storage.open(&name).map_err(io_at(&name, "open"))?;
    let mut bytes = vec![0; header.size as usize];
    file.read_at(&mut bytes, 0).map_err(io_at(&name, "read"))?;
    Ok(bytes)
}
