//! Engine time: the wall clock, corrected for implausible steps.
//!
//! Engine time never runs backwards. While the wall clock is behind the highest time seen, engine
//! time continues from there at the pace of the forward clock, which cannot be set. Steps forward
//! of the wall clock are compared with the forward clock before they are followed. The rules depend
//! on the wall clock:
//!
//! - It is behind engine time: engine time continues by the forward clock.
//! - It is at most [`ClockRules::max_step`] ahead of the forward clock: it is engine time. All such
//!   steps within a [`ClockRules::hold`] are added up.
//! - It is further ahead: engine time continues by the forward clock for the hold; if the step
//!   persists, it is followed then.
//! - It is ahead by more than [`ClockRules::max_ttl`], which would expire every token: the same,
//!   but engine time also waits until the system reports a synchronised clock, or an operator
//!   confirms the clock.
//! - It shows a time before [`Clock::earliest`] or after [`ClockRules::latest`]: engine time
//!   continues by the forward clock, and changes are refused.
//!
//! Without entries no token can be lost, so each plausible step is followed at once. At the start
//! the forward clock does not reach back to the log's last time, so a plausible wall clock is
//! followed, unless it is more than [`START_STEP_MAX`] ahead, which exceeds the maximum lifetime of
//! any token: then it is treated as a step of that size.

use std::sync::Arc;
use std::time::Duration;

use super::source::Clock;
use crate::model::time::{UnixMillis, millis};
use crate::sync::{AtomicI64, AtomicU64, Ordering};

/// Ten years: at a start the wall clock may be this far ahead of the log without further evidence.
pub const START_STEP_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Rules for following the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRules {
    /// Forward steps up to this are followed at once: `--max-clock-step`.
    pub max_step: Duration,
    /// Time for which a larger step must persist before it is followed: `--clock-hold`.
    pub hold: Duration,
    /// Maximum lifetime of a token: a larger step needs a synchronised clock.
    pub max_ttl: Duration,
    /// The operator states that the wall clock is right: `--believe-clock`.
    pub believes_wall: bool,
}

