//! A segment: one file of fixed size, and its header.
//!
//! The log is a ring of segments, files called `segment-{seq:016x}.log`. A
//! segment is a header block and then frames (see [`super::frame`]). All
//! numbers are little-endian. The header block:
//!
//! ```text
//! offset  length  what
//!      0       8  magic "JETONLOG"
//!      8       4  format version, 5
//!     12       4  required features: bit 0 the records of a cluster's node, bit 1
//!                 Issues that replace and Deadlines
//!     16      16  log id: derived from the secret, so it identifies the secret
//!     32       8  seq: 1 for the first segment ever, then one more each
//!     40       8  base Lsn: the Lsn of the first byte after the header block
//!     48       8  size of the file in bytes, header block included
//!     56       8  synced Lsn: the log was durable up to here when this segment
//!                 was made
//!     64       2  older: how many segments directly before this one the log
//!                 needed when this one was made
//!     66      32  salt of the segment's key: random
//!     98      32  MAC of bytes 0 to 97 under the log key
//!    130       4  identity: CRC32C of bytes 0 to 129
//!    134    3962  zero, not read: frames never share a page with the header
//! ```
//!
//! A header is valid if and only if magic, version and identity are right, all required features are
//! known, the size is a multiple of 512 with room after the header block and at most 1 GiB, older is
//! less than its seq, the synced Lsn is not beyond its base, the file is at least that long, and, for a
//! reader with the secret, log id and MAC are right ([`super::key`]).
//!
//! **Formats 1 to 4** were those of the versions before 0.1.0 that did not encrypt the log: format 1
//! without older segments, 3 in a cluster, 4 with Issues that replace. They are refused by name, as
//! any other unknown version is by its number.
//!
//! **Required features.** A reader that does not know one of the bits refuses the log. A segment has
//! the bits of the one before it. A log gets bit 1 with its first such record, so a version of jeton
//! that does not know these records reads the log of a server that never had one.
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
//! header contains log id, seq, base and salt, so a frame that is left over from an earlier use of a
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

/// Maximum size of a segment, in bytes: recovery reads one segment at a time.
pub const SEGMENT_SIZE_MAX: u64 = 1 << 30;

/// The unit that a disk writes atomically, and within which an unacknowledged write may do harm.
pub const SECTOR_LEN: u64 = 512;

const MAGIC: [u8; 8] = *b"JETONLOG";
/// Format version of segments.
const FORMAT_VERSION: u32 = 5;
/// The last format version that was not encrypted.
const FORMAT_PLAIN_MAX: u32 = 4;
/// Length of a segment's salt, in bytes.
pub(crate) const SALT_LEN: usize = 32;
/// Length of a MAC, in bytes.
pub const MAC_LEN: usize = 32;

const VERSION_AT: usize = MAGIC.len();
const FEATURES_AT: usize = VERSION_AT + 4;
const LOG_ID_AT: usize = FEATURES_AT + 4;
const SEQ_AT: usize = LOG_ID_AT + 16;
const BASE_AT: usize = SEQ_AT + 8;
const SIZE_AT: usize = BASE_AT + 8;
const SYNCED_AT: usize = SIZE_AT + 8;
const OLDER_AT: usize = SYNCED_AT + 8;
const SALT_AT: usize = OLDER_AT + 2;
const MAC_AT: usize = SALT_AT + SALT_LEN;
const IDENTITY_AT: usize = MAC_AT + MAC_LEN;
/// Offsets of the identity in formats 1, and 2 to 4.
const IDENTITY_1_AT: usize = 56;
const IDENTITY_PLAIN_AT: usize = 64;
/// Length of the used part of the header block.
pub(crate) const HEADER_LEN: usize = IDENTITY_AT + 4;

const _: () = assert!(HEADER_LEN == 134 && HEADER_LEN as u64 <= HEADER_BLOCK_LEN);
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

/// Features of a log that a reader must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(pub u32);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// The records of a cluster's node.
    pub const CLUSTER: Self = Self(1);
    /// Issues that replace, and Deadlines.
    pub const PUTS: Self = Self(1 << 1);
    const KNOWN: Self = Self(Self::CLUSTER.0 | Self::PUTS.0);

    /// Whether all of `others` are among these.
    #[must_use]
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These and `others`.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// The header of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What a reader must know.
    pub features: Features,
    /// The log it belongs to.
    pub log_id: LogId,
    /// Its number: 1 and up, without gaps.
    pub seq: u64,
    /// The Lsn of the first byte after the header block.
    pub base_lsn: Lsn,
    /// Size of the file in bytes, header block included.
    pub size: u64,
    /// How many segments directly before this one the log needed when this one was created.
    pub older: u16,
    /// The log was durable up to here when this segment was created.
    pub synced_lsn: Lsn,
    /// Salt of its key.
    pub(crate) salt: [u8; SALT_LEN],
    /// MAC of everything before it.
    pub(crate) mac: [u8; MAC_LEN],
}

impl fmt::Debug for SegmentHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentHeader")
            .field("features", &self.features)
            .field("log_id", &self.log_id)
            .field("seq", &self.seq)
            .field("base_lsn", &self.base_lsn)
            .field("size", &self.size)
            .field("older", &self.older)
            .field("synced_lsn", &self.synced_lsn)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Magic,
    /// A format that was not encrypted.
    Plain(u32),
    Version(u32),
    /// These features are not known.
    Features(u32),
    Checksum,
    Fields,
}

