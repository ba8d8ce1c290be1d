//! Reads one segment piece by piece, with the checks of [`super::reader`].
//!
//! A piece consists of whole frames, about [`PIECE_LEN`] bytes of them. Bytes that were read of the
//! following frame become the start of the next piece.

use std::sync::Arc;

use super::checked::SegmentFrames;
use super::cipher::{SegmentCipher, Tag};
use super::error::{ReadError, io_at};
use super::reader::SurveyedSegment;
use super::segment::HEADER_BLOCK_LEN;
use super::storage::{File, Storage};
use super::walk::{Reached, Walk};

/// Bytes read at once. A piece exceeds this by at most one longer frame.
pub const PIECE_LEN: u64 = 2 << 20;

/// A pass over one segment.
pub struct Pieces<'a> {
    segment: &'a SurveyedSegment,
    identity: u32,
    cipher: Option<SegmentCipher>,
    file: Arc<dyn File>,
    walk: Walk,
    /// The tag of the last frame.
    before: Tag,
    /// Bytes read after the last frame.
    rest: Vec<u8>,
    is_done: bool,
}

impl SurveyedSegment {
    /// The frames of the segment in pieces, from its start on.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn pieces(&self) -> Result<Pieces<'_>, ReadError> {
        Pieces::open(self, self.storage.as_ref())
    }
}

impl<'a> Pieces<'a> {
    fn open(segment: &'a SurveyedSegment, storage: &dyn Storage) -> Result<Self, ReadError> {
        let name = segment.file_name();
        Ok(Self {
            segment,
            identity: segment.header.identity(),
            cipher: segment.cipher(),
            file: storage.open(&name).map_err(io_at(&name, "open"))?,
            walk: Walk::new(),
            before: Tag::NONE,
            rest: Vec::new(),
            is_done: false,
        })
    }

    /// Offset in the file of the end of the last frame.
    pub fn offset(&self) -> u64 {
        self.walk.end_offset
    }

    /// The next frames; `None` at the end. `buffer` is memory for reuse.
    ///
    /// # Errors
    /// Damage, with file and offset, or an error of the operating system.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> Result<Option<SegmentFrames>, ReadError> {
        if self.is_done {
            return Ok(None);
        }
        let header = &self.segment.header;
        let bytes_at = self.walk.end_offset;
        let mut known = self.rest.len();
        if buffer.len() < known {
            buffer.resize(known, 0);
        }
        buffer[..known].copy_from_slice(&self.rest);
        loop {
            let bytes = &buffer[..known];
            match self.walk.go_on(header, self.identity, bytes, bytes_at)? {
                Reached::End => {
                    self.segment.check_end(&self.walk)?;
                    self.is_done = true;
                    break;
                }
                Reached::NeedUntil(_) if !self.walk.spans.is_empty() => break,
                Reached::NeedUntil(until) => {
                    known = self.read(&mut buffer, bytes_at, known, until)?;
                }
            }
        }
        self.rest.clear();
        let shown = (self.walk.end_offset - bytes_at) as usize;
        self.rest.extend_from_slice(buffer.get(shown..known).unwrap_or_default());
        let mut frames = SegmentFrames {
            file: self.segment.file_name(),
            seq: header.seq,
            bytes: buffer,
            bytes_at,
            spans: std::mem::take(&mut self.walk.spans),
            seal: self.walk.seal.take(),
            last_time_ms: self.walk.last_time_ms,
            last_tag: self.walk.last.map(|(_, tag)| tag),
            carried: self.walk.carried.take(),
        };
        if let Some(cipher) = &self.cipher {
            frames.decrypt(cipher, &mut self.before)?;
        }
        Ok(Some(frames))
    }

    /// Reads more bytes after the `known` bytes of `buffer`, which begins at `bytes_at` of the
    /// file: one piece, but at least up to `until`. Returns the number of known bytes.
    fn read(
        &self,
        buffer: &mut Vec<u8>,
        bytes_at: u64,
        known: usize,
        until: u64,
    ) -> Result<usize, ReadError> {
        debug_assert!(bytes_at >= HEADER_BLOCK_LEN, "frames are after the header");
        let end = until.max(bytes_at + PIECE_LEN).min(self.segment.header.size);
        let len = (end - bytes_at) as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let read = self.file.read_at(&mut buffer[known..len], bytes_at + known as u64);
        read.map_err(io_at(&self.segment.file_name(), "read"))?;
        Ok(len)
    }
}
