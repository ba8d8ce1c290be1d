//! A segment: one file of fixed size, and its header.
//!
//! The log is a ring of segments, files called `segment-{seq:016x}.log`. A
//! segment is a header block and then frames (see [`super::frame`]). All
//! numbers are little-endian. The header block:
//!
//! ```text
//! offset  length  what
//!      0       8  magic "JETONLOG"
//!      8       4  format version, 2; 3 in the log of a cluster's node; 4 from the
//!                 first Issue that replaces or Deadline on
//!     12       2  older: how many segments directly before this one the log
//!                 needed when this one was made
//!     14       2  zero
//!     16      16  log id: random, the same in every segment of a directory
//!     32       8  seq: 1 for the first segment ever, then one more each
//!     40       8  base Lsn: the Lsn of the first byte after the header block
//!     48       8  size of the file in bytes, header block included
//!     56       8  synced Lsn: the log was durable up to here when this segment
//!                 was made
//!     64       4  identity: CRC32C of bytes 0 to 63
//!     68    4028  zero, not read: frames never share a page with the header
//! ```
//!
//! A header is valid if and only if magic, version and identity are right, the size is a multiple
//! of 512 with room after the header block, older is less than its seq, the synced Lsn is not
//! beyond its base, and the file is at least that long.
//!
//! **Format 1** had zeros in the place of `older` and no synced Lsn: its identity was at offset 56
//! and covered bytes 0 to 55. Such segments are read like any others, but never written: a log
//! whose current segment has format 1 continues in the next segment.
//!
//! **Format 3** is format 2 with the records of a cluster in its frames. All segments of such a log
//! have it, from the first one on, so that a version of jeton that does not know these records
//! refuses the log by its number. Any other version is refused in the same way.
//!
//! **Format 4** is format 2 with two more kinds of records in its frames: the Deadline, and the Issue
//! that replaces. A log continues in a segment of this format with the first such record, and stays
//! with it; so an older jeton reads the log of a server that never had one.
//!
//! **Older.** Seq minus older is the oldest segment that a start needs. The header has its value at
//! the creation of the segment, each frame at the time of its writing, so the last frame of the log
//! has the latest value, or the header if there is no frame yet. A segment is released only when a
//! durable frame records it (see [`super::reader`]).
//!
//! **Lsn.** A position in the log: `lsn = base + (offset - 4096)`. The base of
//! the next segment is this one's base plus its whole capacity, wherever it is sealed, so that a
//! segment can be prepared before the final length of the previous one is known. The first base is
//! 4096, not 0, so that a header of zeros never matches its position.
//!
//! **Identity.** The checksum of the header starts the checksum of every frame in the segment. The
//! header contains log id, seq and base, so a frame that is left over from an earlier use of a
//! recycled file, or copied from another log, is never valid: a recycled file needs no zeroing.
//!
//! **Life.** A new file is zero-filled under the name `fresh-{seq}.tmp`, an old
//! one waits as `spare-{seq}.log`; the header is written and synced under that name, and only then
//! the file gets its segment name. So a file with a segment name always has a complete header.

use std::fmt;

mod name;

pub(crate) use name::{Named, fresh_name, parse_name, segment_name, spare_name};

/// Length of the header block in bytes; frames begin after it.
pub const HEADER_BLOCK_LEN: u64 = 4096;

/// The unit that a disk writes atomically, and within which an unacknowledged write may do harm.
pub const SECTOR_LEN: u64 = 512;

const MAGIC: [u8; 8] = *b"JETONLOG";
/// Format version of new segments.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// Format version of new segments in the log of a cluster's node.
pub(crate) const FORMAT_CLUSTER: u32 = 3;
/// Format version of new segments in a log with records that replace or set deadlines.
pub(crate) const FORMAT_PUTS: u32 = 4;
/// The first format version, which is still read.
pub(crate) const FORMAT_1: u32 = 1;

const VERSION_AT: usize = MAGIC.len();
const OLDER_AT: usize = VERSION_AT + 4;
const ZERO_AT: usize = OLDER_AT + 2;
const LOG_ID_AT: usize = ZERO_AT + 2;
const SEQ_AT: usize = LOG_ID_AT + 16;
const BASE_AT: usize = SEQ_AT + 8;
const SIZE_AT: usize = BASE_AT + 8;
const SYNCED_AT: usize = SIZE_AT + 8;
const IDENTITY_AT: usize = SYNCED_AT + 8;
/// Offset of the identity in format 1.
const IDENTITY_1_AT: usize = SYNCED_AT;
/// Length of the used part of the header block.
pub(crate) const HEADER_LEN: usize = IDENTITY_AT + 4;

