//! Frames that were read and checked, and the order in which they must follow each other.

use super::cipher::{SegmentCipher, Tag};
use super::error::{Damage, DamageKind};
use super::frame::{self, Frames, Span};
use super::segment::HEADER_BLOCK_LEN;

/// Frames of one segment in their order, checked: all of them, or a piece.
pub struct SegmentFrames {
    pub(super) file: String,
    /// Number of the segment.
    pub seq: u64,
    pub(super) bytes: Vec<u8>,
    /// Offset in the file of the first of `bytes`.
    pub(super) bytes_at: u64,
    pub(super) spans: Vec<Span>,
    /// The seal, if it is among them.
    pub(super) seal: Option<Span>,
    pub(super) last_time_ms: Option<u64>,
    pub(super) last_tag: Option<Tag>,
    /// The tag that the segment's first frame carries, if it is among them.
    pub(super) carried: Option<Tag>,
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

    /// Verifies the tags of all frames and decrypts their bodies. `before` is the tag of the frame
    /// before them, and then that of the last one.
    pub(super) fn decrypt(
        &mut self,
        cipher: &SegmentCipher,
        before: &mut Tag,
    ) -> Result<(), Damage> {
        let spans = self.spans.iter().chain(&self.seal);
        frame::decrypt(cipher, &mut self.bytes, spans, before)
            .map_err(|at| DamageKind::Tag.at(&self.file, self.bytes_at + at as u64))
    }
}

/// The end of the frames read so far, which the next ones must continue, over all segments of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Continuity {
    time_ms: u64,
    tag: Option<Tag>,
}

impl Continuity {
    /// Checks that a new segment carries the tag of the last frame, and that the log time does not go
    /// back to `frames`; then their end is the new one.
    ///
    /// # Errors
    /// The damage.
    pub fn follow(&mut self, frames: &SegmentFrames) -> Result<(), Damage> {
        let (before_ms, seq) = (self.time_ms, frames.seq);
        if let (Some(tag), Some(carried)) = (self.tag, frames.carried)
            && tag != carried
        {
            return Err(DamageKind::OtherHistory { seq }.at(&frames.file, HEADER_BLOCK_LEN));
        }
        if let Some(first) = frames.spans.first()
            && first.fields.log_time_ms < before_ms
        {
            let back = DamageKind::TimeWentBack { before_ms, after_ms: first.fields.log_time_ms };
            return Err(back.at(&frames.file, frames.bytes_at + first.at as u64));
        }
        self.time_ms = frames.last_time_ms.unwrap_or(before_ms);
        self.tag = frames.last_tag.or(self.tag);
        Ok(())
    }
}

impl<'a> IntoIterator for &'a SegmentFrames {
    type Item = super::frame::Frame<'a>;
    type IntoIter = Frames<'a>;

    fn into_iter(self) -> Frames<'a> {
        self.iter()
    }
}
