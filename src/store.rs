//! The store: every live entry in memory, by its digest.
//!
//! It consists of shards, which are lock-free hash maps (papaya) with one shared collector (seize):
//! a reader enters it once, for any number of shards. Any thread reads; one thread, the committer,
//! writes (during recovery several threads write, each to its own shards).
//!
//! The shards are of different sizes on purpose. A table doubles when it is full. Shards of equal
//! size would all double at the same number of entries, so that memory would jump and all writes
//! would slow down at the same time. The share of shard i is proportional to 2^(i/64): at any
//! number of entries the tables of some shards have just doubled and those of others are nearly
//! full, and the sum grows evenly.

use std::sync::Arc;

use ahash::RandomState;
use seize::{Collector, Guard, LocalGuard};

use crate::model::entry::Entry;
use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Prefix};

mod moments;
mod parts;

pub use moments::Together;
pub use parts::SHARDS;

use moments::Moments;
use parts::{PART_BITS, PARTS, parts};

/// Look-ups that are started before the first result is read, so that their cache misses overlap.
const LOOKAHEAD: usize = 32;

/// Retired entries that a thread collects before it tries to free them. A try costs a memory
/// barrier on every core; the committer also tries at every tick, whatever their number.
const RETIRED_BATCH: usize = 1_024;

type Shard = papaya::HashMap<Digest, Entry, RandomState>;

/// All entries, by digest.
pub struct Store {
    shards: Box<[Shard]>,
    /// The shard of each part of the digest space.
    parts: Box<[u8; PARTS]>,
    collector: Arc<Collector>,
    moments: Moments,
}