const _: () = assert!(HEADER_LEN == 68 && HEADER_LEN as u64 <= HEADER_BLOCK_LEN);
// Sectors of the file and sectors of the frame area must be the same ones.
const _: () = assert!(HEADER_BLOCK_LEN.is_multiple_of(SECTOR_LEN));

/// A position in the log, in bytes. Positions only grow, over the whole life of
/// a data directory; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// The first position of a new log.
    pub const FIRST: Self = Self(HEADER_BLOCK_LEN);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sixteen bytes that identify the log and are the same in all segments of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub [u8; 16]);

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format version of the header and the frames: 2, or 1 in an older log, 3 in a cluster, 4 with
    /// records that replace or set deadlines.
    pub format: u32,
    /// The log it belongs to.
    pub log_id: LogId,
    /// Its number: 1 and up, without gaps.
    pub seq: u64,
    /// The Lsn of the first byte after the header block.
    pub base_lsn: Lsn,
    /// Size of the file in bytes, header block included.
    pub size: u64,
    /// How many segments directly before this one the log needed when this one was created; 0 in
    /// format 1, which does not record it.
    pub older: u16,
    /// The log was durable up to here when this segment was created; 0 in format 1.
    pub synced_lsn: Lsn,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Magic,
    Version(u32),
    Checksum,
    Fields,
}

impl SegmentHeader {
    /// The header of the first segment of a new log.
    pub(crate) fn first(format: u32, log_id: LogId, size: u64) -> Self {
        let base_lsn = Lsn::FIRST;
        Self { format, log_id, seq: 1, base_lsn, size, older: 0, synced_lsn: Lsn::ZERO }
    }

    /// The header of the segment after this one in at least `format`, for a log that needs `older`
    /// segments before that one and is durable up to `synced_lsn`.
    pub(crate) fn next(&self, format: u32, size: u64, older: u16, synced_lsn: Lsn) -> Self {
        Self {
            format: self.format.max(FORMAT_VERSION).max(format),
            log_id: self.log_id,
            seq: self.seq + 1,
            base_lsn: self.end_lsn(),
            size,
            older,
            synced_lsn,
        }
    }

    /// Whether frames are still written to segments of this format.
    pub(crate) fn is_current_format(&self) -> bool {
        self.format != FORMAT_1
    }

    /// Whether the log is that of a cluster's node.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.format == FORMAT_CLUSTER
    }

    /// Seq of the oldest segment that the log needed when the segment, or a frame in it with this
    /// `older`, was written. `None` in format 1, which does not record it.
    pub(crate) fn oldest_needed(&self, older: u16) -> Option<u64> {
        (self.format != FORMAT_1).then(|| self.seq.saturating_sub(older.into()).max(1))
    }

    /// The offset of `lsn` in the file.
    pub fn offset_of(&self, lsn: Lsn) -> u64 {
        HEADER_BLOCK_LEN + lsn.0.saturating_sub(self.base_lsn.0)
    }

    /// The Lsn of the byte at `offset` of the file.
    pub(crate) fn lsn_at(&self, offset: u64) -> Lsn {
        debug_assert!(offset >= HEADER_BLOCK_LEN && offset <= self.size);
        Lsn(self.base_lsn.0 + (offset - HEADER_BLOCK_LEN))
    }

    /// The base Lsn of the segment after this one.
    pub(crate) fn end_lsn(&self) -> Lsn {
        self.lsn_at(self.size)
    }

    /// The initial value of the checksum of every frame in this segment.
    pub(crate) fn identity(&self) -> u32 {
        let bytes = self.encode();
        u32_at(&bytes, identity_at(self.format))
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..OLDER_AT].copy_from_slice(&self.format.to_le_bytes());
        bytes[LOG_ID_AT..SEQ_AT].copy_from_slice(&self.log_id.0);
        bytes[SEQ_AT..BASE_AT].copy_from_slice(&self.seq.to_le_bytes());
        bytes[BASE_AT..SIZE_AT].copy_from_slice(&self.base_lsn.0.to_le_bytes());
        bytes[SIZE_AT..SYNCED_AT].copy_from_slice(&self.size.to_le_bytes());
        if self.format != FORMAT_1 {
            bytes[OLDER_AT..ZERO_AT].copy_from_slice(&self.older.to_le_bytes());
            bytes[SYNCED_AT..IDENTITY_AT].copy_from_slice(&self.synced_lsn.0.to_le_bytes());
        }
        let at = identity_at(self.format);
        let identity = crc32c::crc32c(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&identity.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderFault> {
        if bytes[..VERSION_AT] != MAGIC {
            return Err(HeaderFault::Magic);
        }
        let format = u32_at(bytes, VERSION_AT);
        let at = identity_at(format);
        let intact = crc32c::crc32c(&bytes[..at]) == u32_at(bytes, at);
        // A flipped bit in the version is damage, not a newer jeton.
        match (intact, matches!(format, FORMAT_1 | FORMAT_VERSION | FORMAT_CLUSTER | FORMAT_PUTS)) {
            (false, _) => return Err(HeaderFault::Checksum),
            (true, false) => return Err(HeaderFault::Version(format)),
            (true, true) => {}
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&bytes[LOG_ID_AT..SEQ_AT]);
        let mut header = Self {
            format,
            log_id: LogId(log_id),
            seq: u64_at(bytes, SEQ_AT),
            base_lsn: Lsn(u64_at(bytes, BASE_AT)),
            size: u64_at(bytes, SIZE_AT),
            older: 0,
            synced_lsn: Lsn::ZERO,
        };
        if format != FORMAT_1 {
            header.older = u16_at(bytes, OLDER_AT);
            header.synced_lsn = Lsn(u64_at(bytes, SYNCED_AT));
        }
        let sound = header.size.is_multiple_of(SECTOR_LEN)
            && header.size > HEADER_BLOCK_LEN
            && header.base_lsn >= Lsn::FIRST
            && header.base_lsn.0.checked_add(header.size).is_some()
            && u64::from(header.older) <= header.seq.saturating_sub(1)
            && header.synced_lsn <= header.base_lsn;
        if sound { Ok(header) } else { Err(HeaderFault::Fields) }
    }
}

