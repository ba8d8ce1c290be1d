//! The end of the log: clean, torn, or damaged.
//!
//! In the current segment the valid frames end at an offset X. The next frame would be at X or at
//! the next multiple of 512, A. Possible cases:
//!
//! - no claim of a frame at either position, and no valid frame after them: the end is clean;
//! - a frame torn by a crash, possibly followed by complete frames that reached the disk before it
//!   did. None of them was acknowledged as durable, and none of them records that anything beyond X
//!   was: a torn tail;
//! - a valid frame after X that records that something beyond X was durable: damage.
//!
//! The torn bytes are counted from the start of the torn frame to the end that its header claims,
//! or to the end of the last complete frame after it, whichever is further. A frame whose first
//! sector never reached the disk leaves no trace and cannot be counted: in a recycled file its
//! other sectors look like any others.
//!
//! Before the log continues, `Tail::wipe` zeroes all these bytes from A on, so that an old frame
//! can never follow a new one. The bytes between X and A share their sector with an acknowledged
//! frame and are not touched: the next frame is at A, and the bytes at X are not a valid frame and
//! can't become one.

use crate::failpoint;

use super::error::{Damage, DamageKind};
use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, Fields, Parsed, claim, parse, places};
use super::segment::{HEADER_BLOCK_LEN, Lsn, SegmentHeader, segment_name};
use super::storage::File;
use super::walk::Walk;

/// Zeros are written in pieces of this many bytes.
const WIPE_PIECE_LEN: u64 = 1 << 20;

/// The end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Seq of the current segment.
    pub seq: u64,
    /// The end of the last frame.
    pub end_lsn: Lsn,
    /// The end of the last frame, as an offset in the file, in bytes.
    pub end_offset: u64,
    /// Bytes after it that are truncated; 0 for a clean end.
    pub torn_bytes: u64,
    /// Log time of the last frame, Unix milliseconds; 0 for an empty log.
    pub last_time_ms: u64,
    /// Whether the last frame of the log has records, so that no later frame proves that it was
    /// durable.
    pub ends_with_records: bool,
    /// End of the bytes to be wiped, as an offset in the file.
    wipe_end: u64,
}

impl Tail {
    /// Zeroes the torn bytes, if any, and syncs.
    pub(crate) fn wipe(&self, file: &dyn File) -> std::io::Result<()> {
        let [_, mut offset] = places(self.end_offset);
        if offset >= self.wipe_end {
            return Ok(());
        }
        failpoint::pass("tail-before-wipe");
        let zeros = vec![0; WIPE_PIECE_LEN.min(self.wipe_end - offset) as usize];
        while offset < self.wipe_end {
            let len = (self.wipe_end - offset).min(WIPE_PIECE_LEN);
            file.write_at(&zeros[..len as usize], offset)?;
            offset += len;
        }
        file.sync()?;
        failpoint::pass("tail-wiped");
        Ok(())
    }
}

/// Examines the bytes after the last valid frame of the current segment. The last log time is that
/// of `walk`.
pub(crate) fn examine(bytes: &[u8], header: &SegmentHeader, walk: &Walk) -> Result<Tail, Damage> {
    let end = walk.end_offset;
    let end_lsn = header.lsn_at(end);
    let torn = torn_frame(bytes, header, end);
    let torn_at = torn.map_or(end, |(at, _)| at);
    let mut wipe_end = torn.map_or(end, |(at, len)| (at + len).min(header.size));
    let identity = header.identity();
    let mut from = end;
    while let Some((at, fields)) = next_valid(bytes, header, identity, from) {
        if fields.synced_lsn > end_lsn {
            return Err(DamageKind::NoFrame.at(&segment_name(header.seq), torn_at));
        }
        from = at + fields.total_len();
        wipe_end = wipe_end.max(from);
    }
    Ok(Tail {
        seq: header.seq,
        end_lsn,
        end_offset: end,
        torn_bytes: wipe_end - torn_at.min(wipe_end),
        last_time_ms: walk.last_time_ms.unwrap_or(0),
        ends_with_records: walk.last.is_some_and(|(last, _)| last.body_len > 0),
        wipe_end,
    })
}

/// The first valid frame at or after `from`, at any possible position.
fn next_valid(
    bytes: &[u8],
    header: &SegmentHeader,
    identity: u32,
    from: u64,
) -> Option<(u64, Fields)> {
    let mut at = from;
    while at + FRAME_HEADER_LEN as u64 <= header.size {
        let here = &bytes[at as usize..];
        // The Lsn is checked first, because it almost never fits by chance.
        if claim(here, header, at).is_some()
            && let Parsed::Valid(fields) = parse(here, header, identity, at)
        {
            return Some((at, fields));
        }
        at += FRAME_ALIGN;
    }
    None
}

/// The position and claimed length of an invalid frame at the position of the next frame.
fn torn_frame(bytes: &[u8], header: &SegmentHeader, end: u64) -> Option<(u64, u64)> {
    let [packed, aligned] = places(end);
    let claim_at = |at: u64| claim(bytes.get(at as usize..)?, header, at);
    if let Some(claim) = claim_at(packed) {
        return Some((packed, claim.len));
    }
    // As for a valid frame: at the second position its synced Lsn must be that of the first.
    claim_at(aligned)
        .filter(|claim| claim.synced_lsn == header.lsn_at(packed))
        .map(|claim| (aligned, claim.len))
}

/// Whether a segment without a valid frame at its start was written to: it has a torn frame there,
/// or a complete one further on.
pub(crate) fn has_traces(bytes: &[u8], header: &SegmentHeader) -> bool {
    torn_frame(bytes, header, HEADER_BLOCK_LEN).is_some()
        || next_valid(bytes, header, header.identity(), HEADER_BLOCK_LEN).is_some()
}
