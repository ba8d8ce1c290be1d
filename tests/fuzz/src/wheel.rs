//! The timing wheel compared with a sorted map: no timer is lost or late, no timer is queried
//! without end, and a turn does no more than its budget.

use std::collections::BTreeMap;

use jeton::model::time::UnixMillis;
use jeton::model::token::Prefix;
use jeton::timer_wheel::{TICK_MS, TURN_LEN, Verdict, Wheel};

use super::input::Input;

/// A timer is queried at most once a level, once more if it is beyond the coarsest one, once when
/// it is due, and by a review before and after it was moved.
const ASKED_MAX: usize = 10;
/// The shortest range of the wheel, in milliseconds: a timer beyond it is queried before it is due.
const HORIZON_MS: u64 = 1 << 40;

#[derive(Default)]
struct Thing {
    deadline: u64,
    /// Queries since its deadline was set or a review began.
    asked: usize,
    /// The most queries of all its timers together.
    asked_max: usize,
}

struct World {
    wheel: Wheel,
    now: u64,
    things: BTreeMap<u64, Thing>,
    /// Timers that the wheel must have, by name, including those without an entry.
    timers: BTreeMap<u64, usize>,
    is_behind: bool,
}

/// Plays the bytes, step by step.
pub fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let now = input.scaled(43).min(UnixMillis::MAX.0);
    let wheel = Wheel::new(UnixMillis(now));
    let (things, timers) = Default::default();
    let mut world = World { wheel, now, things, timers, is_behind: false };
    while !input.is_empty() {
        world.step(&mut input);
        let timers: usize = world.timers.values().sum();
        assert_eq!(world.wheel.len(), timers, "timers in the wheel");
        assert_eq!(world.wheel.is_empty(), timers == 0);
    }
    world.now = UnixMillis::MAX.0;
    world.advance(usize::MAX);
    // The last instants have no tick after them.
    let last = UnixMillis::MAX.0 - 2 * TICK_MS;
    let left: Vec<_> = world.things.values().filter(|thing| thing.deadline < last).collect();
    assert!(left.is_empty(), "{} were never asked about", left.len());
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0..=5 => {
                let (name, ttl) = (u64::from(input.u8()), input.scaled(43));
                let deadline = self.now.saturating_add(ttl).min(UnixMillis::MAX.0);
                self.wheel.schedule(Prefix(name), UnixMillis(deadline));
                self.learn(name, deadline);
            }
            6..=9 => {
                self.now = self.now.saturating_add(input.scaled(40)).min(UnixMillis::MAX.0);
                let budget = [usize::MAX, 0, 1, 64, 65, 1_000][usize::from(input.u8() % 6)];
                self.advance(budget);
            }
            10 => {
                self.wheel.begin_review();
                self.things
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|name| self.reset(name));
            }
            11 => drop(self.things.remove(&u64::from(input.u8()))),
            12 | 13 => {
                let (name, more) = (u64::from(input.u8()), input.scaled(43));
                if let Some(thing) = self.things.get_mut(&name) {
                    thing.deadline = thing.deadline.saturating_add(more).min(UnixMillis::MAX.0);
                }
                self.reset(name);
            }
            14 => self.merge(input),
            // Many at once, so that turns have several batches.
            _ => {
                let (count, ttl) = (u64::from(input.u8()) * 2, input.scaled(30));
                for name in 1_000..1_000 + count {
                    let deadline = self.now.saturating_add(ttl + name).min(UnixMillis::MAX.0);
                    self.wheel.schedule(Prefix(name), UnixMillis(deadline));
                    self.learn(name, deadline);
                }
            }
        }
    }

    /// A deadline never moves back. One name may have several timers.
    fn learn(&mut self, name: u64, deadline: u64) {
        let thing = self.things.entry(name).or_default();
        thing.deadline = thing.deadline.max(deadline);
        *self.timers.entry(name).or_default() += 1;
        self.reset(name);
    }

    /// From now on its timers may be queried as if they were new.
    fn reset(&mut self, name: u64) {
        let timers = self.timers.get(&name).copied().unwrap_or(0);
        if let Some(thing) = self.things.get_mut(&name) {
            let rounds = 1 + (thing.deadline.saturating_sub(self.now) / HORIZON_MS) as usize;
            (thing.asked, thing.asked_max) = (0, ASKED_MAX * rounds * timers);
        }
    }

    fn merge(&mut self, input: &mut Input<'_>) {
        if self.is_behind {
            return;
        }
        let mut other = Wheel::new(UnixMillis(self.now));
        for _ in 0..input.u8() % 8 {
            let (name, ttl) = (u64::from(input.u8()), input.scaled(43));
            let deadline = self.now.saturating_add(ttl).min(UnixMillis::MAX.0);
            other.schedule(Prefix(name), UnixMillis(deadline));
            self.learn(name, deadline);
        }
        self.wheel.merge(other);
    }

    fn advance(&mut self, budget: usize) {
        let Self { wheel, now, things, timers, is_behind } = self;
        let mut asked = 0;
        *is_behind = wheel.advance(UnixMillis(*now), budget, |names, verdicts| {
            assert!(!names.is_empty() && names.len() <= TURN_LEN, "{} at once", names.len());
            asked += names.len();
            for (at, name) in names.iter().enumerate() {
                let thing = things.get_mut(&name.0);
                let verdict = match thing {
                    Some(thing) if thing.deadline > *now => {
                        thing.asked += 1;
                        let is_bounded = thing.asked <= thing.asked_max;
                        assert!(is_bounded, "asked {} times", thing.asked);
                        Verdict::Again(UnixMillis(thing.deadline))
                    }
                    _ => Verdict::Done,
                };
                if verdict == Verdict::Done {
                    things.remove(&name.0);
                }
                let is_known = verdict == Verdict::Done || names[..at].contains(name);
                *timers.get_mut(&name.0).expect("a timer") -= usize::from(is_known);
                verdicts.push(verdict);
            }
        });
        assert!(asked < budget.saturating_add(TURN_LEN), "{asked} with a budget of {budget}");
        if *is_behind {
            assert!(asked >= budget, "behind before the budget was spent");
            return;
        }
        for (name, thing) in things {
            assert!(thing.deadline + 2 * TICK_MS > *now, "{name} is late");
        }
    }
}
