//! `apply`: the one place where a record changes the store.
//!
//! Live changes, recovery and, later, a replicated log all go through it. It is total and
//! deterministic: the outcome depends on the record, the log time of its frame and the entries
//! that live at that time, on no clock and no I/O. Who wins is decided here, in log order.
//!
//! Two rules make a replay that begins at any oldest segment give the same living entries: a
//! record about an unknown entry changes nothing that lives, and a Carry is a whole entry and takes
//! the place of what is there. The third, about what is left of a consumed token, is in `trace`.

use std::collections::HashMap;

use ahash::RandomState;

use crate::model::entry::{Entry, Parts, SegmentSlot, TIMER_BYTES};
use crate::model::namespace::NamespaceTag;
use crate::model::record::{Record, carry_len};
use crate::model::time::UnixMillis;
use crate::model::token::{ConsumeKey, Digest, Prefix};
use crate::store::Pinned;
use crate::timer_wheel::{Verdict, Wheel};

mod trace;

pub use trace::forget;
pub(super) use trace::is_trace;
use trace::{leave_trace, trace};

/// Where in the log a record stands.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Log time of its frame.
    pub time: UnixMillis,
    /// Segment of its frame.
    pub segment: SegmentSlot,
}

/// What a record did.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied<'g> {
    /// The entry is there.
    Issued { deadline: UnixMillis },
    /// The same was there before.
    Exists { deadline: UnixMillis },
    /// Something else was there before.
    Conflict,
    /// It was consumed and cannot be issued again before its deadline.
    AlreadyConsumed,
    /// A use was taken.
    Consumed { payload: &'g [u8] },
    /// The use was taken before, with the same key.
    Replayed { payload: &'g [u8] },
    /// Nothing to take, extend or answer with. `replay`: because it was consumed before.
    NotFound { replay: bool },
    /// The deadline is this now.
    Extended { deadline: UnixMillis },
    /// It is gone, or was not there.
    Revoked { was_alive: bool },
    /// Nobody waits for what this record did.
    Silent,
}

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
    fn add(&mut self, entry: &Entry) {
        self.tokens += u64::from(!entry.is_consumed());
        self.bytes += entry.memory_bytes() as u64;
    }

    fn subtract(&mut self, entry: &Entry) {
        self.tokens -= u64::from(!entry.is_consumed());
        self.bytes -= entry.memory_bytes() as u64;
    }
}

/// What is known about all entries together. Belongs to the thread that applies.
pub struct Ledger {
    /// A timer for each entry.
    pub wheel: Wheel,
    /// All else.
    pub tally: Tally,
}

/// Entries, counted.
#[derive(Default)]
pub struct Tally {
    /// Entries with a use left.
    pub tokens: u64,
    /// All entries, consumed ones included while they are remembered.
    pub entries: u64,
    /// Memory they take, in bytes.
    pub memory_bytes: u64,
    /// What the cleaner must learn, by segment, since it was last taken.
    pub usage: HashMap<SegmentSlot, Usage, RandomState>,
    /// By namespace; none that holds nothing.
    pub holdings: HashMap<NamespaceTag, Holding, RandomState>,
    /// Memory of entries that were removed or replaced since the store was last flushed, in bytes.
    retired_bytes: u64,
}

/// Memory of removed entries that may wait to be freed, in bytes. The store counts them and knows
/// nothing of their size: a thousand can be a gigabyte.
const RETIRED_BYTES_MAX: u64 = 1 << 20;

impl Ledger {
    /// The ledger of an empty store.
    #[must_use]
    pub fn new(now: UnixMillis) -> Ledger {
        Ledger { wheel: Wheel::new(now), tally: Tally::default() }
    }

    /// Adds what another ledger knows about other entries.
    pub fn merge(&mut self, other: Ledger) {
        self.wheel.merge(other.wheel);
        self.tally.merge(other.tally);
    }

    /// Memory of all entries, in bytes, and of the timers of those that were removed before their
    /// deadline.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let stale = (self.wheel.len() as u64).saturating_sub(self.tally.entries);
        self.tally.memory_bytes + stale * TIMER_BYTES
    }

    fn add(&mut self, digest: &Digest, entry: &Entry) {
        self.tally.add(digest, entry);
        self.wheel.schedule(digest.prefix(), entry.deadline());
    }
}