impl SegmentHeader {
    /// The header of the first segment of a new log, without its MAC.
    pub(crate) fn first(
        features: Features,
        log_id: LogId,
        size: u64,
        salt: [u8; SALT_LEN],
    ) -> Self {
        Self {
            features,
            log_id,
            seq: 1,
            base_lsn: Lsn::FIRST,
            size,
            older: 0,
            synced_lsn: Lsn::ZERO,
            salt,
            mac: [0; MAC_LEN],
        }
    }

    /// The header of the segment after this one, without its MAC, for a log that needs `older`
    /// segments before that one and is durable up to `synced_lsn`.
    pub(crate) fn next(
        &self,
        features: Features,
        size: u64,
        older: u16,
        synced_lsn: Lsn,
        salt: [u8; SALT_LEN],
    ) -> Self {
        Self {
            features: self.features.with(features),
            log_id: self.log_id,
            seq: self.seq + 1,
            base_lsn: self.end_lsn(),
            size,
            older,
            synced_lsn,
            salt,
            mac: [0; MAC_LEN],
        }
    }

    /// Whether the log is that of a cluster's node.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.features.contains(Features::CLUSTER)
    }

    /// Seq of the oldest segment that the log needed when the segment, or a frame in it with this
    /// `older`, was written.
    pub(crate) fn oldest_needed(&self, older: u16) -> u64 {
        self.seq.saturating_sub(older.into()).max(1)
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
        u32_at(&self.encode(), IDENTITY_AT)
    }

    /// The bytes before the salt.
    pub(crate) fn fields(&self) -> [u8; SALT_AT] {
        let mut bytes = [0; SALT_AT];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..FEATURES_AT].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[FEATURES_AT..LOG_ID_AT].copy_from_slice(&self.features.0.to_le_bytes());
        bytes[LOG_ID_AT..SEQ_AT].copy_from_slice(&self.log_id.0);
        bytes[SEQ_AT..BASE_AT].copy_from_slice(&self.seq.to_le_bytes());
        bytes[BASE_AT..SIZE_AT].copy_from_slice(&self.base_lsn.0.to_le_bytes());
        bytes[SIZE_AT..SYNCED_AT].copy_from_slice(&self.size.to_le_bytes());
        bytes[SYNCED_AT..OLDER_AT].copy_from_slice(&self.synced_lsn.0.to_le_bytes());
        bytes[OLDER_AT..].copy_from_slice(&self.older.to_le_bytes());
        bytes
    }

    /// The bytes before the MAC.
    pub(crate) fn signed_bytes(&self) -> [u8; MAC_AT] {
        let mut bytes = [0; MAC_AT];
        bytes[..SALT_AT].copy_from_slice(&self.fields());
        bytes[SALT_AT..].copy_from_slice(&self.salt);
        bytes
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..MAC_AT].copy_from_slice(&self.signed_bytes());
        bytes[MAC_AT..IDENTITY_AT].copy_from_slice(&self.mac);
        let identity = crc32c::crc32c(&bytes[..IDENTITY_AT]);
        bytes[IDENTITY_AT..].copy_from_slice(&identity.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderFault> {
        if bytes[..VERSION_AT] != MAGIC {
            return Err(HeaderFault::Magic);
        }
        let version = u32_at(bytes, VERSION_AT);
        let identity_at = match version {
            1 => IDENTITY_1_AT,
            2..=FORMAT_PLAIN_MAX => IDENTITY_PLAIN_AT,
            _ => IDENTITY_AT,
        };
        // A flipped bit in the version or the features is damage, not another jeton.
        if crc32c::crc32c(&bytes[..identity_at]) != u32_at(bytes, identity_at) {
            return Err(HeaderFault::Checksum);
        }
        match version {
            1..=FORMAT_PLAIN_MAX => return Err(HeaderFault::Plain(version)),
            FORMAT_VERSION => {}
            _ => return Err(HeaderFault::Version(version)),
        }
        let features = Features(u32_at(bytes, FEATURES_AT));
        if !Features::KNOWN.contains(features) {
            return Err(HeaderFault::Features(features.0 & !Features::KNOWN.0));
        }
        let header = Self {
            features,
            log_id: LogId(array_at(bytes, LOG_ID_AT)),
            seq: u64_at(bytes, SEQ_AT),
            base_lsn: Lsn(u64_at(bytes, BASE_AT)),
            size: u64_at(bytes, SIZE_AT),
            older: u16_at(bytes, OLDER_AT),
            synced_lsn: Lsn(u64_at(bytes, SYNCED_AT)),
            salt: array_at(bytes, SALT_AT),
            mac: array_at(bytes, MAC_AT),
        };
        let sound = header.size.is_multiple_of(SECTOR_LEN)
            && header.size > HEADER_BLOCK_LEN
            && header.size <= SEGMENT_SIZE_MAX
            && header.base_lsn >= Lsn::FIRST
            && header.base_lsn.0.checked_add(header.size).is_some()
            && u64::from(header.older) <= header.seq.saturating_sub(1)
            && header.synced_lsn <= header.base_lsn;
        if sound { Ok(header) } else { Err(HeaderFault::Fields) }
    }
}

/// The log that a file with these first bytes belongs to, if it is a segment.
#[must_use]
pub fn log_id_in(bytes: &[u8]) -> Option<LogId> {
    let header: &[u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
    SegmentHeader::decode(header).ok().map(|header| header.log_id)
}

/// The `N` bytes at `at`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests;
