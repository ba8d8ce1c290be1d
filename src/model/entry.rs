//! An entry: the engine's data for a digest, in 24 bytes besides the key, plus the payload.
//!
//! Ten million entries must fit in memory, so the fields are packed:
//!
//! ```text
//! state  deadline (44 bits) | segment (16 bits) | flags (4 bits)      changes in place
//! fixed  issued at (43 bits) | payload length (21 bits)               never changes
//! body   thin pointer to [uses and idempotency keys, rarely][payload]
//! ```
//!
//! The uses and keys of a body:
//!
//! ```text
//! left 4 | total 4 | key count 4 | room 4 | key 16 × room | index 2 × slots
//! ```
//!
//! Keys are appended in place while there is room, so the thousandth key costs as much as the
//! first; an entry without room is replaced by one with twice as much. If there is room for more
//! than eight keys, an open-addressing index finds a key in a few probes. Room and index depend
//! only on the number of keys and uses, so an entry uses the same memory before and after a
//! restart.
//!
//! A `Box<[u8]>` instead of the thin pointer would store the payload's length a second time: eight
//! bytes per entry, 4 % of the target. The `unsafe` code here saves that.
//!
//! One thread, the committer, changes entries; any thread reads them at the same time. The data
//! that a reader decides by (deadline and flags) is one word, so it sees either the old or the new
//! state.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use crate::model::time::UnixMillis;
use crate::model::token::ConsumeKey;

mod body;
mod footprint;
mod keys;
mod parts;
#[cfg(test)]
mod tests;

pub use footprint::TIMER_BYTES;
pub use keys::USES_MAX;
pub use parts::Parts;

use body::{APPENDING, USES_LEN, Uses, allocate, free};
use footprint::{ENTRY_LEN, memory};
use keys::{KEY_LEN, index_slots, key_room, keys_len, probes};

/// Maximum payload of an entry, in bytes: 2^20 (its length has 21 bits).
pub const PAYLOAD_LEN_MAX: usize = 1 << 20;

const FLAG_BITS: u32 = 4;
const SEGMENT_BITS: u32 = 16;
const DEADLINE_SHIFT: u32 = FLAG_BITS + SEGMENT_BITS;
const LEN_BITS: u32 = 21;

// A deadline uses the remaining bits of `state`, a time of issue those of `fixed`.
const _: () = assert!(UnixMillis::MAX.0 < 1 << (64 - DEADLINE_SHIFT));
const _: () = assert!(UnixMillis::MAX.0 < 1 << (64 - LEN_BITS));
const _: () = assert!(PAYLOAD_LEN_MAX < 1 << LEN_BITS);

const CONSUMED: u64 = 1;
const NO_PEEK: u64 = 2;
const DERIVED: u64 = 4;
/// The body begins with [`Uses`].
const USES: u64 = 8;

/// The sequence number of a segment of the log, modulo 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JournalPart(pub u16);

/// The engine's data for a digest.
pub struct Entry {
    state: AtomicU64,
    fixed: u64,
    body: Option<NonNull<u8>>,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_LEN);