impl Tally {
    fn merge(&mut self, other: Tally) {
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

    fn add(&mut self, digest: &Digest, entry: &Entry) {
        self.holdings.entry(digest.tag()).or_default().add(entry);
        self.entries += 1;
        self.tokens += u64::from(!entry.is_consumed());
        self.memory_bytes += entry.memory_bytes() as u64;
        let usage = self.usage.entry(entry.segment()).or_default();
        usage.live_bytes += log_bytes(entry);
        usage.latest_deadline = usage.latest_deadline.max(entry.deadline());
    }

    fn subtract(&mut self, digest: &Digest, entry: &Entry) {
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
    fn retire(&mut self, store: &Pinned<'_>, entry: &Entry) {
        self.retired_bytes += entry.memory_bytes() as u64;
        if self.retired_bytes > RETIRED_BYTES_MAX {
            self.retired_bytes = 0;
            store.flush();
        }
    }

    /// A use was taken in place: with a key, more would have to be carried.
    fn note_key(&mut self, entry: &Entry, has_key: bool) {
        if has_key {
            let usage = self.usage.entry(entry.segment()).or_default();
            usage.live_bytes += size_of::<ConsumeKey>() as i64;
        }
    }

    /// As subtracting the one and adding the other, but the timer stays: the deadline is the same.
    fn replace(&mut self, digest: &Digest, before: &Entry, after: &Entry) {
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

fn log_bytes(entry: &Entry) -> i64 {
    if must_be_carried(entry) {
        carry_len(entry.payload_len(), entry.keys().len()) as i64
    } else {
        0
    }
}

/// Applies a record.
pub fn apply<'g>(
    store: &'g Pinned<'_>,
    ledger: &mut Ledger,
    record: &Record<'_>,
    at: Position,
) -> Applied<'g> {
    match *record {
        Record::Issue { digest, deadline, uses, peek, derived, payload } => {
            let parts = Parts {
                payload,
                deadline,
                issued_at: at.time,
                uses_left: uses,
                uses_total: uses,
                peek,
                derived,
                keys: &[],
            };
            issue(store, ledger, digest, &parts, at)
        }
        Record::Carry { digest, parts, keys } => {
            let keys: Vec<ConsumeKey> = keys.iter().collect();
            carry(store, ledger, digest, &Parts { keys: &keys, ..parts }, at);
            Applied::Silent
        }
        Record::Consume { digest, key, remembered_until } => {
            let until = remembered_until.filter(|until| *until > at.time);
            consume(store, ledger, digest, key, until, at)
        }
        Record::Extend { digest, deadline, life_ms_max } => {
            extend(store, ledger, &digest, deadline, life_ms_max, at)
        }
        Record::Revoke { digest } => {
            // What was consumed stays: an order that was paid is not issued again.
            let was_alive = store.get(&digest).is_some_and(|entry| entry.is_alive(at.time));
            if was_alive {
                remove(store, &mut ledger.tally, &digest);
            }
            Applied::Revoked { was_alive }
        }
        Record::Time => Applied::Silent,
    }
}

/// What must be the same for two issues of one reference or key to be the same.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What the token stands for.
    pub payload: &'a [u8],
    /// Uses as issued.
    pub uses: u32,
    /// May be resolved without being consumed.
    pub peek: bool,
}

/// What an issue would come to, or nothing if it would win.
pub fn issue_refused(
    store: &Pinned<'_>,
    digest: &Digest,
    content: &Content<'_>,
    now: UnixMillis,
) -> Option<Applied<'static>> {
    let entry = store.get(digest)?;
    if entry.is_expired(now) || is_trace(entry) {
        None
    } else if entry.is_consumed() {
        Some(Applied::AlreadyConsumed)
    } else if entry.payload() == content.payload
        && entry.uses_total() == content.uses
        && entry.peek() == content.peek
    {
        Some(Applied::Exists { deadline: entry.deadline() })
    } else {
        Some(Applied::Conflict)
    }
}

/// What a consume would come to, or nothing if it would take a use.
pub fn consume_refused<'g>(
    store: &'g Pinned<'_>,
    digest: &Digest,
    key: Option<&ConsumeKey>,
    now: UnixMillis,
) -> Option<Applied<'g>> {
    match store.get(digest) {
        None => Some(Applied::NotFound { replay: false }),
        Some(entry) if entry.is_expired(now) => Some(Applied::NotFound { replay: false }),
        Some(entry) if key.is_some_and(|key| entry.has_key(key)) => {
            Some(Applied::Replayed { payload: entry.payload() })
        }
        Some(entry) if entry.is_consumed() => Some(Applied::NotFound { replay: true }),
        Some(_) => None,
    }
}

/// What becomes of a timer whose time has come: entries that are due are freed. Not a record:
/// nobody can see the difference between an entry that has expired and none.
pub fn expire(store: &Pinned<'_>, tally: &mut Tally, timer: Prefix, now: UnixMillis) -> Verdict {
    // Two digests may begin alike, and share their timers: whichever are due go together, and the
    // timer stays for what is not.
    while let Some((digest, entry)) = store.find(timer) {
        if !entry.is_expired(now) {
            return Verdict::Again(entry.deadline());
        }
        let digest = *digest;
        remove(store, tally, &digest);
    }
    Verdict::Done
}

