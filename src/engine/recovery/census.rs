//! `jeton verify` and the check of a backup: reads a log offline, without the secret, and counts
//! its live tokens.
//!
//! A payload is checked and then dropped. 24 bytes are kept for each live token, in tables that are
//! 80 % to 90 % full: at most 32 bytes per token for the maximum number alive at one moment of the
//! log, plus a second copy of one shard's table while it is rebuilt. A consumed token is dropped,
//! because nothing in the log makes it alive again: an Issue is written only if it would win, or
//! next to its rivals in one frame.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ahash::RandomState;

use crate::engine::config::Config;
use crate::model::record::Record;
use crate::model::time::UnixMillis;
use crate::model::token::{DIGEST_LEN, Digest, Prefix};
use crate::store::{SHARDS, Store};
use crate::wal::{self, Shelf, Storage, Survey, survey};

use super::error::OpenError;
use super::progress::{Progress, threads};
use super::replay::{Counts, Partition, Piece, Placed, Records, read_log};
use super::verified::{Verified, VerifiedNode};

/// Reads the log of a directory that no server uses. It creates and changes nothing, so the
/// directory may be read-only.
///
/// # Errors
/// The errors of opening (damage with file and offset, or a directory in use), and a directory
/// without a log.
pub fn verify(dir: &Path, progress: &dyn Progress) -> Result<Verified, OpenError> {
    let _lock = wal::storage::disk::lock_to_read(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(Shelf::new(dir));
    match survey(&storage)? {
        Some(survey) => verify_survey(&survey, progress),
        None => Err(OpenError::NoLog { dir: dir.to_owned() }),
    }
}

/// Like [`verify`], on any storage, which may be empty.
///
/// # Errors
/// As for [`verify`].
#[expect(clippy::needless_pass_by_value, reason = "a survey keeps the storage")]
pub fn verify_on(
    storage: Arc<dyn Storage>,
    progress: &dyn Progress,
) -> Result<Verified, OpenError> {
    survey(&storage)?
        .map_or_else(|| Ok(Verified::default()), |survey| verify_survey(&survey, progress))
}

fn verify_survey(survey: &Survey, progress: &dyn Progress) -> Result<Verified, OpenError> {
    let taken = take(survey, threads(&Config::default()), progress)?;
    tracing::debug!(tokens = taken.tokens, peak_bytes = taken.peak_bytes, "the log was counted");
    Ok(Verified {
        segments: survey.segments.len() as u64,
        frames: taken.counts.frames,
        records: taken.counts.records,
        tokens: taken.tokens,
        bytes: survey.total_bytes(),
        torn_bytes: survey.tail.torn_bytes,
        lsn: survey.tail.end_lsn.0,
        last_time_ms: survey.tail.last_time_ms,
        replicated: taken.counts.replicated.map(|state| VerifiedNode {
            era: state.position.era.0,
            seq: state.position.seq,
            chain: state.chain.0,
            members: state.members.len() as u64,
            messages: taken.counts.messages,
        }),
    })
}

/// Result of counting.
#[derive(Debug)]
pub(in crate::engine) struct Taken {
    pub(in crate::engine) counts: Counts,
    /// Tokens with a use left at the log's last time.
    pub(in crate::engine) tokens: u64,
    /// Maximum memory used for tokens, in bytes.
    pub(in crate::engine) peak_bytes: u64,
}

/// Counts the tokens that are alive at the end of a log.
pub(in crate::engine) fn take(
    survey: &Survey,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Taken, OpenError> {
    // The store is only used for its partitions and stays empty.
    let store = Store::new();
    let mut parts: Vec<Census<'_>> = (0..threads).map(|_| Census::new(&store)).collect();
    let sorted = |digest| Some(store.shard_of(digest) % threads);
    let counts = read_log(survey, &mut parts, &sorted, progress)?;
    let last = UnixMillis(survey.tail.last_time_ms);
    let live = |table: &Table| table.tokens().filter(|token| token.deadline() > last).count();
    Ok(Taken {
        counts,
        tokens: parts.iter().flat_map(|part| &part.tables).map(live).sum::<usize>() as u64,
        peak_bytes: parts.iter().map(|part| part.peak_bytes).sum(),
    })
}

/// The live tokens of one partition.
struct Census<'s> {
    store: &'s Store,
    /// Tables by shard; those of other partitions stay empty.
    tables: Vec<Table>,
    hasher: RandomState,
    /// Uses consumed with a key in this frame of the piece: a rival with the same key consumes
    /// none. A later frame cannot have such a rival, because it would have been answered without
    /// the log.
    taken: (u32, HashSet<(Digest, [u8; DIGEST_LEN]), RandomState>),
    bytes: u64,
    peak_bytes: u64,
}

impl Partition for Census<'_> {
    fn take(&mut self, _piece: &Piece, own: Records<'_>) -> bool {
        self.taken.1.clear();
        for placed in own {
            self.apply(&placed);
        }
        true
    }
}

