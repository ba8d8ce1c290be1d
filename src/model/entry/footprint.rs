//! How much memory an entry takes.

/// Bytes of memory of an entry's timer.
pub const TIMER_BYTES: u64 = 8;
/// Bytes of an entry without its body.
pub(super) const ENTRY_LEN: usize = 24;

/// Bytes of memory of an entry with a body of `body_len` bytes.
pub(super) fn memory(body_len: usize) -> usize {
    const NODE: usize = 16 + ENTRY_LEN;
    const SLOT_MEAN: usize = 16;
    NODE + SLOT_MEAN + TIMER_BYTES as usize + size_class(body_len)
}

/// The size class of mimalloc for `len` bytes: multiples of 8 up to 64, then four classes from one
/// power of two to the next.
pub(super) fn size_class(len: usize) -> usize {
    if len <= 64 {
        return len.next_multiple_of(8);
    }
    let step = len.next_power_of_two() / 8;
    len.next_multiple_of(step)
}