impl Default for ClockRules {
    fn default() -> Self {
        Self {
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

/// State of the wall clock at the last observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The wall clock is followed, or engine time waits for it to catch up.
    #[default]
    Right,
    /// The wall clock is ahead, and its step is held.
    Held,
    /// The wall clock shows an implausible time.
    Impossible,
    /// The wall clock may be right, but engine time itself is past [`ClockRules::latest`].
    PastEnd,
}

impl Standing {
    const ALL: [Self; 4] = [Self::Right, Self::Held, Self::Impossible, Self::PastEnd];

    /// Whether new deadlines can be computed from engine time.
    #[must_use]
    pub fn allows_changes(self) -> bool {
        matches!(self, Self::Right | Self::Held)
    }
}

/// State of the thread that observes the clocks.
#[derive(Debug, Default)]
pub struct Observer {
    /// Result of the last observation.
    pub standing: Standing,
    /// Forward time at the last observation.
    forward_ms: u64,
    /// Sum of the recent small steps of the wall clock; it decays at a rate of `max_step` per
    /// `hold`.
    gained_ms: u64,
    held: Option<HeldStep>,
}

/// A step of the wall clock that is held.
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
    /// The highest time that any thread acted on: [`EngineTime::now`] never returns less.
    floor_ms: AtomicU64,
    /// A wall clock between the floor and this time is followed without reading the forward clock.
    ceiling_ms: AtomicU64,
    /// Engine time minus forward time at the last observation, wrapping. It is one number, so that
    /// a reader never sees half an observation.
    offset_ms: AtomicU64,
    /// Maximum lead of the wall clock over the forward clock.
    budget_ms: AtomicU64,
    /// Engine time minus the wall clock at the last observation.
    skew_ms: AtomicI64,
    standing: AtomicU64,
}

impl EngineTime {
    /// Engine time that starts at `floor` (the highest time in the log) or at the wall clock,
    /// whichever is later, if the rules allow to follow the wall clock.
    pub fn new(clock: Arc<dyn Clock>, floor: UnixMillis, rules: ClockRules) -> Self {
        let forward_ms = millis(clock.forward());
        let wall = clock.wall();
        let is_near = floor.0 == 0
            || wall <= floor.plus(START_STEP_MAX)
            || rules.believes_wall
            || clock.is_synchronised();
        let is_believed = is_near && wall >= clock.earliest() && wall <= rules.latest();
        let now = if is_believed { wall.max(floor) } else { floor };
        let time = Self {
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

    /// The current engine time. It is at least the highest time ever observed, and never ahead of
    /// the clocks.
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

    /// The wall clock is behind, or ahead of the last limit, so the forward clock determines the
    /// time.
    #[cold]
    #[inline(never)]
    fn now_by_both(&self, wall_ms: u64) -> UnixMillis {
        let gone_on_ms = self.gone_on_ms(millis(self.clock.forward()));
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let ahead_ms = wall_ms.saturating_sub(gone_on_ms);
        let is_near = ahead_ms <= self.budget_ms.load(Ordering::Relaxed);
        // The observer may be late, so the limit is computed for the present.
        let is_followed = is_near && wall_ms >= floor_ms && self.is_possible(wall_ms);
        let now_ms = if is_followed { wall_ms } else { gone_on_ms.max(floor_ms) };
        UnixMillis(now_ms).min(UnixMillis::MAX)
    }

    /// Engine time at the last observation plus the forward time since then.
    fn gone_on_ms(&self, forward_ms: u64) -> u64 {
        self.offset_ms.load(Ordering::Acquire).wrapping_add(forward_ms)
    }

    fn is_possible(&self, wall_ms: u64) -> bool {
        wall_ms >= self.clock.earliest().0 && wall_ms <= self.rules.latest().0
    }

    /// Raises the floor of engine time to `now`. A reader that answers "expired" calls this first,
    /// so that the answer stays true if the clock jumps back.
    pub fn hold(&self, now: UnixMillis) {
        self.floor_ms.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Reads both clocks, decides whether the wall clock is followed, and returns the current
    /// engine time. `is_empty`: the store has no entries, so no step can expire any.
    pub fn observe(&self, observer: &mut Observer, is_empty: bool) -> UnixMillis {
        let forward_ms = millis(self.clock.forward());
        let floor_ms = self.floor_ms.load(Ordering::Acquire);
        let paced_ms = self.gone_on_ms(forward_ms).min(UnixMillis::MAX.0);
        let gone_on_ms = paced_ms.max(floor_ms).min(UnixMillis::MAX.0);
        let wall_ms = self.clock.wall().0;
        observer.drain(forward_ms, &self.rules);
        // A step that a reader has acted on is one too, though no observation has seen it.
        observer.gained_ms += gone_on_ms - paced_ms;
        let (standing, is_stepped) =
            self.judge(observer, wall_ms, gone_on_ms, forward_ms, is_empty);
        let is_followed = standing == Standing::Right && wall_ms >= floor_ms;
        let now_ms = if is_followed { wall_ms } else { gone_on_ms };
        observer.gained_ms += if is_stepped { 0 } else { now_ms.saturating_sub(gone_on_ms) };
        let budget_ms = millis(self.rules.max_step).saturating_sub(observer.gained_ms);
        // With an implausible wall clock, readers read both clocks too.
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

    /// The state of the wall clock, and whether a held step is followed now.
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

    /// Lead of engine time over the wall clock: above zero after the clock jumped back, or if the
    /// log contains a later time.
    #[must_use]
    pub fn skew(&self) -> Duration {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(skew_ms).unwrap_or(0))
    }

    /// Lead of the wall clock over engine time: above zero while a step is held.
    #[must_use]
    pub fn lead(&self) -> Duration {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(skew_ms.saturating_neg()).unwrap_or(0))
    }

    /// State of the wall clock at the last observation.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::ALL[self.standing.load(Ordering::Acquire) as usize % Standing::ALL.len()]
    }

    /// The wall clock, whether it is followed or not; for messages.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        self.clock.wall()
    }

    /// Earliest plausible time of the wall clock.
    #[must_use]
    pub fn earliest(&self) -> UnixMillis {
        self.clock.earliest()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &ClockRules {
        &self.rules
    }

    /// The forward clock, which nobody can set.
    #[must_use]
    pub fn forward(&self) -> Duration {
        self.clock.forward()
    }

    /// The monotonic clock, for latencies.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

impl Observer {
    /// Decays the sum of the small steps.
    fn drain(&mut self, forward_ms: u64, rules: &ClockRules) {
        if self.gained_ms == 0 {
            self.forward_ms = forward_ms;
            return;
        }
        let elapsed_ms = forward_ms.saturating_sub(self.forward_ms);
        let (max_ms, hold_ms) = (millis(rules.max_step), millis(rules.hold).max(1));
        let faded_ms = elapsed_ms.saturating_mul(max_ms) / hold_ms;
        // If observations come faster than a millisecond decays, their time is kept for the next
        // one.
        if faded_ms > 0 {
            self.gained_ms = self.gained_ms.saturating_sub(faded_ms);
            self.forward_ms = forward_ms;
        }
    }

    /// Whether this step, within a tolerance of `max_step`, has persisted for `hold`.
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
