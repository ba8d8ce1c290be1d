//! The review: a walk through all slots in search of timers that name nothing any more.
//!
//! It begins when there are too many of them, and takes a slot at a time, in slices. It is owed as
//! much as lets it keep pace with what is removed, so that they never become many more, and at
//! least so much that it ends within a minute.

use crate::model::token::Prefix;

use super::chain::Chain;
use super::level::{LEVELS, Level, SLOT_BITS, SLOTS, TICK_MS};

/// Timers that may name nothing before any are looked for, beside a quarter of the named ones:
/// 128 KiB.
pub(super) const STALE_MIN: usize = 1 << 14;
/// The others: one for each so many that name something.
pub(super) const NAMED_PER_STALE: usize = 4;
/// Timers asked about for each that has come to name nothing since the review began: it is through
/// before these are as many again as let it begin.
const ASKED_PER_STALE: usize = 2 * NAMED_PER_STALE;
/// How long a review takes at most, in ticks, if the budget allows.
const TICKS_MAX: u64 = 60_000 / TICK_MS;

/// Where the review stands.
#[derive(Default)]
pub(super) struct Review {
    is_running: bool,
    /// The next slot to look into, counted through all levels but the finest: what is in that one
    /// is due within two seconds.
    next: usize,
    /// What is left of a slot: its level, its number, its timers.
    level: usize,
    number: u64,
    chain: Chain,
    /// Timers that should have been asked about by now.
    owed: usize,
    /// Timers in the wheel when that was last counted.
    len: usize,
    /// By how many they were more than the things that have timers.
    surplus: usize,
    /// Of these, those that the last review has left: second timers of one thing.
    left: usize,
}

impl Review {
    /// There are `len` timers for `named` things. Begins where that is too many.
    pub(super) fn note(&mut self, len: usize, named: usize) {
        let surplus = len.saturating_sub(named);
        let more = surplus.saturating_sub(self.surplus);
        (self.len, self.surplus) = (len, surplus);
        self.left = self.left.min(surplus);
        if self.is_running {
            self.owed = self.owed.saturating_add(more.saturating_mul(ASKED_PER_STALE));
        } else if surplus - self.left > named / NAMED_PER_STALE + STALE_MIN {
            self.begin();
        }
    }

    pub(super) fn begin(&mut self) {
        (self.is_running, self.next) = (true, 0);
    }

    /// So many ticks have come.
    pub(super) fn owe(&mut self, elapsed: u64) {
        if self.is_running {
            let share = (self.len as u64).saturating_mul(elapsed).div_ceil(TICKS_MAX);
            self.owed = self.owed.saturating_add(share as usize);
        }
    }

    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// Gives back what is left of a slot of this level, and its number, if that is not beyond
    /// `next`: it has begun, or is the next and being emptied.
    pub(super) fn give_back(&mut self, level: usize, next: u64) -> Option<(u64, Chain)> {
        let is_near = self.level == level && self.number <= next && !self.chain.is_empty();
        is_near.then(|| (self.number, std::mem::take(&mut self.chain)))
    }

    /// Ends, and gives back what is left of a slot.
    pub(super) fn end(&mut self) -> Chain {
        (self.is_running, self.owed) = (false, 0);
        // Whatever the surplus is when it is next counted.
        self.left = usize::MAX;
        std::mem::take(&mut self.chain)
    }

    /// Takes the timers that are to be asked about next; none at the end of the walk.
    pub(super) fn next_turn(
        &mut self,
        levels: &mut [Level; LEVELS],
        tick: u64,
        turn: &mut Vec<Prefix>,
    ) {
        while self.chain.is_empty() {
            let (level, slot) = (1 + self.next / SLOTS as usize, self.next as u64 % SLOTS);
            if level >= LEVELS {
                self.end();
                return;
            }
            self.next += 1;
            let now = tick >> (SLOT_BITS * level as u32);
            (self.level, self.number) = (level, now + (slot.wrapping_sub(now) % SLOTS));
            self.chain = levels[level].take(self.number);
        }
        self.chain.pop_into(turn);
        self.owed = self.owed.saturating_sub(turn.len());
    }
}