// SAFETY: the body is owned by the entry alone and freed only in `drop`. After `new` it is written
// only through atomics, except a key after the readable ones: `append` writes it while it alone
// holds `APPENDING`, before it is published, and never again. So a shared or sent entry has only
// memory that is immutable, atomic, or not read yet.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    /// The entry of these parts, which must be within the limits of this module (the record
    /// decoder and the engine's admission check them).
    ///
    /// # Panics
    /// If the parts are outside these limits.
    #[must_use]
    pub fn new(parts: &Parts<'_>, segment: JournalPart) -> Self {
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
        let entry = Self {
            state: AtomicU64::new(pack(parts.deadline, segment, flags)),
            fixed: parts.issued_at.0 << LEN_BITS | parts.payload.len() as u64,
            body: allocate(parts, with_uses),
        };
        for key in parts.keys {
            let is_appended = entry.append(key);
            debug_assert!(is_appended, "the room is for all keys");
        }
        entry
    }

    /// The entry's deadline: from this instant on the entry has expired.
    #[must_use]
    pub fn deadline(&self) -> UnixMillis {
        UnixMillis(self.state() >> DEADLINE_SHIFT)
    }

    /// Whether the entry has ended at `now`; then even a consumed token is forgotten.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.deadline() <= now
    }

    /// Whether the token can be resolved at `now` without being consumed. The only test of the
    /// resolve path.
    #[must_use]
    pub fn is_resolvable(&self, now: UnixMillis) -> bool {
        let state = self.state();
        state & (CONSUMED | NO_PEEK) == 0 && state >> DEADLINE_SHIFT > now.0
    }

    /// Whether the token has a use left at `now`.
    #[must_use]
    pub fn is_alive(&self, now: UnixMillis) -> bool {
        let state = self.state();
        state & CONSUMED == 0 && state >> DEADLINE_SHIFT > now.0
    }

    /// Whether its last use was consumed.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.state() & CONSUMED != 0
    }

    /// Whether the token can be resolved without being consumed.
    #[must_use]
    pub fn peek(&self) -> bool {
        self.state() & NO_PEEK == 0
    }

    /// Whether its token is derived from a reference or an idempotency key.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.state() & DERIVED != 0
    }

    /// Time of issue.
    #[must_use]
    pub fn issued_at(&self) -> UnixMillis {
        UnixMillis(self.fixed >> LEN_BITS)
    }

    /// The segment of its Issue or last Carry.
    #[must_use]
    pub fn segment(&self) -> JournalPart {
        JournalPart((self.state() >> FLAG_BITS) as u16)
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        (self.fixed & ((1 << LEN_BITS) - 1)) as usize
    }

    /// The payload.
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

    /// Uses left; 0 if it was consumed.
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

    /// Idempotency keys of the uses that were consumed with one, in the order of the consumes.
    #[must_use]
    pub fn keys(&self) -> &[ConsumeKey] {
        match (self.body, self.uses()) {
            // SAFETY: this number of keys was written after `Uses` before the count was published,
            // and they are never written again; ConsumeKey is plain bytes.
            (Some(body), Some(uses)) => unsafe {
                let first = body.as_ptr().add(USES_LEN).cast::<ConsumeKey>();
                std::slice::from_raw_parts(first, uses.key_count())
            },
            _ => &[],
        }
    }

    /// Whether a use was consumed with `key`; takes a few probes, whatever the number of keys.
    #[must_use]
    pub fn has_key(&self, key: &ConsumeKey) -> bool {
        let Some(index) = self.index() else {
            return self.keys().contains(key);
        };
        probes(index.len(), key)
            .map(|at| index[at].load(Ordering::Acquire))
            .take_while(|slot| *slot != 0)
            .any(|slot| self.key_at(slot) == Some(key))
    }

    /// All fields of the entry in their current state.
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

    /// Consumes one of several uses, and stores its key if it has one. Returns false and changes
    /// nothing if there is no room for the key: then the entry must be replaced. Only the committer
    /// calls this, and never for the last use, which replaces the entry in order to free memory.
    pub fn take_use(&self, key: Option<&ConsumeKey>) -> bool {
        let Some(uses) = self.uses() else { return false };
        // The key is stored first: a retry that finds fewer uses must find its key as well.
        if key.is_some_and(|key| !self.append(key)) {
            return false;
        }
        let left = uses.left.load(Ordering::Relaxed);
        debug_assert!(left > 1, "the last use replaces the entry");
        uses.left.store(left.saturating_sub(1), Ordering::Release);
        true
    }

    /// Moves the deadline. Only the committer calls this.
    pub fn set_deadline(&self, deadline: UnixMillis) {
        let state = self.state();
        self.state.store(pack(deadline, self.segment(), state & 0xF), Ordering::Release);
    }

    /// Records that the entry was relocated to `segment`. Only the committer calls this.
    pub fn set_segment(&self, segment: JournalPart) {
        let state = self.state();
        self.state.store(pack(self.deadline(), segment, state & 0xF), Ordering::Release);
    }

    /// Memory of a new entry with this payload and these uses in the store, in bytes. It includes
    /// the node with its key, the payload in its size class, the slot in the table at its mean
    /// load, and the timer.
    #[must_use]
    pub fn footprint(payload_len: usize, uses: u32) -> usize {
        memory(payload_len + if uses == 1 { 0 } else { USES_LEN })
    }

    /// [`Entry::footprint`] of this entry, with its keys.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        memory(self.payload_at() + self.payload_len())
    }

    /// Additional memory of the entry, in bytes, after `more` uses are consumed with different keys
    /// and at least one use is left.
    #[must_use]
    pub fn key_growth(&self, more: usize) -> usize {
        let (room, key_count) = self.uses().map_or((0, 0), |uses| (uses.room(), uses.key_count()));
        if key_count + more <= room {
            return 0;
        }
        let room = key_room(key_count + more, self.uses_total(), 1);
        memory(USES_LEN + keys_len(room) + self.payload_len()) - self.memory_bytes()
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
        self.uses().map_or(0, |uses| USES_LEN + keys_len(uses.room()))
    }

    /// The index, if there is one.
    fn index(&self) -> Option<&[AtomicU16]> {
        let (body, room) = (self.body?, self.uses()?.room());
        let slots = index_slots(room);
        // SAFETY: `allocate` put this number of zeroed slots after the room for keys, aligned as
        // asserted above; they are written only through atomics.
        (slots > 0).then(|| unsafe {
            let first = body.as_ptr().add(USES_LEN + room * KEY_LEN).cast::<AtomicU16>();
            std::slice::from_raw_parts(first, slots)
        })
    }

    /// The key that a slot of the index names.
    fn key_at(&self, slot: u16) -> Option<&ConsumeKey> {
        let (body, at) = (self.body?, usize::from(slot).checked_sub(1)?);
        // SAFETY: the index contains only positions within the room, and a key was written to its
        // position before the slot was published, and is never written again.
        Some(unsafe { &*body.as_ptr().add(USES_LEN + at * KEY_LEN).cast::<ConsumeKey>() })
    }

    /// Appends a key. Returns false if there is no room, or another thread is appending.
    fn append(&self, key: &ConsumeKey) -> bool {
        let (Some(body), Some(uses)) = (self.body, self.uses()) else { return false };
        let count = uses.key_count.load(Ordering::Relaxed);
        if count >= uses.room {
            return false;
        }
        let claimed = count | APPENDING;
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        if uses.key_count.compare_exchange(count, claimed, acquire, relaxed).is_err() {
            return false;
        }
        // SAFETY: the position is within the room. No thread reads it before the slot or the count
        // is published below, and no other thread writes it while this one holds `APPENDING`.
        unsafe {
            let place = body.as_ptr().add(USES_LEN + count as usize * KEY_LEN);
            place.cast::<ConsumeKey>().write(*key);
        }
        if let Some(index) = self.index() {
            let is_free = |at: &usize| index[*at].load(Ordering::Relaxed) == 0;
            if let Some(at) = probes(index.len(), key).find(is_free) {
                index[at].store(count as u16 + 1, Ordering::Release);
            }
        }
        uses.key_count.store(count + 1, Ordering::Release);
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(body) = self.body {
            // SAFETY: allocated in `allocate` with this length, and used no more.
            unsafe { free(body, self.payload_at() + self.payload_len()) };
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

fn pack(deadline: UnixMillis, segment: JournalPart, flags: u64) -> u64 {
    deadline.0 << DEADLINE_SHIFT | u64::from(segment.0) << FLAG_BITS | flags
}