fn issue(
    store: &Pinned<'_>,
    ledger: &mut Ledger,
    digest: Digest,
    parts: &Parts<'_>,
    at: Position,
) -> Applied<'static> {
    let content = Content { payload: parts.payload, uses: parts.uses_total, peek: parts.peek };
    if let Some(refused) = issue_refused(store, &digest, &content, at.time) {
        return refused;
    }
    put(store, ledger, digest, Entry::new(parts, at.segment));
    Applied::Issued { deadline: parts.deadline }
}

fn carry(store: &Pinned<'_>, ledger: &mut Ledger, digest: Digest, parts: &Parts<'_>, at: Position) {
    match store.get(&digest) {
        // Live, the entry is as it was a moment ago, when the Carry was written: only where it
        // stands in the log has changed.
        Some(entry) if is_same(entry, parts) => {
            let bytes = log_bytes(entry);
            ledger.tally.usage.entry(entry.segment()).or_default().live_bytes -= bytes;
            entry.set_segment(at.segment);
            let usage = ledger.tally.usage.entry(at.segment).or_default();
            usage.live_bytes += bytes;
            usage.latest_deadline = usage.latest_deadline.max(entry.deadline());
        }
        _ => put(store, ledger, digest, Entry::new(parts, at.segment)),
    }
}

fn is_same(entry: &Entry, parts: &Parts<'_>) -> bool {
    let own = entry.parts();
    own.deadline == parts.deadline
        && own.issued_at == parts.issued_at
        && own.uses_left == parts.uses_left
        && own.keys == parts.keys
        && own.derived == parts.derived
        && own.peek == parts.peek
        && own.payload == parts.payload
}

fn consume<'g>(
    store: &'g Pinned<'_>,
    ledger: &mut Ledger,
    digest: Digest,
    key: Option<ConsumeKey>,
    remembered_until: Option<UnixMillis>,
    at: Position,
) -> Applied<'g> {
    if let Some(refused) = consume_refused(store, &digest, key.as_ref(), at.time) {
        // In a replay that begins behind its Issue.
        if let (None, Some(until)) = (store.get(&digest), remembered_until) {
            put(store, ledger, digest, trace(until, at));
        }
        return refused;
    }
    let Some(entry) = store.get(&digest) else {
        return Applied::NotFound { replay: false };
    };
    let left = entry.uses_left() - 1;
    if left > 0 && entry.take_use(key.as_ref()) {
        ledger.tally.note_key(entry, key.is_some());
        return Applied::Consumed { payload: entry.payload() };
    }
    if left == 0 && key.is_none() && entry.keys().is_empty() && !entry.is_derived() {
        return leave_trace(store, ledger, digest, remembered_until, at);
    }
    let mut keys = entry.keys().to_vec();
    keys.extend(key);
    // The payload of a consumed token is kept only as long as a retry can ask for it.
    let payload = if left == 0 && keys.is_empty() { &[] } else { entry.payload() };
    let parts = Parts { payload, uses_left: left, keys: &keys, ..entry.parts() };
    let successor = Entry::new(&parts, entry.segment());
    ledger.tally.replace(&digest, entry, &successor);
    match store.insert(digest, successor) {
        Some(before) => {
            ledger.tally.retire(store, before);
            Applied::Consumed { payload: before.payload() }
        }
        None => Applied::NotFound { replay: false },
    }
}

fn extend(
    store: &Pinned<'_>,
    ledger: &mut Ledger,
    digest: &Digest,
    deadline: UnixMillis,
    life_ms_max: u64,
    at: Position,
) -> Applied<'static> {
    let Some(entry) = store.get(digest).filter(|entry| entry.is_alive(at.time)) else {
        return Applied::NotFound { replay: false };
    };
    let latest = UnixMillis(entry.issued_at().0.saturating_add(life_ms_max)).min(UnixMillis::MAX);
    let deadline = deadline.min(latest).max(entry.deadline());
    entry.set_deadline(deadline);
    let usage = ledger.tally.usage.entry(entry.segment()).or_default();
    usage.latest_deadline = usage.latest_deadline.max(deadline);
    Applied::Extended { deadline }
}

fn put(store: &Pinned<'_>, ledger: &mut Ledger, digest: Digest, entry: Entry) {
    ledger.add(&digest, &entry);
    if let Some(before) = store.insert(digest, entry) {
        ledger.tally.subtract(&digest, before);
        ledger.tally.retire(store, before);
    }
}

fn remove(store: &Pinned<'_>, tally: &mut Tally, digest: &Digest) {
    if let Some(entry) = store.remove(digest) {
        tally.subtract(digest, entry);
        tally.retire(store, entry);
    }
}
