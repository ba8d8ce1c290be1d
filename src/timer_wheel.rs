//! The timing wheel: frees memory on time. It never decides whether something has expired.
//!
//! A hierarchical wheel (Varghese and Lauck, 1987) of six levels. A slot of the first level is a
//! tick of 16 ms; a slot of each further level is 64 times as long as one of the level before. A
//! timer is eight bytes, the name of what it is for, and nothing more: not even its deadline. So
//! the owner is asked for the deadline of a timer when the timer must be moved. If the deadline
//! lies ahead, the timer goes where the deadline is; if not, the owner frees what it names and the
//! timer is done. There is no cancel: a timer whose name means nothing any more disappears when it
//! is asked about.
//!
//! # Bounded work
//!
//! A level has 128 slots, twice as many as it needs to divide a slot of the next level. So the
//! timers of a coarse slot can be moved to finer levels during the whole slot before it, evenly,
//! and when it begins it is empty. A turn has a budget of timers, and spends it in this order:
//!
//! 1. timers that are due, earliest tick first;
//! 2. timers of coarse slots that began before they were empty, after a jump of the clock or where
//!    the budget did not suffice;
//! 3. the share of each next slot that is due by now;
//! 4. the review, which goes round all slots in search of timers that name nothing any more.
//!
//! Scheduling is O(1), a turn costs O(levels) beside its budget, and a timer is asked about once a
//! level, however many timers share its slot.

use crate::model::time::UnixMillis;
use crate::model::token::Prefix;

mod chain;
mod level;
mod review;
#[cfg(test)]
mod tests;

pub use chain::TURN_LEN;
pub use level::TICK_MS;

use chain::Queue;
use level::{LEVELS, Level, SLOT_BITS, SLOTS, TICK_SHIFT};
use review::Review;

/// Where a timer goes after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it named is gone, or was freed just now.
    Done,
    /// It must be asked again at this instant.
    Again(UnixMillis),
}

/// A hierarchical timing wheel.
pub struct Wheel {
    /// Every tick up to this one has come.
    tick: u64,
    levels: [Level; LEVELS],
    /// Timers whose tick has come and that were not asked yet.
    due: Queue,
    /// Timers of coarse slots that began before all their timers had been moved.
    late: Queue,
    review: Review,
    len: usize,
    turn: Vec<Prefix>,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Wheel {
        Wheel {
            tick: now.0 >> TICK_SHIFT,
            levels: std::array::from_fn(|_| Level::default()),
            due: Queue::default(),
            late: Queue::default(),
            review: Review::default(),
            len: 0,
            turn: Vec::with_capacity(TURN_LEN),
        }
    }

    /// Timers in the wheel, those included that name nothing any more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no timer is in the wheel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The begin of the next tick in which a timer is due, if there is one within two seconds.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        let next = self.levels[0].occupied_after(self.tick).next();
        next.map(|tick| UnixMillis(tick << TICK_SHIFT))
    }

    /// Asks about `timer` once `deadline` has passed, at the earliest; one deadline in the past is
    /// due at the next turn. A caller that moves a deadline forward schedules again: the timer that is
    /// there comes too late then, and finds nothing. One that is moved back needs no second timer.
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
        // The finest level that looks so far ahead. In all but the finest that is never the next
        // slot, which is being emptied: half of a finer level reaches as far.
        let (mut number, mut now, mut level) = (tick, self.tick, 0);
        while number - now >= SLOTS && level < LEVELS - 1 {
            (number, now, level) = (number >> SLOT_BITS, now >> SLOT_BITS, level + 1);
        }
        // Beyond what the coarsest level sees: asked about on the way.
        let slot = number.min(now + SLOTS - 1) % SLOTS;
        let level = &mut self.levels[level];
        level.slots[slot as usize].push(timer);
        level.occupied |= 1 << slot;
    }

    /// Lets time come up to `now` and asks about what is due or must be moved, `budget` timers at
    /// most (rounded up to [`TURN_LEN`]). `ask` gets the names and pushes one verdict for each, in
    /// their order. Returns true if timers were left that should not wait for the next tick.
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
            self.next_turn(&mut turn);
            if turn.is_empty() {
                break false;
            }
            ask(&turn, &mut verdicts);
            debug_assert_eq!(turn.len(), verdicts.len(), "one verdict for each timer");
            for (at, (timer, verdict)) in turn.iter().zip(&verdicts).enumerate() {
                match verdict {
                    // One timer for one thing is enough: it may have been issued again and again.
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

    /// Takes the timers that are to be asked about next.
    fn next_turn(&mut self, turn: &mut Vec<Prefix>) {
        for queue in [&mut self.due, &mut self.late] {
            if !queue.is_empty() {
                return queue.pop_into(turn);
            }
        }
        if let Some(level) = self.levels.iter_mut().find(|level| level.owed > 0) {
            level.ahead.pop_into(turn);
            level.owed = level.owed.saturating_sub(turn.len());
        } else if self.review.is_owed() {
            self.review.next_turn(&mut self.levels, self.tick, turn);
        }
    }

    /// Lets the ticks up to `target` come: what their slots hold is due or late, and the slots that
    /// are next from now on are opened, to be emptied before they begin.
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

    /// What is in the ticks behind `before` up to now is due.
    fn due_slots(&mut self, before: u64) {
        let level = &mut self.levels[0];
        for number in level.occupied_after(before).take_while(|number| *number <= self.tick) {
            self.due.push_chain(level.take(number));
        }
    }

    /// The slots behind `old` up to `new` of a coarse level begin: what is in them is late. The one
    /// behind them is the next.
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

    /// Adds to what must be moved out of the next slot of a level: an even share of what is in it,
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

    /// Keeps the timers that name nothing any more few: what is removed before its deadline leaves
    /// its timer behind. To be called before [`Wheel::advance`], with the number of things that
    /// have timers. Where there are more timers than that and a quarter more, the turns from now
    /// on also go round all slots once.
    pub fn review(&mut self, named: u64) {
        self.review.note(self.len, usize::try_from(named).unwrap_or(usize::MAX));
    }

    /// Begins a review, however few timers there are: for tests.
    #[doc(hidden)]
    pub fn begin_review(&mut self) {
        self.review.begin();
    }

    /// Takes over the timers of a wheel that stands at the same tick.
    ///
    /// # Panics
    /// If the other wheel stands elsewhere.
    pub fn merge(&mut self, mut other: Wheel) {
        assert_eq!(self.tick, other.tick, "wheels at different ticks cannot be merged");
        self.len += other.len;
        self.due.push_all(&mut other.due);
        self.late.push_all(&mut other.late);
        // Whatever is under review there is asked about at once.
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