impl Store {
    /// An empty store, which uses almost no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hasher(&RandomState::new())
    }

    /// Like [`Store::new`], with hash keys of the caller's choice, so that a measurement can be
    /// repeated: the position of an entry in its table depends on them. A server uses random ones.
    #[must_use]
    pub fn with_hasher(hasher: &RandomState) -> Self {
        let collector = Arc::new(Collector::new().batch_size(RETIRED_BATCH));
        let shard = || {
            papaya::HashMap::builder()
                .hasher(hasher.clone())
                .shared_collector(Arc::clone(&collector))
                .build()
        };
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { shards, parts: Box::new(parts()), collector, moments: Moments::default() }
    }

    /// Enters the collector for a number of operations.
    ///
    /// No removed entry is freed while the guard exists: keep it for a short time, and never across
    /// an await.
    #[must_use]
    pub fn pin(&self) -> Pinned<'_> {
        Pinned { store: self, guard: self.collector.enter() }
    }

    /// Like [`Store::pin`], for a reader: changes that are made together are over, or begin later.
    /// Whoever has seen one of them does not find the others undone after that.
    #[must_use]
    pub fn pin_settled(&self) -> Pinned<'_> {
        self.moments.settled();
        self.pin()
    }

    /// Begins changes that readers must see together: from here until the result is dropped no
    /// reader begins. Those that have begun may still see some of them.
    pub fn change_together(&self) -> Together<'_> {
        self.moments.change_together()
    }

    /// Calls `found` with the payload of `digest` at `now`. The resolve path: no lock, no copy, and
    /// no wait except while changes are made that must be seen together.
    pub fn resolve<R>(
        &self,
        digest: &Digest,
        now: UnixMillis,
        found: impl FnOnce(&[u8]) -> R,
    ) -> Lookup<R> {
        self.moments.settled();
        let guard = self.collector.enter();
        Lookup::of(self.shard(digest).get(digest, &guard), now).map(found)
    }

    /// Calls `each` with the payload of every digest, as [`Store::look_up_many`] finds them.
    pub fn resolve_many(
        &self,
        digests: &[Digest],
        now: UnixMillis,
        each: impl FnMut(Lookup<&[u8]>),
    ) {
        self.look_up_many(digests, now, |found| found.iter().copied().for_each(each));
    }

    /// Calls `read` with the results of all look-ups at `now`, in their order, under one guard. All are
    /// of one moment: of changes that are made together, either all or none are seen.
    pub fn look_up_many<R>(
        &self,
        digests: &[Digest],
        now: UnixMillis,
        read: impl FnOnce(&[Lookup<&[u8]>]) -> R,
    ) -> R {
        let guard = self.collector.enter();
        if let [digest] = digests {
            self.moments.settled();
            return read(&[Lookup::of(self.shard(digest).get(digest, &guard), now)]);
        }
        let (mut few, mut many) = ([Lookup::Unknown; LOOKAHEAD], Vec::new());
        let found = few.get_mut(..digests.len()).unwrap_or_else(|| {
            many.resize(digests.len(), Lookup::Unknown);
            &mut many
        });
        self.moments.read_one(|| self.look_up(digests, now, &guard, found));
        read(found)
    }

    /// Calls `look` to look up several entries. All are of one moment: `look` is called again, from
    /// its begin, where changes that are made together came between.
    pub fn at_one_moment(&self, mut look: impl FnMut(&Pinned<'_>)) {
        let pinned = self.pin();
        self.moments.read_one(|| look(&pinned));
    }

    fn look_up<'g>(
        &'g self,
        digests: &[Digest],
        now: UnixMillis,
        guard: &'g LocalGuard<'_>,
        found: &mut [Lookup<&'g [u8]>],
    ) {
        for (digests, found) in digests.chunks(LOOKAHEAD).zip(found.chunks_mut(LOOKAHEAD)) {
            let mut entries = [None; LOOKAHEAD];
            for (entry, digest) in entries.iter_mut().zip(digests) {
                *entry = self.shard(digest).get(digest, guard);
            }
            // Reads the first byte of each payload, so that those cache misses overlap too.
            let touch = |entry: &&Entry| entry.payload().first().copied().unwrap_or(0);
            std::hint::black_box(entries.iter().flatten().map(touch).fold(0, |all, b| all ^ b));
            for (found, entry) in found.iter_mut().zip(&entries) {
                *found = Lookup::of(*entry, now);
            }
        }
    }

    /// Reserves room for a total of `additional` entries in the shards that `belongs` selects, so
    /// that their tables need not grow step by step. A table becomes no larger than it would have
    /// grown by itself.
    pub fn reserve(&self, additional: usize, belongs: impl Fn(usize) -> bool) {
        let guard = self.collector.enter();
        let mut shares = [0; SHARDS];
        for shard in self.parts.iter().map(|shard| usize::from(*shard)) {
            shares[shard] += usize::from(belongs(shard));
        }
        let all: usize = shares.iter().sum();
        for (shard, share) in self.shards.iter().zip(shares).filter(|(_, share)| *share > 0) {
            let (len, more) = (shard.len(), additional * share / all);
            // With `reserve` the map keeps a quarter of a table free; when it grows by itself,
            // about a sixth.
            let asked = ((len + more) / 10 * 9).saturating_sub(len);
            shard.reserve(asked, &guard);
        }
    }

    /// The shard of a digest, 0 to [`SHARDS`] − 1.
    #[must_use]
    pub fn shard_of(&self, prefix: Prefix) -> usize {
        // The map uses bits of ahash with a key of this process, which do not depend on the bits
        // that choose the shard.
        usize::from(self.parts[(prefix.0 >> (u64::BITS - PART_BITS)) as usize])
    }

    /// Number of entries, including consumed and expired ones that were not freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    /// True if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, digest: &Digest) -> &Shard {
        &self.shards[self.shard_of(digest.prefix())]
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of a look-up for a resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// The token resolves.
    Found(T),
    /// The token was consumed before, so this is a replay.
    Consumed,
    /// The entry exists, but its deadline has passed.
    Expired,
    /// The token is unknown, or can only be consumed.
    Unknown,
}

impl<'g> Lookup<&'g [u8]> {
    /// What a look-up at `now` finds in `entry`.
    #[must_use]
    pub fn of(entry: Option<&'g Entry>, now: UnixMillis) -> Self {
        match entry {
            Some(entry) if entry.is_resolvable(now) => Lookup::Found(entry.payload()),
            Some(entry) if entry.is_expired(now) => Lookup::Expired,
            Some(entry) if entry.is_consumed() => Lookup::Consumed,
            _ => Lookup::Unknown,
        }
    }

    /// Replaces the payload.
    #[must_use]
    pub fn map<R>(self, found: impl FnOnce(&'g [u8]) -> R) -> Lookup<R> {
        match self {
            Lookup::Found(payload) => Lookup::Found(found(payload)),
            Lookup::Consumed => Lookup::Consumed,
            Lookup::Expired => Lookup::Expired,
            Lookup::Unknown => Lookup::Unknown,
        }
    }
}

/// The entered store: references that it returns stay valid as long as this guard exists.
pub struct Pinned<'s> {
    store: &'s Store,
    guard: LocalGuard<'s>,
}

