//! The timing wheel: frees memory on time. It never decides whether something has expired.
//!
//! A hierarchical wheel (Varghese and Lauck, 1987) of six levels. A slot of the first level is a
//! tick of 16 ms; a slot of each further level is 64 times as long as one of the level before. A
//! timer is only eight bytes, the name of its entry, without the deadline. So the wheel asks the
//! owner for the deadline when the timer must be moved. If the deadline is in the future, the timer
//! moves to the slot of the deadline; otherwise the owner frees the entry and the timer ends. There
//! is no cancel: a timer whose entry no longer exists is dropped when the owner is asked about it.
//!
//! # Bounded work
//!
//! A level has 128 slots, twice as many as it needs to divide a slot of the next level. So the
//! timers of a coarse slot can be moved to finer levels evenly during the whole slot before it, and
//! it is empty when it begins. A turn has a budget of timers, and spends it in this order:
//!
//! 1. timers that are due, earliest tick first;
//! 2. timers of coarse slots that began before they were empty, after a jump of the clock or
//!    because the budget did not suffice;
//! 3. the share of each next slot that is due by now;
//! 4. the review, which scans all slots for stale timers, whose entries no longer exist.
//!
//! Scheduling is O(1), a turn costs O(levels) besides its budget, and the owner is asked about a
//! timer once per level, whatever the number of timers in its slot.

use crate::model::time::UnixMillis;
use crate::model::token::Prefix;

mod chain;
mod coming;
mod level;
mod review;
mod sorter;
#[cfg(test)]
mod tests;

pub use chain::TURN_LEN;
pub use level::{COMING_MS, TICK_MS};

use chain::Queue;
use level::{LEVELS, Level, SLOT_BITS, SLOTS, TICK_SHIFT};
use review::Review;

/// Timers that a review moves for the price of a question to the owner.
const MOVED_PER_ASKED: usize = 16;

/// The owner's answer about a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The entry no longer exists, or was freed just now.
    Done,
    /// The timer is due again at this instant.
    Again(UnixMillis),
}

/// A hierarchical timing wheel.
pub struct Wheel {
    /// The current tick.
    tick: u64,
    levels: [Level; LEVELS],
    /// Due timers that are not processed yet.
    due: Queue,
    /// Timers of coarse slots that began before all their timers had been moved.
    late: Queue,
    review: Review,
    len: usize,
    turn: Vec<Prefix>,
}

