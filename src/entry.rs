//! An entry: what the engine holds for a digest, in 24 bytes beside the key, plus the payload.
//!
//! Ten million of them must fit in memory beside each other, so the fields are packed:
//!
//! ```text
//! state  deadline (44 bits) | segment (16 bits) | flags (4 bits)      changes in place
//! fixed  issued at (43 bits) | payload length (21 bits)               never changes
//! body   thin pointer to [uses and idempotency keys, rarely][payload]
//! ```
//!
//! A `Box<[u8]>` in place of the thin pointer would store the payload's length once more: eight
//! bytes an entry, 4 % of the target. That is what the `unsafe` here pays for.
//!
//! One thread, the committer, changes entries; any thread reads them at the same time. What a
//! reader decides by (deadline and flags) is one word, so it sees either the old or the new state.

use std::alloc::{self, Layout};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::time::UnixMillis;
use crate::token::ConsumeKey;

/// The largest payload an entry can hold, in bytes: 2^20 (its length has 21 bits).
pub const PAYLOAD_LEN_MAX: usize = 1 << 20;
/// The most uses a token can have.
///
/// Each use may leave an idempotency key of 16 bytes in the entry, so this also bounds the entry.
pub const USES_MAX: u32 = 10_000;

/// Bytes of memory of an entry's timer.
pub const TIMER_BYTES: u64 = 8;

const FLAG_BITS: u32 = 4;
const SEGMENT_BITS: u32 = 16;
const DEADLINE_SHIFT: u32 = FLAG_BITS + SEGMENT_BITS;
const LEN_BITS: u32 = 21;

// A deadline takes the bits that are left, an instant of issue those beside the length.
const _: () = assert!(UnixMillis::MAX.0 < 1 << (64 - DEADLINE_SHIFT));
const _: () = assert!(UnixMillis::MAX.0 < 1 << (64 - LEN_BITS));
const _: () = assert!(PAYLOAD_LEN_MAX < 1 << LEN_BITS);

const CONSUMED: u64 = 1;
const NO_PEEK: u64 = 2;
const DERIVED: u64 = 4;
/// The body begins with [`Uses`].
const USES: u64 = 8;

/// Where a segment of the log is in the ring: its sequence number modulo 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentSlot(pub u16);

/// What does not fit beside the key and few entries need.
#[repr(C)]
struct Uses {
    left: AtomicU32,
    total: u32,
    key_count: u32,
    _reserved: u32,
}

const USES_LEN: usize = size_of::<Uses>();
const KEY_LEN: usize = size_of::<ConsumeKey>();
const BODY_ALIGN: usize = align_of::<Uses>();
const _: () = assert!(USES_LEN == 16 && KEY_LEN == 16);

/// All that makes an entry, as it is written to the log when it is carried.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// What the token stands for. Empty where it was consumed and no retry can ask for it.
    pub payload: &'a [u8],
    /// From this instant on the entry is gone.
    pub deadline: UnixMillis,
    /// When it was issued: an extension's cap counts from here.
    pub issued_at: UnixMillis,
    /// 0 to [`USES_MAX`]; 0 where it was consumed.
    pub uses_left: u32,
    /// 1 to [`USES_MAX`], as issued.
    pub uses_total: u32,
    /// May be resolved without being consumed.
    pub peek: bool,
    /// The token is derived from a reference or an idempotency key and can be issued again.
    pub derived: bool,
    /// Idempotency keys of the uses taken with one.
    pub keys: &'a [ConsumeKey],
}

/// What the engine holds for a digest.
pub struct Entry {
    state: AtomicU64,
    fixed: u64,
    body: Option<NonNull<u8>>,
}