impl Pinned<'_> {
    /// The entry of `digest`, whatever its state.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&Entry> {
        self.store.shard(digest).get(digest, &self.guard)
    }

    /// An entry whose digest begins with `prefix`. Among a hundred million digests, two have the
    /// same prefix with a probability of 1 in 3,700; then either entry is returned.
    #[must_use]
    pub fn find(&self, prefix: Prefix) -> Option<(&Digest, &Entry)> {
        let shard = &self.store.shards[self.store.shard_of(prefix)];
        shard.get_key_value(&prefix, &self.guard)
    }

    /// Inserts an entry, and returns the one that it replaces.
    pub fn insert(&self, digest: Digest, entry: Entry) -> Option<&Entry> {
        self.store.shard(&digest).insert(digest, entry, &self.guard)
    }

    /// Removes an entry and returns it.
    pub fn remove(&self, digest: &Digest) -> Option<&Entry> {
        self.store.shard(digest).remove(digest, &self.guard)
    }

    /// Tries to free removed entries at once; otherwise retired entries wait until there are more
    /// of them.
    pub fn flush(&self) {
        self.guard.flush();
    }

    /// Calls `each` with every entry. Entries that are inserted or removed meanwhile may be
    /// included or not.
    pub fn for_each(&self, mut each: impl FnMut(&Digest, &Entry)) {
        for shard in &self.store.shards {
            for (digest, entry) in shard.iter(&self.guard) {
                each(digest, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::{JournalPart, Parts};

    fn digest(n: u64) -> Digest {
        let mut bytes = [0; 16];
        // An odd multiplier spreads consecutive numbers over the whole range.
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        Digest::from_bytes(bytes)
    }

    fn entry(payload: &[u8], deadline: u64, uses_left: u32, peek: bool) -> Entry {
        let parts = Parts {
            payload,
            deadline: UnixMillis(deadline),
            issued_at: UnixMillis(0),
            uses_left,
            uses_total: 1,
            peek,
            derived: false,
            keys: &[],
        };
        Entry::new(&parts, JournalPart(0))
    }

    #[test]
    fn a_batch_answers_in_the_order_asked() {
        let store = Store::new();
        let pinned = store.pin();
        for n in 0..1_000 {
            pinned.insert(digest(n), entry(n.to_string().as_bytes(), 100, 1, true));
        }
        let asked: Vec<_> = (0..2_000).rev().map(digest).collect();
        let mut answers = Vec::new();
        store.resolve_many(&asked, UnixMillis(1), |found| {
            answers.push(match found {
                Lookup::Found(payload) => Some(String::from_utf8(payload.to_vec()).unwrap()),
                _ => None,
            });
        });
        let expected: Vec<_> =
            (0..2_000).rev().map(|n| (n < 1_000).then(|| n.to_string())).collect();
        assert_eq!(answers, expected);
    }

    #[test]
    fn p3_a_look_up_tells_consumed_expired_and_unknown_apart() {
        let store = Store::new();
        let pinned = store.pin();
        pinned.insert(digest(1), entry(b"1", 100, 1, true));
        pinned.insert(digest(2), entry(b"", 100, 0, true));
        pinned.insert(digest(3), entry(b"3", 100, 1, false));
        let at = |n, now| store.resolve(&digest(n), UnixMillis(now), <[u8]>::to_vec);
        assert_eq!(at(1, 99), Lookup::Found(b"1".to_vec()));
        assert_eq!(at(1, 100), Lookup::Expired);
        assert_eq!(at(2, 99), Lookup::Consumed);
        assert_eq!(at(2, 100), Lookup::Expired);
        assert_eq!(at(3, 99), Lookup::Unknown);
        assert_eq!(at(4, 99), Lookup::Unknown);
    }

    #[test]
    fn the_prefix_alone_finds_an_entry() {
        let store = Store::new();
        let pinned = store.pin();
        pinned.insert(digest(7), entry(b"7", 100, 1, true));
        let (found, entry) = pinned.find(digest(7).prefix()).unwrap();
        assert_eq!((*found, entry.payload()), (digest(7), &b"7"[..]));
        assert!(pinned.find(digest(8).prefix()).is_none());
        assert!(pinned.remove(&digest(7)).is_some());
        assert!(store.is_empty());
    }
}
