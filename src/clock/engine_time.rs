//! Engine time: the wall clock, as far as it can be believed.
//!
//! It never runs backwards: while the wall clock is behind the highest time seen, engine time goes
//! on from there by the forward clock, which nobody can set. Nor does it follow a wall clock
//! forward at once: the two clocks are held against each other.
//!
//! - Where it is behind engine time, that goes on by the forward clock.
//! - Where it is at most [`ClockRules::max_step`] ahead of the forward clock, it is engine time. All
//!   such steps within a [`ClockRules::hold`] count together.
//! - Where it is further ahead, engine time goes on by the forward clock for the hold; then, if the
//!   step still stands, it is followed.
//! - Where it is ahead by more than [`ClockRules::max_ttl`], which ends every token, the same; but it
//!   also waits until the system calls the clock synchronised, or an operator believes it.
//! - Where it shows a time before [`Clock::earliest`] or after [`ClockRules::latest`], engine time
//!   goes on by the forward clock, and changes are refused.
//!
//! Where nothing is held, nothing can be lost: each possible step is followed at once. At the start
//! no forward clock reaches back to the log's last time, so a possible wall clock is believed;
//! unless it is [`START_STEP_MAX`] ahead, more than the longest life of any token: then it is as a
//! step of that size.

use std::sync::Arc;
use std::time::Duration;

use super::source::Clock;
use crate::model::time::{UnixMillis, millis};
use crate::sync::{AtomicI64, AtomicU64, Ordering};

/// Ten years: how far ahead of the log a start believes the wall clock without further evidence.
pub const START_STEP_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// When the wall clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRules {
    /// Forward steps up to this are followed at once: `--max-clock-step`.
    pub max_step: Duration,
    /// How long a larger step must persist before it is followed: `--clock-hold`.
    pub hold: Duration,
    /// The longest life of a token: a step beyond it needs a synchronised clock.
    pub max_ttl: Duration,
    /// An operator says that the wall clock is right: `--believe-clock`.
    pub believes_wall: bool,
}

impl Default for ClockRules {
    fn default() -> ClockRules {
        ClockRules {
            max_step: Duration::from_secs(10),
            hold: Duration::from_secs(60),
            max_ttl: Duration::from_secs(30 * 24 * 3_600),
            believes_wall: false,
        }
    }
}

impl ClockRules {
    /// The latest time at which a token can be issued: its deadline must be representable.
    #[must_use]
    pub fn latest(&self) -> UnixMillis {
        UnixMillis(UnixMillis::MAX.0.saturating_sub(millis(self.max_ttl)))
    }
}

/// How the wall clock was found at the last observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is followed, or engine time waits for it to catch up.
    #[default]
    Right,
    /// It is ahead, and not followed yet.
    Held,
    /// It shows what cannot be.
    Impossible,
    /// It may be right, but engine time itself is past [`ClockRules::latest`].
    PastEnd,
}

impl Standing {
    const ALL: [Standing; 4] =
        [Standing::Right, Standing::Held, Standing::Impossible, Standing::PastEnd];

    /// Whether a deadline that is counted from engine time means anything.
    #[must_use]
    pub fn allows_changes(self) -> bool {
        matches!(self, Standing::Right | Standing::Held)
    }
}

/// What the one thread that observes the clocks keeps in mind.
#[derive(Debug, Default)]
pub struct Observer {
    /// What it found last.
    pub standing: Standing,
    /// Forward time at the last observation.
    forward_ms: u64,
    /// How much the wall clock has gained on the forward clock in small steps; drains at
    /// `max_step` for each `hold`.
    gained_ms: u64,
    held: Option<HeldStep>,
}

/// A step of the wall clock that is not followed yet.
#[derive(Clone, Copy, Debug)]
struct HeldStep {
    since_forward_ms: u64,
    step_ms: u64,
}

/// Engine time (promise P3). [`EngineTime::observe`] is called by one thread, at every turn of the
/// committer; [`EngineTime::now`] by any.
pub struct EngineTime {
    clock: Arc<dyn Clock>,
    rules: ClockRules,
    /// The highest time that somebody acted on: no answer of [`EngineTime::now`] is below it.
    floor_ms: AtomicU64,
    /// A wall clock between the floor and this is followed without a look at the other clock.
    ceiling_ms: AtomicU64,
    /// Engine time at the last observation minus forward time then, wrapping: one number, so that
    /// no reader sees half an observation.
    offset_ms: AtomicU64,
    /// How far the wall clock may be ahead of the forward clock.
    budget_ms: AtomicU64,
    /// Engine time minus the wall clock at the last observation.
    skew_ms: AtomicI64,
    standing: AtomicU64,
}

