//! The heads of records, as they are written.

use crate::model::entry::{PAYLOAD_LEN_MAX, Parts, USES_MAX};
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

use super::reader::SHORT_HEAD_LEN;

pub(super) const PEEK: u8 = 1;
pub(super) const DERIVED: u8 = 2;
pub(super) const REPLACES: u8 = 4;
pub(super) const HAS_KEY: u8 = 1;
pub(super) const REMEMBERED: u8 = 2;
pub(super) const CONSUME: u8 = 3;

/// Bytes of an Issue before the payload.
pub const ISSUE_HEAD_LEN: usize = 32;
pub(super) const UNTIL_LEN: usize = SHORT_HEAD_LEN - 2;

pub(super) fn flags(peek: bool, derived: bool) -> u8 {
    (if peek { PEEK } else { 0 }) | (if derived { DERIVED } else { 0 })
}

pub(super) fn short_head(out: &mut Vec<u8>, kind: u8, flags: u8) {
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
}

pub(super) fn consume_head(out: &mut Vec<u8>, has_key: bool, remembered_until: Option<UnixMillis>) {
    debug_assert!(!has_key || remembered_until.is_none(), "a key is remembered with its entry");
    let key = if has_key { HAS_KEY } else { 0 };
    let remembered = if remembered_until.is_some() { REMEMBERED } else { 0 };
    out.extend_from_slice(&[CONSUME, key | remembered]);
    let until = remembered_until.map_or(0, |until| until.0).to_le_bytes();
    out.extend_from_slice(&until[..UNTIL_LEN]);
}

pub(super) fn entry_head(
    out: &mut Vec<u8>,
    kind: u8,
    flags: u8,
    uses: u32,
    payload: &[u8],
    digest: Digest,
    deadline: UnixMillis,
) {
    debug_assert!(uses <= USES_MAX && payload.len() <= PAYLOAD_LEN_MAX);
    out.reserve(ISSUE_HEAD_LEN + payload.len());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&(uses as u16).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&digest.to_bytes());
    out.extend_from_slice(&deadline.0.to_le_bytes());
}

pub(super) fn carry_head(out: &mut Vec<u8>, parts: &Parts<'_>, key_count: usize) {
    out.extend_from_slice(&parts.issued_at.0.to_le_bytes());
    out.extend_from_slice(&(parts.uses_total as u16).to_le_bytes());
    out.extend_from_slice(&(key_count as u16).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}