fn identity_at(format: u32) -> usize {
    if format == FORMAT_1 { IDENTITY_1_AT } else { IDENTITY_AT }
}

/// The log that a file with these first bytes belongs to, if it is a segment.
#[must_use]
pub fn log_id_in(bytes: &[u8]) -> Option<LogId> {
    let header: &[u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
    SegmentHeader::decode(header).ok().map(|header| header.log_id)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let first = SegmentHeader::first(FORMAT_VERSION, LogId([7; 16]), 1 << 20);
        first.next(0, 2 << 20, 1, Lsn(first.base_lsn.0 + 800))
    }

    #[test]
    fn header_comes_back_and_every_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn identity_is_another_for_another_log_segment_or_place() {
        let own = header();
        let others = [
            SegmentHeader { log_id: LogId([8; 16]), ..own },
            SegmentHeader { seq: own.seq + 1, ..own },
            SegmentHeader { base_lsn: Lsn(own.base_lsn.0 + SECTOR_LEN), ..own },
            SegmentHeader { format: FORMAT_1, ..own },
        ];
        assert!(others.iter().all(|other| other.identity() != own.identity()));
    }

    #[test]
    fn format_1_is_read_and_every_flipped_bit_of_it_is_noticed() {
        let old = SegmentHeader { format: FORMAT_1, older: 0, synced_lsn: Lsn::ZERO, ..header() };
        let bytes = old.encode();
        assert_eq!(u32_at(&bytes, 56), crc32c::crc32c(&bytes[..56]));
        assert_eq!(bytes[60..], [0; 8]);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(old));
        assert_eq!((old.oldest_needed(0), header().oldest_needed(1)), (None, Some(1)));
        for bit in 0..60 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_log_of_a_cluster_stays_one_and_every_flipped_bit_of_it_is_noticed() {
        let first = SegmentHeader::first(FORMAT_CLUSTER, LogId([7; 16]), 1 << 20);
        let own = first.next(0, 1 << 20, 1, first.base_lsn);
        assert!(first.is_of_cluster() && own.is_of_cluster() && own.is_current_format());
        assert!(!header().is_of_cluster());
        let bytes = own.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(own));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let own = header();
        for wrong in [
            SegmentHeader { older: 2, ..own },
            SegmentHeader { synced_lsn: Lsn(own.base_lsn.0 + 1), ..own },
            SegmentHeader { size: own.size + 8, ..own },
        ] {
            assert_eq!(SegmentHeader::decode(&wrong.encode()), Err(HeaderFault::Fields));
        }
    }

    #[test]
    fn newer_version_is_named() {
        let mut bytes = header().encode();
        bytes[VERSION_AT] = 9;
        let identity = crc32c::crc32c(&bytes[..IDENTITY_AT]).to_le_bytes();
        bytes[IDENTITY_AT..].copy_from_slice(&identity);
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Version(9)));
    }

    #[test]
    fn next_segment_begins_where_this_one_is_full() {
        let first = SegmentHeader::first(FORMAT_VERSION, LogId([0; 16]), 1 << 20);
        assert_eq!(first.lsn_at(HEADER_BLOCK_LEN), Lsn::FIRST);
        assert_eq!(header().base_lsn, first.end_lsn());
    }
}