// SAFETY: the body is owned by the entry alone, never written after `new` except for the atomic
// `Uses::left`, and freed only in `drop`: sharing and sending an entry shares plain memory.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    /// The entry of these parts, which must be within the limits of this module (the record
    /// decoder and the engine's admission check them).
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    pub fn new(parts: &Parts<'_>, segment: SegmentSlot) -> Entry {
        assert!(parts.payload.len() <= PAYLOAD_LEN_MAX, "payload over the limit");
        assert!(parts.deadline <= UnixMillis::MAX && parts.issued_at <= UnixMillis::MAX);
        assert!(parts.uses_total <= USES_MAX && parts.keys.len() <= USES_MAX as usize);
        let with_uses = !parts.keys.is_empty() || (parts.uses_total != 1 && parts.uses_left > 0);
        let mut flags = 0;
        for (flag, is_set) in [
            (CONSUMED, parts.uses_left == 0),
            (NO_PEEK, !parts.peek),
            (DERIVED, parts.derived),
            (USES, with_uses),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        Entry {
            state: AtomicU64::new(pack(parts.deadline, segment, flags)),
            fixed: parts.issued_at.0 << LEN_BITS | parts.payload.len() as u64,
            body: allocate(parts, with_uses),
        }
    }

    /// From this instant on the entry is gone.
    #[must_use]
    pub fn deadline(&self) -> UnixMillis {
        UnixMillis(self.state() >> DEADLINE_SHIFT)
    }

    /// Nothing more can come of it at `now`: not even the memory that it was consumed.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.deadline() <= now
    }

    /// May be resolved at `now` without being consumed. The one test of the resolve path.
    #[must_use]
    pub fn is_resolvable(&self, now: UnixMillis) -> bool {
        let state = self.state();
        state & (CONSUMED | NO_PEEK) == 0 && state >> DEADLINE_SHIFT > now.0
    }

    /// Has a use left at `now`.
    #[must_use]
    pub fn is_alive(&self, now: UnixMillis) -> bool {
        let state = self.state();
        state & CONSUMED == 0 && state >> DEADLINE_SHIFT > now.0
    }

    /// Its last use was taken.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.state() & CONSUMED != 0
    }

    /// May be resolved without being consumed.
    #[must_use]
    pub fn peek(&self) -> bool {
        self.state() & NO_PEEK == 0
    }

    /// Its token is derived from a reference or an idempotency key.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.state() & DERIVED != 0
    }

    /// When it was issued.
    #[must_use]
    pub fn issued_at(&self) -> UnixMillis {
        UnixMillis(self.fixed >> LEN_BITS)
    }

    /// The segment that holds its Issue or last Carry.
    #[must_use]
    pub fn segment(&self) -> SegmentSlot {
        SegmentSlot((self.state() >> FLAG_BITS) as u16)
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        (self.fixed & ((1 << LEN_BITS) - 1)) as usize
    }

    /// What the token stands for.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self.body {
            // SAFETY: a body holds `payload_at()` bytes and then the payload, initialised in
            // `allocate`, and is neither written nor freed while the entry lives.
            Some(body) => unsafe {
                std::slice::from_raw_parts(body.as_ptr().add(self.payload_at()), self.payload_len())
            },
            None => &[],
        }
    }

    /// Uses left, 0 where it was consumed.
    #[must_use]
    pub fn uses_left(&self) -> u32 {
        match self.uses() {
            _ if self.is_consumed() => 0,
            Some(uses) => uses.left.load(Ordering::Acquire),
            None => 1,
        }
    }

    /// Uses as issued.
    #[must_use]
    pub fn uses_total(&self) -> u32 {
        self.uses().map_or(1, |uses| uses.total)
    }

    /// Idempotency keys of the uses taken with one, in the order they were taken.
    #[must_use]
    pub fn keys(&self) -> &[ConsumeKey] {
        match (self.body, self.uses()) {
            // SAFETY: `allocate` put `key_count` keys behind `Uses`; ConsumeKey is plain bytes.
            (Some(body), Some(uses)) => unsafe {
                let first = body.as_ptr().add(USES_LEN).cast::<ConsumeKey>();
                std::slice::from_raw_parts(first, uses.key_count as usize)
            },
            _ => &[],
        }
    }

    /// The whole entry as it stands.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            payload: self.payload(),
            deadline: self.deadline(),
            issued_at: self.issued_at(),
            uses_left: self.uses_left(),
            uses_total: self.uses_total(),
            peek: self.peek(),
            derived: self.is_derived(),
            keys: self.keys(),
        }
    }

    /// Takes one use of several. Only the committer calls this, and never for the last use: that
    /// replaces the entry, so that the payload is freed.
    pub fn take_use(&self) {
        if let Some(uses) = self.uses() {
            let left = uses.left.load(Ordering::Relaxed);
            debug_assert!(left > 1, "the last use replaces the entry");
            uses.left.store(left.saturating_sub(1), Ordering::Release);
        }
    }

    /// Moves the deadline. Only the committer calls this.
    pub fn set_deadline(&self, deadline: UnixMillis) {
        let state = self.state();
        self.state.store(pack(deadline, self.segment(), state & 0xF), Ordering::Release);
    }

    /// Notes that the entry was carried to `segment`. Only the committer calls this.
    pub fn set_segment(&self, segment: SegmentSlot) {
        let state = self.state();
        self.state.store(pack(self.deadline(), segment, state & 0xF), Ordering::Release);
    }

    /// Bytes of memory that an entry with this payload takes in the store, everything counted:
    /// the node with its key, the payload in its size class, the slot in the table at its mean
    /// load, and the timer.
    #[must_use]
    pub fn footprint(payload_len: usize, with_uses: bool, key_count: usize) -> usize {
        const NODE: usize = 16 + size_of::<Entry>();
        const SLOT_MEAN: usize = 16;
        let uses = if with_uses { USES_LEN + key_count * KEY_LEN } else { 0 };
        NODE + SLOT_MEAN + TIMER_BYTES as usize + size_class(payload_len + uses)
    }

    /// [`Entry::footprint`] of this entry.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        Entry::footprint(self.payload_len(), self.uses().is_some(), self.keys().len())
    }

    fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    fn uses(&self) -> Option<&Uses> {
        if self.state() & USES == 0 {
            return None;
        }
        // SAFETY: with this flag, which never changes, the body begins with a `Uses`, aligned for
        // it by `layout`.
        self.body.map(|body| unsafe { body.cast::<Uses>().as_ref() })
    }

    fn payload_at(&self) -> usize {
        self.uses().map_or(0, |uses| USES_LEN + uses.key_count as usize * KEY_LEN)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(body) = self.body {
            let layout = layout(self.payload_at() + self.payload_len());
            // SAFETY: allocated in `allocate` with the same length and alignment.
            unsafe { alloc::dealloc(body.as_ptr(), layout) };
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("deadline", &self.deadline())
            .field("uses_left", &self.uses_left())
            .field("payload_len", &self.payload_len())
            .finish_non_exhaustive()
    }
}

