//! A frame: one committed batch, which is either complete or absent.
//!
//! ```text
//! offset  length  what
//!      0       4  checksum: CRC32C of bytes 4 to the end of the body, started
//!                 with the identity of the segment
//!      4       4  length of the body in bytes; the top bit marks a seal
//!      8       8  Lsn of the frame's first byte
//!     16       6  log time, Unix milliseconds below 2^43, never less than the
//!                 frame before
//!     22       2  older: how many segments directly before this one the log
//!                 needed when the frame was written; zero in format 1
//!     24       8  synced Lsn: everything before it was known to be durable
//!                 when this frame was written
//!     32       …  body
//!              …  up to 7 bytes so that the frame ends on a multiple of 8
//! ```
//!
//! A frame at some offset of a segment is valid if and only if it ends within
//! the segment, its Lsn is that of the offset, and the checksum is right. A seal has no body, is
//! the last frame of its segment, and records that the segment with the next seq exists.
//!
//! **Positions of frames.** The first frame begins right after the header block. Every other frame
//! begins at the end of the previous one, or, if the log was synced in between, at the next
//! multiple of 512. So no sector contains both acknowledged and unacknowledged bytes, and a write
//! that tears or garbles its sectors can't harm an acknowledged frame. A reader tries the first
//! position, then the second, where a frame is accepted only if its synced Lsn is that of the first
//! position: the frame itself proves that nothing was in between, so a damaged frame that ends
//! within its sector is never skipped. The remains of a torn tail are wiped before anything is
//! written after it.
//!
//! **Purpose of the synced Lsn.** A position without a valid frame is the end of the log, unless a
//! later valid frame records that everything up to a later Lsn was durable: then it is damage. So
//! an empty frame (a mark) after the last real one makes damage to it provable.

use super::segment::{Lsn, SECTOR_LEN, SegmentHeader, u16_at, u32_at, u64_at};

pub mod buffer;
#[cfg(test)]
mod tests;

const CHECKSUM_AT: usize = 0;
const LEN_AT: usize = CHECKSUM_AT + 4;
const LSN_AT: usize = LEN_AT + 4;
const TIME_AT: usize = LSN_AT + 8;
const OLDER_AT: usize = TIME_AT + 6;
const SYNCED_AT: usize = OLDER_AT + 2;
/// Length of a frame without body.
pub const FRAME_HEADER_LEN: usize = SYNCED_AT + 8;

const SEAL_BIT: u32 = 1 << 31;
/// The bits of the log time in the eight bytes that it shares with `older`.
const TIME_BITS: u32 = 8 * (OLDER_AT - TIME_AT) as u32;
pub(crate) const FRAME_ALIGN: u64 = 8;

const _: () = assert!(FRAME_HEADER_LEN == 32);
// A frame must be able to begin at a sector boundary, and a seal must fit in the one sector that
// the writer keeps free for it.
const _: () = assert!(SECTOR_LEN.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(FRAME_HEADER_LEN as u64 <= SECTOR_LEN);

/// A frame as a reader of the log sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its start.
    pub lsn: Lsn,
    /// Its log time, Unix milliseconds.
    pub log_time_ms: u64,
    /// The records; empty for a mark.
    pub body: &'a [u8],
}

/// Bodies contain payloads, which no log line may contain (P9).
impl std::fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("lsn", &self.lsn)
            .field("log_time_ms", &self.log_time_ms)
            .field("body_len", &self.body.len())
            .finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Records,
    Seal,
}

/// The fields of a frame's header without the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub kind: Kind,
    pub body_len: usize,
    pub lsn: Lsn,
    pub log_time_ms: u64,
    /// How many segments directly before this one the log needs.
    pub older: u16,
    pub synced_lsn: Lsn,
}

impl Fields {
    pub fn total_len(&self) -> u64 {
        frame_len(self.body_len)
    }
}

/// Length of a frame with a body of `body_len` bytes, padding included.
pub(crate) fn frame_len(body_len: usize) -> u64 {
    ((FRAME_HEADER_LEN + body_len) as u64).next_multiple_of(FRAME_ALIGN)
}

