//! Reads the headers of all segments.

use std::sync::Arc;

use super::error::{Damage, DamageKind, ReadError, io_at};
use super::segment::{
    HEADER_BLOCK_LEN, HEADER_LEN, Named, SegmentHeader, parse_name, segment_name,
};
use super::storage::{File, Listed, Storage};

/// The headers of all segments, in the order of their seqs.
pub(super) fn read(storage: &dyn Storage) -> Result<Vec<SegmentHeader>, ReadError> {
    let files = storage.list().map_err(io_at(".", "list"))?;
    let mut headers = Vec::new();
    let mut spare = None;
    for Listed { name, len, is_regular } in files {
        match parse_name(&name) {
            Named::Segment(_) | Named::Spare(_) | Named::Fresh if !is_regular => {
                return Err(DamageKind::NotRegular.at(&name, 0).into());
            }
            Named::Segment(seq) => headers.push(read_one(storage, &name, seq, len)?),
            Named::Spare(_) => spare = Some(name),
            Named::Malformed => return Err(DamageKind::BadName.at(&name, 0).into()),
            Named::Fresh | Named::Other => {}
        }
    }
    // A log always has a current segment, so a spare without segments is the rest of a log whose
    // segments are missing.
    if let (true, Some(spare)) = (headers.is_empty(), spare) {
        return Err(DamageKind::NoSegments.at(&spare, 0).into());
    }
    headers.sort_by_key(|header| header.seq);
    Ok(headers)
}

fn read_one(
    storage: &dyn Storage,
    name: &str,
    seq: u64,
    len: u64,
) -> Result<SegmentHeader, ReadError> {
    let short = |expected| DamageKind::ShortFile { len, expected }.at(name, len);
    if len < HEADER_BLOCK_LEN {
        return Err(short(HEADER_BLOCK_LEN).into());
    }
    let file: Arc<dyn File> = storage.open(name).map_err(io_at(name, "open"))?;
    let mut bytes = [0; HEADER_LEN];
    file.read_at(&mut bytes, 0).map_err(io_at(name, "read"))?;
    let header =
        SegmentHeader::decode(&bytes).map_err(|fault| DamageKind::from(fault).at(name, 0))?;
    if header.seq != seq {
        return Err(DamageKind::WrongName { seq: header.seq }.at(name, 0).into());
    }
    if len < header.size {
        return Err(short(header.size).into());
    }
    Ok(header)
}

/// Checks that each segment follows the one before it.
pub(super) fn check_chain(headers: &[SegmentHeader]) -> Result<(), Damage> {
    for pair in headers.windows(2) {
        let (before, header) = (pair[0], pair[1]);
        let what = if header.log_id != before.log_id {
            DamageKind::ForeignLog
        } else if header.seq != before.seq + 1 {
            DamageKind::MissingSegment { seq: before.seq + 1 }
        } else if header.base_lsn != before.end_lsn() {
            DamageKind::WrongBase { expected: before.end_lsn() }
        } else {
            continue;
        };
        return Err(what.at(&segment_name(header.seq), 0));
    }
    Ok(())
}