fn pack(deadline: UnixMillis, segment: SegmentSlot, flags: u64) -> u64 {
    deadline.0 << DEADLINE_SHIFT | u64::from(segment.0) << FLAG_BITS | flags
}

fn layout(len: usize) -> Layout {
    // Cannot fail: a body is at most a megabyte of payload and 10,000 keys.
    Layout::from_size_align(len, BODY_ALIGN).unwrap_or(Layout::new::<Uses>())
}

fn allocate(parts: &Parts<'_>, with_uses: bool) -> Option<NonNull<u8>> {
    let head = if with_uses { USES_LEN + parts.keys.len() * KEY_LEN } else { 0 };
    let len = head + parts.payload.len();
    if len == 0 {
        return None;
    }
    let layout = layout(len);
    // SAFETY: the length is not zero; the pointer is checked before it is written; the writes
    // stay within `len`: first `Uses`, then the keys, then the payload, as `head` adds them up.
    unsafe {
        let Some(body) = NonNull::new(alloc::alloc(layout)) else {
            alloc::handle_alloc_error(layout)
        };
        let at = body.as_ptr();
        if with_uses {
            at.cast::<Uses>().write(Uses {
                left: AtomicU32::new(parts.uses_left),
                total: parts.uses_total,
                key_count: parts.keys.len() as u32,
                _reserved: 0,
            });
            let keys = at.add(USES_LEN).cast::<ConsumeKey>();
            ptr::copy_nonoverlapping(parts.keys.as_ptr(), keys, parts.keys.len());
        }
        ptr::copy_nonoverlapping(parts.payload.as_ptr(), at.add(head), parts.payload.len());
        Some(body)
    }
}

