//! A frame: one committed batch, which is either complete or absent.
//!
//! ```text
//! offset  length  what
//!      0       4  checksum: CRC32C of bytes 4 to the end of the tag, started
//!                 with the identity of the segment
//!      4       4  length of the body in bytes; the top bit marks a seal
//!      8       8  Lsn of the frame's first byte
//!     16       6  log time, Unix milliseconds below 2^43, never less than the
//!                 frame before
//!     22       2  older: how many segments directly before this one the log
//!                 needed when the frame was written
//!     24       8  synced Lsn: everything before it was known to be durable
//!                 when this frame was written
//!     32      12  nonce: random, new for each try to write
//!     44      16  only in the first frame of a segment: the tag of the last
//!                 frame of the segment before, zeros in the first segment
//!              …  body, encrypted
//!             16  tag, over the body, bytes 4 to 31, and the tag of the frame before
//!              …  up to 7 bytes so that the frame ends on a multiple of 8
//! ```
//!
//! A frame at some offset of a segment is valid if and only if it ends within
//! the segment, its Lsn is that of the offset, and the checksum is right. A seal has no body, is
//! the last frame of its segment, and records that the segment with the next seq exists.
//!
//! **Checksum and tag.** The checksum alone distinguishes a torn frame from damage, and needs no
//! secret. The tag is verified by every reader that has the secret ([`super::cipher`]): a valid
//! frame with a wrong tag was written without the secret, or is not in its place. It is damage
//! wherever it is, also at the end of the log.
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

use super::cipher::{HEAD_LEN, Head, NONCE_LEN, SegmentCipher, TAG_LEN, Tag, WrongTag};
use super::segment::{
    HEADER_BLOCK_LEN, Lsn, SECTOR_LEN, SegmentHeader, array_at, u16_at, u32_at, u64_at,
};

pub mod buffer;
pub(crate) mod encode;
#[cfg(test)]
mod tests;

const CHECKSUM_AT: usize = 0;
const LEN_AT: usize = CHECKSUM_AT + 4;
const LSN_AT: usize = LEN_AT + 4;
const TIME_AT: usize = LSN_AT + 8;
const OLDER_AT: usize = TIME_AT + 6;
const SYNCED_AT: usize = OLDER_AT + 2;
const NONCE_AT: usize = SYNCED_AT + 8;
/// Length of a frame's head, in bytes: what is before the body, or before the carried tag.
pub const FRAME_HEADER_LEN: usize = NONCE_AT + NONCE_LEN;
/// Maximum length of a frame without its body and its padding, in bytes.
pub const FRAME_OVERHEAD_MAX: usize = FRAME_HEADER_LEN + 2 * TAG_LEN;

const SEAL_BIT: u32 = 1 << 31;
/// The bits of the log time in the eight bytes that it shares with `older`.
const TIME_BITS: u32 = 8 * (OLDER_AT - TIME_AT) as u32;
pub(crate) const FRAME_ALIGN: u64 = 8;

const _: () = assert!(FRAME_HEADER_LEN == 44 && HEAD_LEN == NONCE_AT - LEN_AT);
// A frame must be able to begin at a sector boundary, and a seal must fit in the one sector that
// the writer keeps free for it.
const _: () = assert!(SECTOR_LEN.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(FRAME_OVERHEAD_MAX as u64 + FRAME_ALIGN <= SECTOR_LEN);

/// A frame as a reader of the log sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its start.
    pub lsn: Lsn,
    /// Its log time, Unix milliseconds.
    pub log_time_ms: u64,
    /// The records; empty for a mark. Still encrypted if the log was read without its key.
    pub body: &'a [u8],
    /// Its length in the file, in bytes, padding included.
    pub file_len: u64,
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

/// The fields of a frame's head without checksum and nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub kind: Kind,
    pub body_len: usize,
    pub lsn: Lsn,
    pub log_time_ms: u64,
    /// How many segments directly before this one the log needs.
    pub older: u16,
    pub synced_lsn: Lsn,
    /// Whether it is the first frame of its segment, which carries the tag of the frame before.
    pub carries_tag: bool,
}

impl Fields {
    pub fn total_len(&self) -> u64 {
        frame_len(self.body_len, self.carries_tag)
    }