impl Wheel {
    /// An empty wheel at `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self {
            tick: now.0 >> TICK_SHIFT,
            levels: std::array::from_fn(|_| Level::default()),
            due: Queue::default(),
            late: Queue::default(),
            review: Review::default(),
            len: 0,
            turn: Vec::with_capacity(TURN_LEN),
        }
    }

    /// Number of timers in the wheel, including stale ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no timer is in the wheel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The start of the next tick in which a timer is due, if there is one within two seconds.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        let next = self.levels[0].occupied_after(self.tick).next();
        next.map(|tick| UnixMillis(tick << TICK_SHIFT))
    }

    /// Schedules `timer`, so that the owner is asked about it after `deadline`; a deadline in the
    /// past is due at the next turn. A caller that moves a deadline earlier must schedule again:
    /// the existing timer is then too late and finds no entry. A deadline that is moved later needs
    /// no second timer.
    pub fn schedule(&mut self, timer: Prefix, deadline: UnixMillis) {
        self.len += 1;
        self.place(timer, deadline);
    }

    fn place(&mut self, timer: Prefix, deadline: UnixMillis) {
        // The first tick that begins after the deadline.
        let tick = (deadline.0 >> TICK_SHIFT) + 1;
        if tick <= self.tick {
            self.due.push(timer);
            return;
        }
        // The finest level that reaches that far. Except in the finest level this is never the next
        // slot, which is being emptied, because half of a finer level reaches that far.
        let (mut number, mut now, mut level) = (tick, self.tick, 0);
        while number - now >= SLOTS && level < LEVELS - 1 {
            (number, now, level) = (number >> SLOT_BITS, now >> SLOT_BITS, level + 1);
        }
        // Beyond the coarsest level: the timer is rescheduled on the way.
        let slot = number.min(now + SLOTS - 1) % SLOTS;
        let level = &mut self.levels[level];
        level.slots[slot as usize].push(timer);
        level.occupied |= 1 << slot;
    }

    /// Advances time to `now` and processes timers that are due or must be moved, at most `budget`
    /// of them (rounded up to [`TURN_LEN`]). `ask` gets the names and pushes one verdict for each,
    /// in their order. Returns true if timers are left that should not wait for the next tick.
    pub fn advance(
        &mut self,
        now: UnixMillis,
        budget: usize,
        mut ask: impl FnMut(&[Prefix], &mut Vec<Verdict>),
    ) -> bool {
        self.step(now.0 >> TICK_SHIFT);
        let mut turn = std::mem::take(&mut self.turn);
        let mut verdicts = Vec::with_capacity(TURN_LEN);
        let mut asked = 0;
        let behind = loop {
            if asked >= budget {
                break self.has_work();
            }
            turn.clear();
            verdicts.clear();
            let moved = self.next_turn(&mut turn);
            if turn.is_empty() && moved == 0 {
                break false;
            }
            if turn.is_empty() {
                asked += moved.div_ceil(MOVED_PER_ASKED);
                continue;
            }
            ask(&turn, &mut verdicts);
            debug_assert_eq!(turn.len(), verdicts.len(), "one verdict for each timer");
            for (at, (timer, verdict)) in turn.iter().zip(&verdicts).enumerate() {
                match verdict {
                    // One timer per entry is enough: its deadline may have been moved earlier, or it
                    // may have been issued repeatedly.
                    Verdict::Again(deadline) if !turn[..at].contains(timer) => {
                        self.place(*timer, (*deadline).max(now));
                    }
                    Verdict::Again(_) | Verdict::Done => self.len -= 1,
                }
            }
            asked += turn.len();
        };
        self.turn = turn;
        behind
    }

    fn has_work(&self) -> bool {
        !self.due.is_empty()
            || !self.late.is_empty()
            || self.levels.iter().any(|level| level.owed > 0)
            || self.review.is_owed()
    }

    /// Takes the timers to be processed next. If there are none yet, some may have been moved first;
    /// returns how many.
    fn next_turn(&mut self, turn: &mut Vec<Prefix>) -> usize {
        for queue in [&mut self.due, &mut self.late] {
            if !queue.is_empty() {
                queue.pop_into(turn);
                return 0;
            }
        }
        if let Some(level) = self.levels.iter_mut().find(|level| level.owed > 0) {
            level.ahead.pop_into(turn);
            level.owed = level.owed.saturating_sub(turn.len());
        } else if self.review.is_owed() {
            return self.review.next_turn(&mut self.levels, self.tick, turn);
        }
        0
    }

    /// Advances to the tick `target`: the timers of the passed slots become due or late, and the
    /// new next slots are opened, to be emptied before they begin.
    fn step(&mut self, target: u64) {
        if target <= self.tick {
            return;
        }
        let before = std::mem::replace(&mut self.tick, target);
        self.due_slots(before);
        for level in 1..LEVELS {
            let shift = SLOT_BITS * level as u32;
            if before >> shift != target >> shift {
                self.begin_slots(level, before >> shift, target >> shift);
            }
            self.owe(level, shift, before);
        }
        self.review.owe(target - before);
    }

    /// Marks the timers of the ticks after `before` up to now as due.
    fn due_slots(&mut self, before: u64) {
        let level = &mut self.levels[0];
        for number in level.occupied_after(before).take_while(|number| *number <= self.tick) {
            self.due.push_chain(level.take(number));
        }
    }

    /// Begins the slots after `old` up to `new` of a coarse level, whose timers become late. The
    /// slot after them is the next one.
    fn begin_slots(&mut self, level: usize, old: u64, new: u64) {
        let Level { ahead, owed, .. } = &mut self.levels[level];
        self.late.push_all(ahead);
        *owed = 0;
        let under_review = self.review.give_back(level, new + 1);
        let level = &mut self.levels[level];
        let occupied = level.occupied_after(old).take_while(|number| *number <= new + 1);
        let begun = occupied.map(|number| (number, level.take(number))).chain(under_review);
        let mut next = Queue::default();
        for (number, chain) in begun {
            let queue = if number <= new { &mut self.late } else { &mut next };
            queue.push_chain(chain);
        }
        level.ahead = next;
    }

    /// Increases the number of timers to be moved out of the next slot of a level by an even share,
    /// so that it is empty a quarter of a slot before it begins.
    fn owe(&mut self, level: usize, shift: u32, before: u64) {
        let Level { ahead, owed, .. } = &mut self.levels[level];
        if ahead.is_empty() {
            return;
        }
        let opened = (self.tick >> shift) << shift;
        let empty_at = opened + (3 << shift >> 2);
        let elapsed = self.tick - opened.max(before);
        let left = empty_at.saturating_sub(self.tick);
        let len = ahead.len() as u64;
        let share = (len * elapsed).div_ceil((left + elapsed).max(1)) as usize;
        *owed = if left == 0 { ahead.len() } else { ahead.len().min(*owed + share) };
    }

    /// Bounds the number of stale timers, which entries leave behind if they are removed before
    /// their deadline. To be called before [`Wheel::advance`], with the number of entries that have
    /// timers. If the timers exceed that number by more than a quarter, the following turns also
    /// scan all slots once.
    pub fn review(&mut self, named: u64) {
        self.review.note(self.len, usize::try_from(named).unwrap_or(usize::MAX));
    }

    /// Begins a review, whatever the number of timers; for tests.
    #[doc(hidden)]
    pub fn begin_review(&mut self) {
        self.review.begin();
    }

    /// Takes over the timers of another wheel at the same tick.
    ///
    /// # Panics
    /// If the other wheel is at another tick.
    pub fn merge(&mut self, mut other: Self) {
        assert_eq!(self.tick, other.tick, "wheels at different ticks cannot be merged");
        self.len += other.len;
        self.due.push_all(&mut other.due);
        self.late.push_all(&mut other.late);
        // Timers under review in the other wheel are processed at once.
        self.late.push_chain(other.review.end());
        for (level, from) in self.levels.iter_mut().zip(&mut other.levels) {
            level.occupied |= from.occupied;
            level.owed += from.owed;
            level.ahead.push_all(&mut from.ahead);
            for (slot, chain) in level.slots.iter_mut().zip(&mut from.slots) {
                slot.append(std::mem::take(chain));
            }
        }
    }
}