/// The size class that mimalloc puts `len` bytes in: multiples of 8 up to 64, then four classes
/// from one power of two to the next.
fn size_class(len: usize) -> usize {
    if len <= 64 {
        return len.next_multiple_of(8);
    }
    let step = len.next_power_of_two() / 8;
    len.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOT: SegmentSlot = SegmentSlot(0xBEEF);

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            deadline in 0..=UnixMillis::MAX.0, issued in 0..=UnixMillis::MAX.0,
            uses_total in 1..=USES_MAX, taken in 0..3u32, peek: bool, derived: bool,
            keys in prop::collection::vec(any::<[u8; 16]>(), 0..4),
        ) {
            let keys: Vec<_> = keys.into_iter().map(ConsumeKey).collect();
            let uses_left = uses_total.saturating_sub(taken);
            let parts = Parts {
                payload: &payload, deadline: UnixMillis(deadline), issued_at: UnixMillis(issued),
                uses_left, uses_total, peek, derived, keys: &keys,
            };
            let entry = Entry::new(&parts, SLOT);
            prop_assert_eq!(entry.payload(), &payload[..]);
            prop_assert_eq!(entry.deadline().0, deadline);
            prop_assert_eq!(entry.issued_at().0, issued);
            prop_assert_eq!(entry.uses_left(), uses_left);
            prop_assert_eq!((entry.peek(), entry.is_derived()), (peek, derived));
            prop_assert_eq!(entry.keys(), &keys[..]);
            prop_assert_eq!(entry.segment(), SLOT);
            prop_assert_eq!(entry.is_consumed(), uses_left == 0);
            if uses_left > 0 { prop_assert_eq!(entry.uses_total(), uses_total); }
            entry.set_deadline(UnixMillis(5));
            entry.set_segment(SegmentSlot(1));
            prop_assert_eq!((entry.deadline().0, entry.segment()), (5, SegmentSlot(1)));
            prop_assert_eq!(entry.payload(), &payload[..]);
        }
    }

    fn plain(payload: &[u8]) -> Parts<'_> {
        Parts {
            payload,
            deadline: UnixMillis(1_000),
            issued_at: UnixMillis(0),
            uses_left: 1,
            uses_total: 1,
            peek: true,
            derived: false,
            keys: &[],
        }
    }

    #[test]
    fn p3_gone_from_the_deadline_on_to_the_millisecond() {
        let entry = Entry::new(&plain(b"1"), SLOT);
        assert!(entry.is_resolvable(UnixMillis(999)) && !entry.is_expired(UnixMillis(999)));
        assert!(!entry.is_resolvable(UnixMillis(1_000)) && entry.is_expired(UnixMillis(1_000)));
    }

    #[test]
    fn several_uses_count_down() {
        let entry = Entry::new(&Parts { uses_left: 3, uses_total: 3, ..plain(b"{}") }, SLOT);
        entry.take_use();
        assert_eq!((entry.uses_left(), entry.uses_total()), (2, 3));
        assert_eq!(entry.payload(), b"{}");
    }

    #[test]
    fn an_entry_has_24_bytes_beside_its_key() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn size_classes_are_those_of_the_allocator() {
        for (len, class) in
            [(0, 0), (1, 8), (64, 64), (65, 80), (128, 128), (129, 160), (161, 192), (257, 320)]
        {
            assert_eq!(size_class(len), class, "{len}");
        }
    }

    #[test]
    fn p9_debug_shows_no_payload() {
        let shown = format!("{:?}", Entry::new(&plain(b"4111111111111111"), SLOT));
        assert!(!shown.contains("4111"));
    }
}
