//! Totals over all entries, updated with each change of an entry.

use std::collections::HashMap;

use ahash::RandomState;

use crate::model::entry::{Entry, JournalPart, TIMER_BYTES};
use crate::model::namespace::NamespaceTag;
use crate::model::record::carry_len;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};
use crate::store::Pinned;
use crate::timer_wheel::Wheel;

/// Changes of a segment's live entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Change of the bytes that would have to be relocated.
    pub live_bytes: i64,
    /// The latest deadline set for an entry of this segment.
    pub latest_deadline: UnixMillis,
}

/// Holdings of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Entries with a use left.
    pub tokens: u64,
    /// Memory of all its entries in bytes, including consumed ones as long as they are remembered.
    pub bytes: u64,
}

impl Holding {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.tokens += u64::from(!entry.is_consumed());
        self.bytes += entry.memory_bytes() as u64;
    }

    pub(super) fn subtract(&mut self, entry: &Entry) {
        self.tokens -= u64::from(!entry.is_consumed());
        self.bytes -= entry.memory_bytes() as u64;
    }
}

/// Totals over all entries, owned by the thread that applies records.
pub struct Accounting {
    /// A timer for each entry.
    pub wheel: Wheel,
    /// The totals.
    pub totals: Totals,
}

/// Counts and sizes of entries.
#[derive(Default)]
pub struct Totals {
    /// Entries with a use left.
    pub tokens: u64,
    /// All entries, including consumed ones as long as they are remembered.
    pub entries: u64,
    /// Their memory, in bytes.
    pub memory_bytes: u64,
    /// Changes for the cleaner, by segment, since they were last taken.
    pub usage: HashMap<JournalPart, Usage, RandomState>,
    /// Holdings by namespace, without empty ones.
    pub holdings: HashMap<NamespaceTag, Holding, RandomState>,
    /// Memory of entries that were removed or replaced since the store was last flushed, in bytes.
    retired_bytes: u64,
}

/// Memory of removed entries that may wait to be freed, in bytes. The store only counts entries and
/// does not know their sizes: a thousand entries can be a gigabyte.
const RETIRED_BYTES_MAX: u64 = 1 << 20;

impl Accounting {
    /// The accounting of an empty store.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self { wheel: Wheel::new(now), totals: Totals::default() }
    }

    /// Adds another accounting, of other entries.
    pub fn merge(&mut self, other: Self) {
        self.wheel.merge(other.wheel);
        self.totals.merge(other.totals);
    }

    /// Memory of all entries, in bytes, and of the timers of those that were removed before their
    /// deadline.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let stale = (self.wheel.len() as u64).saturating_sub(self.totals.entries);
        self.totals.memory_bytes + stale * TIMER_BYTES
    }
}

impl Totals {
    fn merge(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.entries += other.entries;
        self.memory_bytes += other.memory_bytes;
        self.retired_bytes += other.retired_bytes;
        for (segment, usage) in other.usage {
            let own = self.usage.entry(segment).or_default();
            own.live_bytes += usage.live_bytes;
            own.latest_deadline = own.latest_deadline.max(usage.latest_deadline);
        }
        for (tag, holding) in other.holdings {
            let own = self.holdings.entry(tag).or_default();
            own.tokens += holding.tokens;
            own.bytes += holding.bytes;
        }
    }

    pub(super) fn add(&mut self, digest: &Digest, entry: &Entry) {
        self.holdings.entry(digest.tag()).or_default().add(entry);
        self.entries += 1;
        self.tokens += u64::from(!entry.is_consumed());
        self.memory_bytes += entry.memory_bytes() as u64;
        let usage = self.usage.entry(entry.segment()).or_default();
        usage.live_bytes += log_bytes(entry);
        usage.latest_deadline = usage.latest_deadline.max(entry.deadline());
    }

    pub(super) fn subtract(&mut self, digest: &Digest, entry: &Entry) {
        let holding = self.holdings.entry(digest.tag()).or_default();
        holding.subtract(entry);
        if *holding == Holding::default() {
            self.holdings.remove(&digest.tag());
        }
        self.entries -= 1;
        self.tokens -= u64::from(!entry.is_consumed());
        self.memory_bytes -= entry.memory_bytes() as u64;
        self.usage.entry(entry.segment()).or_default().live_bytes -= log_bytes(entry);
    }

    /// Counts memory that can be freed once it has no readers, and flushes the store beyond
    /// a limit.
    pub(super) fn retire(&mut self, store: &Pinned<'_>, entry: &Entry) {
        self.retired_bytes += entry.memory_bytes() as u64;
        if self.retired_bytes > RETIRED_BYTES_MAX {
            self.retired_bytes = 0;
            store.flush();
        }
    }

    /// Records that a use was consumed in place; with a key, more bytes would have to be relocated.
    pub(super) fn note_key(&mut self, entry: &Entry, has_key: bool) {
        if has_key {
            let usage = self.usage.entry(entry.segment()).or_default();
            usage.live_bytes += size_of::<ConsumeKey>() as i64;
        }
    }

    /// Like subtracting `before` and adding `after`, but keeps the timer, because the deadline is
    /// the same.
    pub(super) fn replace(&mut self, digest: &Digest, before: &Entry, after: &Entry) {
        let holding = self.holdings.entry(digest.tag()).or_default();
        holding.add(after);
        holding.subtract(before);
        self.tokens -= u64::from(!before.is_consumed());
        self.tokens += u64::from(!after.is_consumed());
        self.memory_bytes -= before.memory_bytes() as u64;
        self.memory_bytes += after.memory_bytes() as u64;
        let usage = self.usage.entry(before.segment()).or_default();
        usage.live_bytes += log_bytes(after) - log_bytes(before);
    }
}

/// Whether anything depends on the entry being in the log: it has a use left, its token must not
/// be issued again, or a retry may ask for its answer.
#[must_use]
pub fn must_be_relocated(entry: &Entry) -> bool {
    !entry.is_consumed() || entry.is_derived() || !entry.keys().is_empty()
}

pub(super) fn log_bytes(entry: &Entry) -> i64 {
    if must_be_relocated(entry) {
        carry_len(entry.payload_len(), entry.keys().len()) as i64
    } else {
        0
    }
}

/// Stores an entry, in the place of what is there.
pub(in crate::engine) fn put(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    entry: Entry,
) {
    put_over(store, accounting, digest, entry, store.get(&digest));
}

/// The same for a caller who has looked up what is there: `before`.
pub(super) fn put_over(
    store: &Pinned<'_>,
    accounting: &mut Accounting,
    digest: Digest,
    entry: Entry,
    before: Option<&Entry>,
) {
    accounting.totals.add(&digest, &entry);
    // An entry has a timer that comes by its deadline; the one that takes its place keeps it, or a
    // token that is put again and again would have a timer for each time.
    let deadline = entry.deadline();
    if before.is_none_or(|before| deadline < before.deadline()) {
        accounting.wheel.schedule(digest.prefix(), deadline);
    }
    if let Some(before) = store.insert(digest, entry) {
        accounting.totals.subtract(&digest, before);
        accounting.totals.retire(store, before);
    }
}

pub(super) fn remove(store: &Pinned<'_>, totals: &mut Totals, digest: &Digest) {
    if let Some(entry) = store.remove(digest) {
        totals.subtract(digest, entry);
        totals.retire(store, entry);
    }
}