impl EngineTime {
    /// Engine time that starts at `floor` (the highest time in the log) or at the wall clock,
    /// whichever is later, as far as the wall clock can be believed.
    pub fn new(clock: Arc<dyn Clock>, floor: UnixMillis, rules: ClockRules) -> EngineTime {
        let forward_ms = millis(clock.forward());
        let wall = clock.wall();
        let is_near = floor.0 == 0
            || wall <= floor.plus(START_STEP_MAX)
            || rules.believes_wall
            || clock.is_synchronised();
        let is_believed = is_near && wall >= clock.earliest() && wall <= rules.latest();
        let now = if is_believed { wall.max(floor) } else { floor };
        let time = EngineTime {
            floor_ms: AtomicU64::new(now.0),
            ceiling_ms: AtomicU64::new(now.0),
            offset_ms: AtomicU64::new(now.0.wrapping_sub(forward_ms)),
            budget_ms: AtomicU64::new(millis(rules.max_step)),
            skew_ms: AtomicI64::new(0),
            standing: AtomicU64::new(0),
            clock,
            rules,
        };
        time.observe(&mut Observer::default(), false);
        time
    }

    /// Now, at least the highest time ever observed, and never ahead of what the clocks show.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let ceiling_ms = self.ceiling_ms.load(Ordering::Relaxed);
        let wall_ms = self.clock.wall().0;
        if wall_ms >= floor_ms && wall_ms <= ceiling_ms {
            return UnixMillis(wall_ms);
        }
        self.now_by_both(wall_ms)
    }

    /// The wall clock is behind, or ahead of what was last allowed: the forward clock says how time
    /// has gone on.
    #[cold]
    #[inline(never)]
    fn now_by_both(&self, wall_ms: u64) -> UnixMillis {
        let gone_on_ms = self.gone_on_ms(millis(self.clock.forward()));
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let ahead_ms = wall_ms.saturating_sub(gone_on_ms);
        let is_near = ahead_ms <= self.budget_ms.load(Ordering::Relaxed);
        // The observer may be late: what it would allow now counts.
        let is_followed = is_near && wall_ms >= floor_ms && self.is_possible(wall_ms);
        let now_ms = if is_followed { wall_ms } else { gone_on_ms.max(floor_ms) };
        UnixMillis(now_ms).min(UnixMillis::MAX)
    }

    /// Engine time at the last observation and what has passed since then.
    fn gone_on_ms(&self, forward_ms: u64) -> u64 {
        self.offset_ms.load(Ordering::Acquire).wrapping_add(forward_ms)
    }

    fn is_possible(&self, wall_ms: u64) -> bool {
        wall_ms >= self.clock.earliest().0 && wall_ms <= self.rules.latest().0
    }

    /// Makes `now` a time below which engine time never falls again. A reader that answers
    /// "expired" calls this first, so that a clock that jumps back cannot make it untrue.
    pub fn hold(&self, now: UnixMillis) {
        self.floor_ms.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Looks at both clocks, decides whether the wall clock is followed, and returns now.
    /// `is_empty`: no entry is held, so that no step can end any.
    pub fn observe(&self, observer: &mut Observer, is_empty: bool) -> UnixMillis {
        let forward_ms = millis(self.clock.forward());
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let gone_on_ms = self.gone_on_ms(forward_ms).max(floor_ms).min(UnixMillis::MAX.0);
        let wall_ms = self.clock.wall().0;
        observer.drain(forward_ms, &self.rules);
        let (standing, is_stepped) =
            self.judge(observer, wall_ms, gone_on_ms, forward_ms, is_empty);
        let is_followed = standing == Standing::Right && wall_ms >= floor_ms;
        let now_ms = if is_followed { wall_ms } else { gone_on_ms };
        observer.gained_ms += if is_stepped { 0 } else { now_ms.saturating_sub(gone_on_ms) };
        let budget_ms = millis(self.rules.max_step).saturating_sub(observer.gained_ms);
        // Where the clock shows what cannot be, readers look at both clocks as well.
        let ceiling_ms = if standing == Standing::Impossible { 0 } else { now_ms + budget_ms };
        let ceiling_ms = ceiling_ms.min(self.rules.latest().0);
        let skew_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        let skew_ms = i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_sub(skew_ms);
        self.offset_ms.store(now_ms.wrapping_sub(forward_ms), Ordering::Release);
        self.budget_ms.store(budget_ms, Ordering::Relaxed);
        self.ceiling_ms.store(ceiling_ms, Ordering::Relaxed);
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        observer.standing = standing;
        if self.standing.load(Ordering::Relaxed) != standing as u64 {
            self.standing.store(standing as u64, Ordering::Release);
        }
        self.hold(UnixMillis(now_ms));
        UnixMillis(now_ms)
    }

    /// How the wall clock stands, and whether it is followed over a step that was held.
    fn judge(
        &self,
        observer: &mut Observer,
        wall_ms: u64,
        gone_on_ms: u64,
        forward_ms: u64,
        is_empty: bool,
    ) -> (Standing, bool) {
        let step_ms = wall_ms.saturating_sub(gone_on_ms);
        let budget_ms = millis(self.rules.max_step).saturating_sub(observer.gained_ms);
        if gone_on_ms > self.rules.latest().0 {
            return (Standing::PastEnd, false);
        }
        if !self.is_possible(wall_ms) {
            observer.held = None;
            return (Standing::Impossible, false);
        }
        if step_ms <= budget_ms {
            observer.held = None;
            return (Standing::Right, false);
        }
        let has_stood = observer.has_stood(step_ms, forward_ms, &self.rules);
        let is_evident = step_ms <= millis(self.rules.max_ttl) || self.clock.is_synchronised();
        if is_empty || self.rules.believes_wall || has_stood && is_evident {
            (observer.held, observer.gained_ms) = (None, 0);
            return (Standing::Right, true);
        }
        (Standing::Held, false)
    }

    /// How far engine time is ahead of the wall clock: above zero after the clock jumped back, or
    /// where the log has seen a later time.
    #[must_use]
    pub fn skew(&self) -> Duration {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(skew_ms).unwrap_or(0))
    }

    /// How far the wall clock is ahead of engine time: above zero while it is not followed.
    #[must_use]
    pub fn lead(&self) -> Duration {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(skew_ms.saturating_neg()).unwrap_or(0))
    }

    /// How the wall clock was found at the last observation.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::ALL[self.standing.load(Ordering::Acquire) as usize % Standing::ALL.len()]
    }

    /// The wall clock, whether it is believed or not: for messages.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        self.clock.wall()
    }

    /// A wall clock that shows an earlier time is wrong.
    #[must_use]
    pub fn earliest(&self) -> UnixMillis {
        self.clock.earliest()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &ClockRules {
        &self.rules
    }

    /// The monotonic clock, for latencies.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

impl Observer {
    /// Lets the small steps of the past fade.
    fn drain(&mut self, forward_ms: u64, rules: &ClockRules) {
        if self.gained_ms == 0 {
            self.forward_ms = forward_ms;
            return;
        }
        let elapsed_ms = forward_ms.saturating_sub(self.forward_ms);
        let (max_ms, hold_ms) = (millis(rules.max_step), millis(rules.hold).max(1));
        let faded_ms = elapsed_ms.saturating_mul(max_ms) / hold_ms;
        // Observations may come faster than a millisecond fades: then their time is kept.
        if faded_ms > 0 {
            self.gained_ms = self.gained_ms.saturating_sub(faded_ms);
            self.forward_ms = forward_ms;
        }
    }

    /// Whether this step, give or take `max_step`, has stood for `hold`.
    fn has_stood(&mut self, step_ms: u64, forward_ms: u64, rules: &ClockRules) -> bool {
        let is_same = |held: &HeldStep| held.step_ms.abs_diff(step_ms) <= millis(rules.max_step);
        let new = HeldStep { since_forward_ms: forward_ms, step_ms };
        let held = self.held.filter(is_same).unwrap_or(new);
        self.held = Some(held);
        forward_ms.saturating_sub(held.since_forward_ms) >= millis(rules.hold)
    }
}

#[cfg(test)]
mod tests;
