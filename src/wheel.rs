//! The timing wheel: frees memory on time. It never decides whether something has expired.
//!
//! A hierarchical wheel (Varghese and Lauck, 1987): six levels of 64 slots; a slot of the first
//! level is a tick of 64 ms, a slot of each further level as long as all slots of the level before.
//! A timer is eight bytes, the name of what it is for, and nothing more: not even its deadline.
//! When the time of a slot has come, the owner is asked for the deadline of each timer in it. If
//! that lies ahead, because the slot was a coarse one or the deadline was moved, the timer goes
//! where the deadline is; if not, the owner frees what it names and the timer is done. So there is
//! no cancel: a timer whose name means nothing any more disappears when it is asked.
//!
//! Scheduling is O(1); a timer is asked at most once a level. Work per turn is bounded by a budget,
//! so that a million deadlines in one second cannot stop the thread that turns the wheel.

use crate::time::UnixMillis;
use crate::token::Prefix;

/// Length of a tick in milliseconds. Memory is freed within two ticks of the deadline, if the
/// budget allows.
pub const TICK_MS: u64 = 1 << TICK_SHIFT;

/// Timers handled in one call of the owner: enough for their look-ups to overlap.
pub const TURN_LEN: usize = 64;

const TICK_SHIFT: u32 = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// Ticks that the wheel can look ahead: 139 years.
const HORIZON: u64 = 1 << (SLOT_BITS as usize * LEVELS);

// A slot bitmap has one bit a slot.
const _: () = assert!(SLOTS == u64::BITS as usize);

const CHUNK_LEN: usize = 126;

/// A piece of a slot's list. One kibibyte, so that a long list wastes little and a short one too.
struct Chunk {
    timers: Vec<Prefix>,
    next: Option<Box<Chunk>>,
}

/// A list of timers in no particular order.
#[derive(Default)]
struct Chain {
    head: Option<Box<Chunk>>,
}

impl Chain {
    fn push(&mut self, timer: Prefix) {
        match &mut self.head {
            Some(chunk) if chunk.timers.len() < CHUNK_LEN => chunk.timers.push(timer),
            head => {
                // The first chunk of a slot grows as it must; those behind it are full.
                let mut timers = Vec::with_capacity(if head.is_some() { CHUNK_LEN } else { 4 });
                timers.push(timer);
                *head = Some(Box::new(Chunk { timers, next: head.take() }));
            }
        }
    }

    /// Takes up to [`TURN_LEN`] timers.
    fn pop_into(&mut self, turn: &mut Vec<Prefix>) {
        while turn.len() < TURN_LEN {
            let Some(chunk) = &mut self.head else { return };
            let keep = chunk.timers.len().saturating_sub(TURN_LEN - turn.len());
            turn.extend(chunk.timers.drain(keep..));
            if chunk.timers.is_empty() {
                self.head = chunk.next.take();
            }
        }
    }

    fn append(&mut self, mut other: Chain) {
        while let Some(mut chunk) = other.head.take() {
            other.head = chunk.next.take();
            chunk.next = self.head.take();
            self.head = Some(chunk);
        }
    }

    fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

impl Drop for Chain {
    /// Frees chunk by chunk: the derived drop would recurse once a chunk.
    fn drop(&mut self) {
        let mut head = self.head.take();
        while let Some(mut chunk) = head {
            head = chunk.next.take();
        }
    }
}

struct Level {
    slots: [Chain; SLOTS],
    occupied: u64,
}

impl Default for Level {
    fn default() -> Level {
        Level { slots: std::array::from_fn(|_| Chain::default()), occupied: 0 }
    }
}

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
    /// Timers whose slot has come and that were not asked yet.
    due: Chain,
    len: usize,
    /// The slot that was reviewed last, counted through all levels.
    reviewed: usize,
    turn: Vec<Prefix>,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Wheel {
        Wheel {
            tick: now.0 >> TICK_SHIFT,
            levels: std::array::from_fn(|_| Level::default()),
            due: Chain::default(),
            len: 0,
            reviewed: 0,
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

    /// Asks about `timer` once `deadline` has passed, at the earliest; one deadline in the past is
    /// due at the next turn.
    pub fn schedule(&mut self, timer: Prefix, deadline: UnixMillis) {
        self.len += 1;
        self.place(timer, deadline);
    }

    fn place(&mut self, timer: Prefix, deadline: UnixMillis) {
        // The first tick that begins after the deadline.
        let tick = ((deadline.0 >> TICK_SHIFT) + 1).min(self.tick + HORIZON - 1);
        if tick <= self.tick {
            self.due.push(timer);
            return;
        }
        // The highest digit in which the tick differs from now is the coarsest slot that must
        // come before it.
        let digit = (u64::BITS - 1 - (tick ^ self.tick).leading_zeros()) / SLOT_BITS;
        let level = &mut self.levels[(digit as usize).min(LEVELS - 1)];
        let slot = slot_at(tick, digit.min(LEVELS as u32 - 1));
        level.slots[slot].push(timer);
        level.occupied |= 1 << slot;
    }

    /// Lets time come up to `now` and asks about what is due, `budget` timers at most (rounded up
    /// to [`TURN_LEN`]). `ask` gets the names and pushes one verdict for each, in their order.
    /// Returns true if timers were left for the next turn.
    pub fn advance(
        &mut self,
        now: UnixMillis,
        budget: usize,
        mut ask: impl FnMut(&[Prefix], &mut Vec<Verdict>),
    ) -> bool {
        let target = now.0 >> TICK_SHIFT;
        let mut turn = std::mem::take(&mut self.turn);
        let mut verdicts = Vec::with_capacity(TURN_LEN);
        let mut asked = 0;
        let behind = loop {
            if self.due.is_empty() && !self.step(target) {
                break false;
            }
            if asked >= budget {
                break true;
            }
            turn.clear();
            verdicts.clear();
            self.due.pop_into(&mut turn);
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

    /// Makes the timers of one more slot due before their time, so that those which name nothing
    /// any more can go: what is removed early leaves its timer behind until then. Goes round all
    /// slots, one a call; does nothing while others are still due.
    pub fn review(&mut self) {
        for _ in 0..LEVELS * SLOTS {
            if !self.due.is_empty() {
                return;
            }
            self.reviewed = (self.reviewed + 1) % (LEVELS * SLOTS);
            let (level, slot) = (self.reviewed / SLOTS, self.reviewed % SLOTS);
            let Level { slots, occupied } = &mut self.levels[level];
            *occupied &= !(1 << slot);
            self.due = std::mem::take(&mut slots[slot]);
        }
    }

    /// Moves on to the next tick in which something is due, but not past `target`. Returns whether
    /// something is due.
    fn step(&mut self, target: u64) -> bool {
        while self.tick < target {
            self.tick = self.next_stop().min(target);
            for level in 0..LEVELS {
                if level > 0 && self.tick & ((1 << (SLOT_BITS * level as u32)) - 1) != 0 {
                    break;
                }
                let slot = slot_at(self.tick, level as u32);
                let Level { slots, occupied } = &mut self.levels[level];
                if *occupied & (1 << slot) != 0 {
                    *occupied &= !(1 << slot);
                    self.due.append(std::mem::take(&mut slots[slot]));
                }
            }
            if !self.due.is_empty() {
                return true;
            }
        }
        false
    }

    /// The next tick at which an occupied slot begins.
    fn next_stop(&self) -> u64 {
        let begin = |(level, Level { occupied, .. }): (u32, &Level)| {
            let shift = SLOT_BITS * level;
            let next = (self.tick >> shift) + 1;
            // Slots in the order in which they come, the next one first.
            let ahead = occupied.rotate_right((next & (SLOTS as u64 - 1)) as u32);
            (ahead != 0).then(|| (next + u64::from(ahead.trailing_zeros())) << shift)
        };
        (0..).zip(&self.levels).filter_map(begin).min().unwrap_or(u64::MAX)
    }

    /// Takes over the timers of a wheel that stands at the same tick.
    ///
    /// # Panics
    /// If the other wheel stands elsewhere.
    pub fn merge(&mut self, mut other: Wheel) {
        assert_eq!(self.tick, other.tick, "wheels at different ticks cannot be merged");
        self.len += other.len;
        self.due.append(std::mem::take(&mut other.due));
        for (level, from) in self.levels.iter_mut().zip(&mut other.levels) {
            level.occupied |= from.occupied;
            for (slot, chain) in level.slots.iter_mut().zip(&mut from.slots) {
                slot.append(std::mem::take(chain));
            }
        }
    }
}

fn slot_at(tick: u64, level: u32) -> usize {
    ((tick >> (SLOT_BITS * level)) & (SLOTS as u64 - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Advances to `now` and returns the names that were freed, given their deadlines.
    fn fire(wheel: &mut Wheel, now: u64, deadlines: &mut BTreeMap<u64, u64>) -> Vec<u64> {
        let mut freed = Vec::new();
        let behind = wheel.advance(UnixMillis(now), usize::MAX, |names, verdicts| {
            for name in names {
                verdicts.push(match deadlines.get(&name.0) {
                    Some(deadline) if *deadline > now => Verdict::Again(UnixMillis(*deadline)),
                    Some(_) => {
                        deadlines.remove(&name.0);
                        freed.push(name.0);
                        Verdict::Done
                    }
                    None => Verdict::Done,
                });
            }
        });
        assert!(!behind);
        freed
    }

    proptest! {
        /// Against a sorted map: never early, and never later than two ticks.
        #[test]
        fn frees_on_time(
            start in 0..1u64 << 42,
            steps in prop::collection::vec(
                (prop_oneof![0..100u64, 0..100_000u64, 0..100_000_000u64],
                 prop::collection::vec(
                    prop_oneof![0..200u64, 0..10_000u64, 0..10_000_000u64, 0..1u64 << 38], 0..8)),
                1..40),
        ) {
            let mut wheel = Wheel::new(UnixMillis(start));
            let mut deadlines = BTreeMap::new();
            let (mut now, mut name) = (start, 0);
            for (elapsed, ttls) in steps {
                for ttl in ttls {
                    name += 1;
                    let deadline = (now + ttl).min(UnixMillis::MAX.0);
                    deadlines.insert(name, deadline);
                    wheel.schedule(Prefix(name), UnixMillis(deadline));
                }
                now += elapsed;
                let before = deadlines.clone();
                for freed in fire(&mut wheel, now, &mut deadlines) {
                    prop_assert!(before[&freed] <= now, "freed early");
                }
                for (name, deadline) in &deadlines {
                    prop_assert!(deadline + 2 * TICK_MS > now, "{name} is late");
                }
                prop_assert_eq!(wheel.len(), deadlines.len());
            }
        }
    }

    /// As after a start, when the log holds what has expired meanwhile.
    #[test]
    fn p8_a_deadline_in_the_past_is_due_at_the_next_turn() {
        let mut wheel = Wheel::new(UnixMillis(1_000_000));
        let mut deadlines = BTreeMap::from([(1, 0), (2, 999_900)]);
        for (name, deadline) in deadlines.clone() {
            wheel.schedule(Prefix(name), UnixMillis(deadline));
        }
        let mut freed = fire(&mut wheel, 1_000_000, &mut deadlines);
        freed.sort_unstable();
        assert_eq!(freed, [1, 2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn an_extended_deadline_is_asked_for_again() {
        let mut wheel = Wheel::new(UnixMillis(0));
        let mut deadlines = BTreeMap::from([(1, 1_000)]);
        wheel.schedule(Prefix(1), UnixMillis(1_000));
        deadlines.insert(1, 500_000);
        assert!(fire(&mut wheel, 2_000, &mut deadlines).is_empty());
        assert_eq!(wheel.len(), 1);
        assert_eq!(fire(&mut wheel, 500_128, &mut deadlines), [1]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn p8_work_per_turn_is_bounded() {
        let mut wheel = Wheel::new(UnixMillis(0));
        for name in 0..10_000 {
            wheel.schedule(Prefix(name), UnixMillis(1_000));
        }
        let (mut turns, mut behind) = (0, true);
        while behind {
            let mut asked = 0;
            behind = wheel.advance(UnixMillis(5_000), 1_000, |names, verdicts| {
                asked += names.len();
                verdicts.extend(names.iter().map(|_| Verdict::Done));
            });
            assert!(asked < 1_000 + TURN_LEN);
            turns += 1;
        }
        assert!(wheel.is_empty() && turns >= 10);
    }

    #[test]
    fn p8_timers_that_name_nothing_or_the_same_go_when_reviewed() {
        let mut wheel = Wheel::new(UnixMillis(0));
        let mut deadlines = BTreeMap::from([(7, 90_000_000)]);
        for name in 0..20_000 {
            let name = if name % 2 == 0 { 7 } else { name };
            wheel.schedule(Prefix(name), UnixMillis(90_000_000 - name));
        }
        for _ in 0..10 * LEVELS * SLOTS {
            wheel.review();
            fire(&mut wheel, 0, &mut deadlines);
        }
        assert_eq!(wheel.len(), 1, "one timer for what is left");
        assert_eq!(fire(&mut wheel, 90_000_128, &mut deadlines), [7]);
    }

    #[test]
    fn merged_wheels_keep_all_timers() {
        let (mut one, mut two) = (Wheel::new(UnixMillis(7)), Wheel::new(UnixMillis(7)));
        let mut deadlines = BTreeMap::new();
        for name in 0..1_000 {
            let deadline = name * 1_733;
            deadlines.insert(name, deadline);
            let wheel = if name % 3 == 0 { &mut one } else { &mut two };
            wheel.schedule(Prefix(name), UnixMillis(deadline));
        }
        one.merge(two);
        assert_eq!(fire(&mut one, 2_000_000, &mut deadlines).len(), 1_000);
    }

    #[test]
    fn a_long_silence_costs_no_tick_by_tick_walk() {
        let mut wheel = Wheel::new(UnixMillis(0));
        let deadline = UnixMillis::MAX.0 - 1_000;
        let mut deadlines = BTreeMap::from([(1, deadline)]);
        wheel.schedule(Prefix(1), UnixMillis(deadline));
        assert_eq!(fire(&mut wheel, UnixMillis::MAX.0, &mut deadlines), [1]);
    }
}
