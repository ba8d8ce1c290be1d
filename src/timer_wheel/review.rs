//! The review: a scan of all slots for stale timers, whose entries no longer exist.
//!
//! It begins when there are too many of them, and scans one slot at a time, in slices. Its share of
//! each turn is large enough to keep pace with removals, so that the number of stale timers stays
//! bounded, and to end within a minute.

use crate::model::token::Prefix;

use super::chain::Chain;
use super::level::{LEVELS, Level, SLOT_BITS, SLOTS, TICK_MS};
use super::sorter::Sorter;

/// Stale timers that are tolerated without a review, in addition to a quarter of the live ones: 128
/// KiB.
pub(super) const STALE_MIN: usize = 1 << 14;
/// The tolerated fraction: one stale timer for this number of live ones.
pub(super) const NAMED_PER_STALE: usize = 4;
/// Timers scanned for each one that became stale since the review began: so the review ends before
/// the number of new stale ones reaches the threshold again.
const ASKED_PER_STALE: usize = 2 * NAMED_PER_STALE;
/// Maximum duration of a review in ticks, if the budget allows.
const TICKS_MAX: u64 = 60_000 / TICK_MS;

/// State of the review.
#[derive(Default)]
pub(super) struct Review {
    is_running: bool,
    /// The next slot to scan, counted through all levels but the finest, whose timers are due
    /// within two seconds.
    next: usize,
    /// The rest of a slot: its level, its number, its timers.
    level: usize,
    number: u64,
    timers: Sorter,
    /// Timers that should have been scanned by now.
    owed: usize,
    /// Timers in the wheel at the last count.
    len: usize,
    /// Excess of timers over entries at the last count.
    surplus: usize,
    /// The part of the excess that the last review could not remove: second timers of one entry, which
    /// were in different slots. The next one finds them in one slot.
    left: usize,
}

impl Review {
    /// Records `len` timers for `named` entries, and begins a review if there are too many timers.
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

    /// Adds the share for the elapsed ticks.
    pub(super) fn owe(&mut self, elapsed: u64) {
        if self.is_running {
            let share = (self.len as u64).saturating_mul(elapsed).div_ceil(TICKS_MAX);
            self.owed = self.owed.saturating_add(share as usize);
        }
    }

    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// Returns the rest of a slot of this level with its number, if the number is not beyond
    /// `next`: the slot has begun, or is the next and being emptied.
    pub(super) fn give_back(&mut self, level: usize, next: u64) -> Option<(u64, Chain)> {
        let is_near = self.level == level && self.number <= next && !self.timers.is_empty();
        is_near.then(|| (self.number, self.timers.take_all()))
    }

    /// Ends the review, and returns the rest of a slot.
    pub(super) fn end(&mut self) -> Chain {
        (self.is_running, self.owed) = (false, 0);
        // The surplus at the next count is the new baseline.
        self.left = usize::MAX;
        self.timers.take_all()
    }

    /// Takes the timers to be scanned next. None at the end of the scan, or if some had to be moved
    /// first, whose number is returned.
    pub(super) fn next_turn(
        &mut self,
        levels: &mut [Level; LEVELS],
        tick: u64,
        turn: &mut Vec<Prefix>,
    ) -> usize {
        while self.timers.is_empty() {
            let (level, slot) = (1 + self.next / SLOTS as usize, self.next as u64 % SLOTS);
            if level >= LEVELS {
                self.end();
                return 0;
            }
            self.next += 1;
            let now = tick >> (SLOT_BITS * level as u32);
            (self.level, self.number) = (level, now + (slot.wrapping_sub(now) % SLOTS));
            self.timers.begin(levels[level].take(self.number));
        }
        let moved = self.timers.next_turn(turn);
        self.owed = self.owed.saturating_sub(turn.len());
        moved
    }
}