    /// The tag of the frame that begins here, all of whose bytes are known.
    pub fn tag(&self, frame: &[u8]) -> Tag {
        Tag::at(&frame[body_at(self.carries_tag) + self.body_len..])
    }
}

/// The tag that the first frame of a segment carries.
pub(crate) fn carried_tag(frame: &[u8]) -> Tag {
    Tag::at(&frame[FRAME_HEADER_LEN..])
}

/// Offset of the body in a frame.
fn body_at(carries_tag: bool) -> usize {
    if carries_tag { FRAME_HEADER_LEN + TAG_LEN } else { FRAME_HEADER_LEN }
}

/// Length of a frame with a body of `body_len` bytes, padding included.
pub(crate) fn frame_len(body_len: usize, carries_tag: bool) -> u64 {
    ((body_at(carries_tag) + body_len + TAG_LEN) as u64).next_multiple_of(FRAME_ALIGN)
}

/// Whether the frame at this offset of a segment is its first.
pub(crate) fn is_first(offset: u64) -> bool {
    offset == HEADER_BLOCK_LEN
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

/// Looks for a frame at the start of `bytes`, which are at `offset` of the segment.
pub(crate) fn parse(bytes: &[u8], header: &SegmentHeader, identity: u32, offset: u64) -> Parsed {
    let room = header.size - offset;
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
        carries_tag: is_first(offset),
    };
    if fields.lsn != header.lsn_at(offset) || fields.total_len() > room {
        return Parsed::Invalid;
    }
    if (bytes.len() as u64) < fields.total_len() {
        return Parsed::Short(fields.total_len());
    }
    let covered = &bytes[LEN_AT..body_at(fields.carries_tag) + fields.body_len + TAG_LEN];
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

/// The header fields of bytes that claim to be a frame at `offset` of the segment.
pub(crate) fn claim(bytes: &[u8], header: &SegmentHeader, offset: u64) -> Option<Claim> {
    let head = bytes.get(..NONCE_AT)?;
    (u64_at(head, LSN_AT) == header.lsn_at(offset).0).then(|| Claim {
        len: frame_len((u32_at(head, LEN_AT) & !SEAL_BIT) as usize, is_first(offset)),
        synced_lsn: Lsn(u64_at(head, SYNCED_AT)),
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
        match parse(known, header, identity, place) {
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
    pub fields: Fields,
}

impl Span {
    /// Verifies the tag of the frame, which follows the one with the tag `before`, and decrypts its
    /// body in place. Returns its tag.
    fn decrypt(
        &self,
        cipher: &SegmentCipher,
        bytes: &mut [u8],
        before: Tag,
    ) -> Result<Tag, WrongTag> {
        let Self { at, fields } = *self;
        let tag = fields.tag(&bytes[at..]);
        let before = if fields.carries_tag { carried_tag(&bytes[at..]) } else { before };
        let (head, rest) = bytes[at..].split_at_mut(body_at(fields.carries_tag));
        let authenticated = array_at(head, LEN_AT);
        let head = Head { nonce: array_at(head, NONCE_AT), authenticated: &authenticated };
        cipher.decrypt(&head, before, &mut rest[..fields.body_len + TAG_LEN])?;
        Ok(tag)
    }
}

/// Verifies the tags of the frames in these spans, and decrypts their bodies in place. `before` is the
/// tag of the frame before them, and then that of the last one. The error has the offset in `bytes`
/// of the first frame with a wrong tag.
pub(crate) fn decrypt<'s>(
    cipher: &SegmentCipher,
    bytes: &mut [u8],
    spans: impl IntoIterator<Item = &'s Span>,
    before: &mut Tag,
) -> Result<(), usize> {
    for span in spans {
        *before = span.decrypt(cipher, bytes, *before).map_err(|WrongTag| span.at)?;
    }
    Ok(())
}

/// Frames in a buffer, in the order of the log, all of them checked.
pub struct Frames<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let Span { at, fields } = self.spans.next()?;
        let body_at = at + body_at(fields.carries_tag);
        Some(Frame {
            lsn: fields.lsn,
            log_time_ms: fields.log_time_ms,
            body: &self.bytes[body_at..body_at + fields.body_len],
            file_len: fields.total_len(),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}
