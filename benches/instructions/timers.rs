//! The wheel: timers are scheduled, and fire.

use jeton::model::time::UnixMillis;
use jeton::model::token::Prefix;
use jeton::timer_wheel::{Verdict, Wheel};

use crate::support::Random;
use crate::{Fixture, NOW};

/// Timers of a function.
const TIMES: usize = 10_000;
/// Within which all fire: more than one level of the wheel.
const SPREAD_MS: u64 = 3_600_000;
const SECOND_MS: u64 = 1_000;

/// A wheel and the timers to put into it.
pub struct Timers {
    wheel: Wheel,
    timers: Vec<(Prefix, UnixMillis)>,
    fired: usize,
}

impl Timers {
    /// None is in the wheel.
    pub fn new() -> Self {
        let mut random = Random(1);
        let timers = (0..TIMES as u64)
            .map(|n| (Prefix(n), UnixMillis(NOW.0 + random.below(SPREAD_MS as usize) as u64)))
            .collect();
        Self { wheel: Wheel::new(NOW), timers, fired: 0 }
    }

    /// All are in the wheel.
    pub fn scheduled() -> Self {
        let mut timers = Self::new();
        timers.schedule();
        timers
    }

    /// Schedules all.
    pub fn schedule(&mut self) {
        for (timer, deadline) in &self.timers {
            self.wheel.schedule(*timer, *deadline);
        }
    }

    /// Turns the wheel a second at a time until all have fired.
    pub fn advance(&mut self) {
        for now in (NOW.0..NOW.0 + SPREAD_MS + 2 * SECOND_MS).step_by(SECOND_MS as usize) {
            let is_behind = self.wheel.advance(UnixMillis(now), usize::MAX, |timers, verdicts| {
                self.fired += timers.len();
                verdicts.extend(timers.iter().map(|_| Verdict::Done));
            });
            assert!(!is_behind, "there was budget for all");
        }
    }
}

impl Fixture for Timers {
    fn check(&mut self) {
        if self.fired == 0 {
            assert_eq!(self.wheel.len(), TIMES);
            self.advance();
        }
        assert_eq!(self.fired, TIMES, "each fires once");
        assert!(self.wheel.is_empty());
    }
}