impl Census<'_> {
    fn new(store: &Store) -> Census<'_> {
        Census {
            store,
            tables: (0..SHARDS).map(|_| Table::default()).collect(),
            hasher: RandomState::new(),
            taken: Default::default(),
            bytes: 0,
            peak_bytes: 0,
        }
    }

    /// The part of [`crate::engine::state::apply`] that decides which tokens are alive.
    fn apply(&mut self, placed: &Placed<'_>) {
        let time = placed.position.time;
        let Some(digest) = placed.record.digest() else { return };
        let hash = self.hasher.hash_one(digest.prefix());
        let shard = self.store.shard_of(digest.prefix());
        let table = &mut self.tables[shard];
        let found = table.find(hash, digest);
        let live = found.filter(|at| table.slots[*at].deadline() > time);
        match placed.record {
            Record::Issue { digest, deadline, uses, .. } => {
                if live.is_none() {
                    self.put(shard, Token::new(&digest, time, deadline, uses), time);
                }
            }
            Record::Carry { digest, parts, .. } if parts.uses_left > 0 => {
                let token = Token::new(&digest, parts.issued_at, parts.deadline, parts.uses_left);
                self.put(shard, token, time);
            }
            Record::Carry { .. } => {
                if let Some(at) = found {
                    table.remove(at, &self.hasher);
                }
            }
            Record::Consume { digest, key, .. } => {
                let Some(at) = live else { return };
                if key.is_some_and(|key| !self.taken_in(placed.frame).insert((digest, key.0))) {
                    return;
                }
                let table = &mut self.tables[shard];
                match table.slots[at].uses() - 1 {
                    0 => table.remove(at, &self.hasher),
                    left => table.slots[at].set_uses(left),
                }
            }
            Record::Extend { deadline, life_ms_max, .. } => {
                if let Some(at) = live {
                    table.slots[at].extend(deadline, life_ms_max);
                }
            }
            Record::Revoke { .. } => {
                if let Some(at) = live {
                    table.remove(at, &self.hasher);
                }
            }
            Record::Time
            | Record::Origin(_)
            | Record::Member(_)
            | Record::Report(_)
            | Record::Ended(_) => {}
            Record::Decision(_) => {}
        }
    }

    fn taken_in(&mut self, frame: u32) -> &mut HashSet<(Digest, [u8; DIGEST_LEN]), RandomState> {
        let (last, taken) = &mut self.taken;
        if *last != frame {
            *last = frame;
            taken.clear();
        }
        taken
    }

    fn put(&mut self, shard: usize, token: Token, now: UnixMillis) {
        let table = &mut self.tables[shard];
        let before = table.bytes();
        let rebuilt = table.put(token, now, &self.hasher);
        let after = table.bytes();
        self.bytes = self.bytes + after - before;
        // While a table is rebuilt, the old one still exists.
        self.peak_bytes = self.peak_bytes.max(self.bytes + if rebuilt { before } else { 0 });
    }
}

/// A live token in 24 bytes: 92 bits of its digest, its time of issue, its deadline, and its uses
/// left. All zero: an empty slot. Among a thousand million tokens, two have the same 92 bits with a
/// probability of one in ten thousand million.
#[derive(Clone, Copy, Default)]
struct Token([u64; 3]);

const ID_BITS: u32 = 21;
const USES_BITS: u32 = 14;
const USES_SHIFT: u32 = ID_BITS - USES_BITS;

impl Token {
    fn new(digest: &Digest, issued: UnixMillis, deadline: UnixMillis, uses: u32) -> Self {
        let (id, uses) = (Self::id(digest), u64::from(uses));
        Self([
            id[0],
            issued.0 << ID_BITS | id[1],
            deadline.0 << ID_BITS | uses << USES_SHIFT | id[2],
        ])
    }

    /// The 92 identifying bits, in three parts of 64, 21 and 7 bits.
    fn id(digest: &Digest) -> [u64; 3] {
        let mut rest = [0; 8];
        rest.copy_from_slice(&digest.to_bytes()[8..]);
        let rest = u64::from_le_bytes(rest);
        [digest.prefix().0, rest & ((1 << ID_BITS) - 1), rest >> ID_BITS & ((1 << USES_SHIFT) - 1)]
    }

