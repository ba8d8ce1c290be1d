//! The tokens of a census: a table of 24 bytes for each.

use ahash::RandomState;

use crate::model::time::UnixMillis;
use crate::model::token::{Digest, Prefix};

/// A live token in 24 bytes: 92 bits of its digest, its time of issue, its deadline, and its uses
/// left. All zero: an empty slot. Among a thousand million tokens, two have the same 92 bits with a
/// probability of one in ten thousand million.
#[derive(Clone, Copy, Default)]
pub(super) struct Token([u64; 3]);

const ID_BITS: u32 = 21;
const USES_BITS: u32 = 14;
const USES_SHIFT: u32 = ID_BITS - USES_BITS;

impl Token {
    pub(super) fn new(
        digest: &Digest,
        issued: UnixMillis,
        deadline: UnixMillis,
        uses: u32,
    ) -> Self {
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

    pub(super) fn deadline(&self) -> UnixMillis {
        UnixMillis(self.0[2] >> ID_BITS)
    }

    pub(super) fn uses(&self) -> u32 {
        (self.0[2] >> USES_SHIFT) as u32 & ((1 << USES_BITS) - 1)
    }

    pub(super) fn set_uses(&mut self, uses: u32) {
        let others = self.0[2] & !(((1 << USES_BITS) - 1) << USES_SHIFT);
        self.0[2] = others | u64::from(uses) << USES_SHIFT;
    }

    pub(super) fn extend(&mut self, deadline: UnixMillis, life_ms_max: u64) {
        let latest = UnixMillis(self.issued_at().0.saturating_add(life_ms_max));
        self.set_deadline(deadline.min(latest).min(UnixMillis::MAX).max(self.deadline()));
    }

    pub(super) fn set_deadline(&mut self, deadline: UnixMillis) {
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
pub(super) struct Table {
    pub(super) slots: Vec<Token>,
    len: usize,
}

impl Table {
    pub(super) fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.slots.iter().filter(|token| !token.is_none())
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Token>()) as u64
    }

    /// The home slot of a hash. Tokens are nearly in the order of their hashes, whatever the
    /// table's size, so that one table is copied into another in one sweep.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> u64::BITS) as usize
    }

    pub(super) fn find(&self, hash: u64, digest: &Digest) -> Option<usize> {
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
    pub(super) fn put(&mut self, token: Token, now: UnixMillis, hasher: &RandomState) -> bool {
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
    pub(super) fn remove(&mut self, at: usize, hasher: &RandomState) {
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
