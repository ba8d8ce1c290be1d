//! What is known about all entries together: counted as each one changes.

use std::collections::HashMap;

use ahash::RandomState;

use crate::model::entry::{Entry, JournalPart, TIMER_BYTES};
use crate::model::namespace::NamespaceTag;
use crate::model::record::carry_len;
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest};
use crate::store::Pinned;
use crate::timer_wheel::Wheel;

/// What changed about a segment's living entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that would have to be carried, more or fewer.
    pub live_bytes: i64,
    /// The latest deadline set for an entry of this segment.
    pub latest_deadline: UnixMillis,
}

/// What a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Entries with a use left.
    pub tokens: u64,
    /// Memory of all its entries in bytes, consumed ones included while they are remembered.
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

/// What is known about all entries together. Belongs to the thread that applies.
pub struct Accounting {
    /// A timer for each entry.
    pub wheel: Wheel,
    /// All else.
    pub totals: Totals,
}

/// Entries, counted.
#[derive(Default)]
pub struct Totals {
    /// Entries with a use left.
    pub tokens: u64,
    /// All entries, consumed ones included while they are remembered.
    pub entries: u64,
    /// Memory they take, in bytes.
    pub memory_bytes: u64,
    /// What the cleaner must learn, by segment, since it was last taken.
    pub usage: HashMap<JournalPart, Usage, RandomState>,
    /// By namespace; none that holds nothing.
    pub holdings: HashMap<NamespaceTag, Holding, RandomState>,
    /// Memory of entries that were removed or replaced since the store was last flushed, in bytes.
    retired_bytes: u64,
}

/// Memory of removed entries that may wait to be freed, in bytes. The store counts them and knows
/// nothing of their size: a thousand can be a gigabyte.
const RETIRED_BYTES_MAX: u64 = 1 << 20;

impl Accounting {
    /// The accounting of an empty store.
    #[must_use]
    pub fn new(now: UnixMillis) -> Accounting {
        Accounting { wheel: Wheel::new(now), totals: Totals::default() }
    }

    /// Adds what another accounting knows about other entries.
    pub fn merge(&mut self, other: Accounting) {
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

    pub(super) fn add(&mut self, digest: &Digest, entry: &Entry) {
        self.totals.add(digest, entry);
        self.wheel.schedule(digest.prefix(), entry.deadline());
    }
}

impl Totals {
    fn merge(&mut self, other: Totals) {
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

    /// Counts memory that can be freed once nobody reads it, and has the store look for that.
    pub(super) fn retire(&mut self, store: &Pinned<'_>, entry: &Entry) {
        self.retired_bytes += entry.memory_bytes() as u64;
        if self.retired_bytes > RETIRED_BYTES_MAX {
            self.retired_bytes = 0;
            store.flush();
        }
    }

    /// A use was taken in place: with a key, more would have to be carried.
    pub(super) fn note_key(&mut self, entry: &Entry, has_key: bool) {
        if has_key {
            let usage = self.usage.entry(entry.segment()).or_default();
            usage.live_bytes += size_of::<ConsumeKey>() as i64;
        }
    }

    /// As subtracting the one and adding the other, but the timer stays: the deadline is the same.
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
pub fn must_be_carried(entry: &Entry) -> bool {
    !entry.is_consumed() || entry.is_derived() || !entry.keys().is_empty()
}

pub(super) fn log_bytes(entry: &Entry) -> i64 {
    if must_be_carried(entry) {
        carry_len(entry.payload_len(), entry.keys().len()) as i64
    } else {
        0
    }
}

pub(super) fn put(store: &Pinned<'_>, accounting: &mut Accounting, digest: Digest, entry: Entry) {
    accounting.add(&digest, &entry);
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
