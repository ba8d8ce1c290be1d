//! A walk over the valid frames of one segment, as far as its bytes are known.

use super::cipher::Tag;
use super::error::{Damage, DamageKind};
use super::frame::{Fields, Kind, Located, Span, carried_tag, locate};
use super::segment::{HEADER_BLOCK_LEN, SegmentHeader, segment_name};
use crate::model::time::UnixMillis;

/// State of a walk over the valid frames of a segment.
pub(crate) struct Walk {
    pub spans: Vec<Span>,
    /// The seal, once it was found.
    pub seal: Option<Span>,
    /// Offset of the end of the last valid frame.
    pub end_offset: u64,
    pub sealed: bool,
    /// Log time of the last frame, the seal included.
    pub last_time_ms: Option<u64>,
    /// The last frame, the seal included, and its tag.
    pub last: Option<LastFrame>,
    /// The tag that the first frame carries.
    pub carried: Option<Tag>,
}

/// A frame and its tag.
pub(crate) type LastFrame = (Fields, Tag);

/// How a walk ended.
pub(crate) enum Reached {
    /// The end of the frames, or a seal.
    End,
    /// The bytes up to this offset of the file are needed to continue.
    NeedUntil(u64),
}

impl Walk {
    /// At the start of a segment.
    pub fn new() -> Self {
        Self {
            spans: Vec::new(),
            seal: None,
            end_offset: HEADER_BLOCK_LEN,
            sealed: false,
            last_time_ms: None,
            last: None,
            carried: None,
        }
    }

    /// Walks over a whole segment.
    pub fn over(bytes: &[u8], header: &SegmentHeader) -> Result<Self, Damage> {
        let mut walk = Self::new();
        // All bytes are known, so no more can be needed.
        walk.go_on(header, header.identity(), bytes, 0)?;
        Ok(walk)
    }

    /// Continues frame by frame until there is none, a seal, or a frame whose bytes are not all
    /// known. `bytes` are those of the file from `bytes_at` on.
    pub fn go_on(
        &mut self,
        header: &SegmentHeader,
        identity: u32,
        bytes: &[u8],
        bytes_at: u64,
    ) -> Result<Reached, Damage> {
        while !self.sealed {
            let (at, fields) = match locate(header, identity, bytes, bytes_at, self.end_offset) {
                Located::At(at, fields) => (at, fields),
                Located::NeedUntil(needed) => return Ok(Reached::NeedUntil(needed)),
                Located::Nowhere => break,
            };
            self.check(&fields).map_err(|what| what.at(&segment_name(header.seq), at))?;
            self.end_offset = at + fields.total_len();
            self.last_time_ms = Some(fields.log_time_ms);
            let span = Span { at: (at - bytes_at) as usize, fields };
            let frame = &bytes[span.at..];
            self.last = Some((fields, fields.tag(frame)));
            if fields.carries_tag {
                self.carried = Some(carried_tag(frame));
            }
            if fields.kind == Kind::Seal {
                self.sealed = true;
                self.seal = Some(span);
            } else {
                self.spans.push(span);
            }
        }
        Ok(Reached::End)
    }

    /// Checks the fields of the next frame, whose checksum is right.
    fn check(&self, fields: &Fields) -> Result<(), DamageKind> {
        let (before_ms, after_ms) = (self.last_time_ms.unwrap_or(0), fields.log_time_ms);
        if after_ms < before_ms {
            return Err(DamageKind::TimeWentBack { before_ms, after_ms });
        }
        if after_ms > UnixMillis::MAX.0 {
            return Err(DamageKind::TimeOutOfRange { time_ms: after_ms });
        }
        if fields.synced_lsn > fields.lsn {
            return Err(DamageKind::SyncedAhead);
        }
        Ok(())
    }

    pub fn has_frames(&self) -> bool {
        self.last.is_some()
    }
}