/// The two positions where the frame after `offset` may begin.
pub(crate) fn places(offset: u64) -> [u64; 2] {
    [offset, offset.next_multiple_of(SECTOR_LEN)]
}

/// The content of one position of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Valid(Fields),
    /// Possibly a frame; this many bytes from its start are needed to decide.
    Short(u64),
    Invalid,
}

/// Looks for a frame at the start of `bytes`, which are at `expected` with `room` bytes left in the
/// segment.
pub(crate) fn parse(bytes: &[u8], identity: u32, expected: Lsn, room: u64) -> Parsed {
    if room < FRAME_HEADER_LEN as u64 {
        return Parsed::Invalid;
    }
    if bytes.len() < FRAME_HEADER_LEN {
        return Parsed::Short(FRAME_HEADER_LEN as u64);
    }
    let len = u32_at(bytes, LEN_AT);
    let kind = if len & SEAL_BIT == 0 { Kind::Records } else { Kind::Seal };
    let fields = Fields {
        kind,
        body_len: (len & !SEAL_BIT) as usize,
        lsn: Lsn(u64_at(bytes, LSN_AT)),
        log_time_ms: u64_at(bytes, TIME_AT) & ((1 << TIME_BITS) - 1),
        older: u16_at(bytes, OLDER_AT),
        synced_lsn: Lsn(u64_at(bytes, SYNCED_AT)),
    };
    if fields.lsn != expected || fields.total_len() > room {
        return Parsed::Invalid;
    }
    if (bytes.len() as u64) < fields.total_len() {
        return Parsed::Short(fields.total_len());
    }
    let covered = &bytes[LEN_AT..FRAME_HEADER_LEN + fields.body_len];
    if crc32c::crc32c_append(identity, covered) == u32_at(bytes, CHECKSUM_AT) {
        Parsed::Valid(fields)
    } else {
        Parsed::Invalid
    }
}

/// The header fields of a possible frame, whose checksum is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Length of the frame, padding included.
    pub len: u64,
    pub synced_lsn: Lsn,
}

/// The header fields of bytes that claim to be a frame at `expected`.
pub(crate) fn claim(bytes: &[u8], expected: Lsn) -> Option<Claim> {
    let header = bytes.get(..FRAME_HEADER_LEN)?;
    (u64_at(header, LSN_AT) == expected.0).then(|| Claim {
        len: frame_len((u32_at(header, LEN_AT) & !SEAL_BIT) as usize),
        synced_lsn: Lsn(u64_at(header, SYNCED_AT)),
    })
}

/// Location of the frame after `offset`.
pub(crate) enum Located {
    At(u64, Fields),
    /// The bytes up to this offset of the file are needed to decide.
    NeedUntil(u64),
    Nowhere,
}

/// Looks for the frame after `offset` of a segment at both positions. `bytes` are those of the file
/// from `bytes_at` on, as far as they are known.
pub(crate) fn locate(
    header: &SegmentHeader,
    identity: u32,
    bytes: &[u8],
    bytes_at: u64,
    offset: u64,
) -> Located {
    let [packed, aligned] = places(offset);
    let tries = if packed == aligned { 1 } else { 2 };
    for place in [packed, aligned].into_iter().take(tries) {
        if place >= header.size {
            continue;
        }
        let known = bytes.get((place - bytes_at) as usize..).unwrap_or(&[]);
        match parse(known, identity, header.lsn_at(place), header.size - place) {
            Parsed::Valid(fields) => {
                let follows = place == packed || fields.synced_lsn == header.lsn_at(packed);
                if follows {
                    return Located::At(place, fields);
                }
            }
            Parsed::Short(needed) => return Located::NeedUntil(place + needed),
            Parsed::Invalid => {}
        }
    }
    Located::Nowhere
}

/// Range of a frame in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub at: usize,
    pub body_len: usize,
    pub lsn: Lsn,
    pub log_time_ms: u64,
}

/// Frames in a buffer, in the order of the log, all of them checked.
pub struct Frames<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let span = self.spans.next()?;
        let body_at = span.at + FRAME_HEADER_LEN;
        Some(Frame {
            lsn: span.lsn,
            log_time_ms: span.log_time_ms,
            body: &self.bytes[body_at..body_at + span.body_len],
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}