    fn is(&self, id: &[u64; 3]) -> bool {
        self.0[0] == id[0]
            && self.0[1] & ((1 << ID_BITS) - 1) == id[1]
            && self.0[2] & ((1 << USES_SHIFT) - 1) == id[2]
    }

    fn is_none(&self) -> bool {
        self.uses() == 0
    }

    fn issued_at(&self) -> UnixMillis {
        UnixMillis(self.0[1] >> ID_BITS)
    }

    fn deadline(&self) -> UnixMillis {
        UnixMillis(self.0[2] >> ID_BITS)
    }

    fn uses(&self) -> u32 {
        (self.0[2] >> USES_SHIFT) as u32 & ((1 << USES_BITS) - 1)
    }

    fn set_uses(&mut self, uses: u32) {
        let others = self.0[2] & !(((1 << USES_BITS) - 1) << USES_SHIFT);
        self.0[2] = others | u64::from(uses) << USES_SHIFT;
    }

    fn extend(&mut self, deadline: UnixMillis, life_ms_max: u64) {
        let latest = UnixMillis(self.issued_at().0.saturating_add(life_ms_max));
        let deadline = deadline.min(latest).min(UnixMillis::MAX).max(self.deadline());
        self.0[2] = deadline.0 << ID_BITS | self.0[2] & ((1 << ID_BITS) - 1);
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(Prefix(self.0[0]))
    }
}

// Each field fits in its bits.
const _: () = assert!(UnixMillis::MAX.0 < 1 << (u64::BITS - ID_BITS));
const _: () = assert!(crate::model::entry::USES_MAX < 1 << USES_BITS);

/// An open hash table with linear probing. Whenever it is nine tenths full, it is rebuilt a quarter
/// larger than its live tokens, so that its size follows their number.
#[derive(Default)]
struct Table {
    slots: Vec<Token>,
    len: usize,
}

impl Table {
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.slots.iter().filter(|token| !token.is_none())
    }

    fn bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Token>()) as u64
    }

    /// The home slot of a hash. Tokens are nearly in the order of their hashes, whatever the
    /// table's size, so that one table is copied into another in one sweep.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> u64::BITS) as usize
    }

    fn find(&self, hash: u64, digest: &Digest) -> Option<usize> {
        let id = Token::id(digest);
        self.probe(hash, |token| token.is(&id)).filter(|at| !self.slots[*at].is_none())
    }

    /// The first slot, from the home of `hash` on, that is free or has the wanted token.
    fn probe(&self, hash: u64, is_it: impl Fn(&Token) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        while !self.slots[at].is_none() && !is_it(&self.slots[at]) {
            at = self.after(at);
        }
        Some(at)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// Inserts a token, or replaces the one with its digest. Returns whether the table was rebuilt.
    fn put(&mut self, token: Token, now: UnixMillis, hasher: &RandomState) -> bool {
        let is_full = self.len >= self.slots.len() / 10 * 9;
        if is_full {
            let lives = |token: &&Token| token.deadline() > now;
            let live = self.tokens().filter(lives).count();
            let mut larger = Self { slots: vec![Token::default(); live + live / 4 + 16], len: 0 };
            for token in self.tokens().filter(lives) {
                larger.put_in_place(*token, hasher);
            }
            *self = larger;
        }
        self.put_in_place(token, hasher);
        is_full
    }

    fn put_in_place(&mut self, token: Token, hasher: &RandomState) {
        let id =
            [token.0[0], token.0[1] & ((1 << ID_BITS) - 1), token.0[2] & ((1 << USES_SHIFT) - 1)];
        if let Some(at) = self.probe(token.hash(hasher), |there| there.is(&id)) {
            self.len += usize::from(self.slots[at].is_none());
            self.slots[at] = token;
        }
    }

    /// Removes a token, and moves the following ones that would not be found any more.
    fn remove(&mut self, at: usize, hasher: &RandomState) {
        self.len -= 1;
        self.slots[at] = Token::default();
        let (mut free, mut next) = (at, self.after(at));
        while !self.slots[next].is_none() {
            let home = self.home(self.slots[next].hash(hasher));
            // Whether its home slot is between the free slot and its current slot, modulo the
            // table's size.
            let is_between = if free <= next {
                free < home && home <= next
            } else {
                free < home || home <= next
            };
            if !is_between {
                self.slots[free] = std::mem::take(&mut self.slots[next]);
                free = next;
            }
            next = self.after(next);
        }
    }
}
