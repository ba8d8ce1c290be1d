//! A walk over the valid frames of one segment, as far as its bytes are known.

use super::error::{Damage, DamageKind};
use super::frame::{Fields, Kind, Located, Span, locate};
use super::segment::{FORMAT_1, HEADER_BLOCK_LEN, SegmentHeader, segment_name};
use crate::model::time::UnixMillis;

/// State of a walk over the valid frames of a segment.
pub(crate) struct Walk {
    pub spans: Vec<Span>,
    /// Offset of the end of the last valid frame.
    pub end_offset: u64,
    pub sealed: bool,
    /// Log time of the last frame, the seal included.
    pub last_time_ms: Option<u64>,
    /// The last frame, the seal included.
    pub last: Option<Fields>,
}

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
            end_offset: HEADER_BLOCK_LEN,
            sealed: false,
            last_time_ms: None,
            last: None,
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
            self.check(header, &fields).map_err(|what| what.at(&segment_name(header.seq), at))?;
            self.end_offset = at + fields.total_len();
            self.last_time_ms = Some(fields.log_time_ms);
            self.last = Some(fields);
            if fields.kind == Kind::Seal {
                self.sealed = true;
            } else {
                self.spans.push(Span {
                    at: (at - bytes_at) as usize,
                    body_len: fields.body_len,
                    lsn: fields.lsn,
                    log_time_ms: fields.log_time_ms,
                });
            }
        }
        Ok(Reached::End)
    }

    /// Checks the fields of the next frame, whose checksum is right.
    fn check(&self, header: &SegmentHeader, fields: &Fields) -> Result<(), DamageKind> {
        let (before_ms, after_ms) = (self.last_time_ms.unwrap_or(0), fields.log_time_ms);
        if after_ms < before_ms {
            return Err(DamageKind::TimeWentBack { before_ms, after_ms });
        }
        // Format 1 had a log time of eight bytes.
        let is_long = header.format == FORMAT_1 && fields.older != 0;
        if is_long || after_ms > UnixMillis::MAX.0 {
            let time_ms = if is_long { after_ms | u64::from(fields.older) << 48 } else { after_ms };
            return Err(DamageKind::TimeOutOfRange { time_ms });
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
