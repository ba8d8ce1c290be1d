//! Layout of an entry's idempotency keys: the room for keys, and the index that finds one among
//! thousands. This module only computes; the parent module owns the memory.

use std::sync::atomic::AtomicU16;

use crate::model::token::ConsumeKey;

/// Maximum uses of a token.
///
/// Each use may leave an idempotency key of 16 bytes in the entry, so this also bounds the entry.
pub const USES_MAX: u32 = 10_000;

/// Bytes of a key.
pub(super) const KEY_LEN: usize = size_of::<ConsumeKey>();
/// Bytes of a slot of the index, which is 0, or the position of a key plus 1.
pub(super) const SLOT_LEN: usize = size_of::<AtomicU16>();
/// Up to this number of keys are compared one by one; more have an index.
pub(super) const SCANNED_KEYS_MAX: usize = 8;
/// Room that is allocated for the first key of a token with many uses.
const ROOM_MIN: usize = 4;

// Every key can be the value of a slot.
const _: () = assert!(USES_MAX < u16::MAX as u32);

/// Room of an entry with `key_count` keys: exactly these after it was consumed, otherwise up to
/// twice as many, limited by its uses.
pub(super) fn key_room(key_count: usize, uses_total: u32, uses_left: u32) -> usize {
    if key_count == 0 || uses_left == 0 {
        return key_count;
    }
    let room = key_count.next_power_of_two().max(ROOM_MIN);
    room.min(uses_total as usize).max(key_count)
}

/// Slots of the index over `room` keys, of which at most two thirds are used.
pub(super) fn index_slots(room: usize) -> usize {
    if room <= SCANNED_KEYS_MAX { 0 } else { (room * 3).div_ceil(2).next_power_of_two() }
}

/// Bytes of the room for keys and of its index.
pub(super) fn keys_len(room: usize) -> usize {
    room * KEY_LEN + index_slots(room) * SLOT_LEN
}

/// The slots of an index in the order of probing for a key. Keys are MACs, so their first bytes are
/// distributed evenly; the multiplication is for callers whose keys are not.
pub(super) fn probes(slots: usize, key: &ConsumeKey) -> impl Iterator<Item = usize> {
    let mask = slots - 1;
    let [head, tail] = [0, 8]
        .map(|at| key.0[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
    let hash = (head ^ tail.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (0..slots).map(move |step| (hash as usize + step) & mask)
}
