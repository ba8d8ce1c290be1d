//! The committer's supervision of the clocks: it observes them and logs problems.
//!
//! The rules for following the wall clock are in [`crate::clock::EngineTime`].

use std::time::Duration;

use crate::clock::{EngineTime, Observer, Standing};
use crate::model::text::duration_text;
use crate::model::time::UnixMillis;
use crate::wal::Wal;
use crate::warning::Warning;

use super::health::{LEAD_BACK, wrong_clock};
use super::shared::Shared;

/// Logs at a start if the log's time is ahead of the clock, or the clock is far ahead of the log.
pub(super) fn say_at_start(time: &EngineTime, log_time: UnixMillis) {
    let (log_time, wall) = (log_time.to_string(), time.wall().to_string());
    if time.skew() > Duration::from_secs(1) {
        let ahead_ms = time.skew().as_millis() as u64;
        tracing::warn!(
            ahead_ms,
            log_time,
            wall,
            "the log's time is ahead of the wall clock; engine time continues from the log's \
             time; jeton shift-time can shift it back"
        );
    }
}

/// Decides the log time of the next frame, and what follows from it. A single node has its clocks
/// for that; a node of a cluster the messages of the stream.
pub(super) trait Timekeeper {
    /// Whether the clock allows changes, as of the last observation.
    fn allows_changes(&self) -> bool;

    /// The present log time. `is_empty`: the store has no entries that a step could expire.
    fn observe(&mut self, shared: &Shared, is_empty: bool) -> UnixMillis;

    /// Like [`Timekeeper::observe`], and logs changes of the clocks' state.
    fn look(&mut self, shared: &Shared, is_empty: bool) -> UnixMillis;

    /// Whether the oldest segment of the log may be released.
    fn may_release(&self, wal: &Wal) -> bool;
}

/// The committer's view of the clocks.
#[derive(Default)]
pub(super) struct ClockWatch {
    /// State of the clocks at the last observation.
    observer: Observer,
    /// Whether the log's time has been compared with the clock since the start.
    has_said_ahead: bool,
}

impl Timekeeper for ClockWatch {
    fn allows_changes(&self) -> bool {
        self.observer.standing.allows_changes()
    }

    fn observe(&mut self, shared: &Shared, is_empty: bool) -> UnixMillis {
        shared.time.observe(&mut self.observer, is_empty)
    }

    fn look(&mut self, shared: &Shared, is_empty: bool) -> UnixMillis {
        let before = self.observer.standing;
        let (was_ahead, was_held) = (is_ahead(shared), before == Standing::Held);
        let now = self.observe(shared, is_empty);
        let standing = self.observer.standing;
        if standing != before {
            say_standing(shared, before, standing, now);
        }
        if is_ahead(shared) != was_ahead || !self.has_said_ahead {
            self.has_said_ahead = true;
            warn_ahead(shared);
        }
        if (standing == Standing::Held) != was_held {
            warn_held(shared, standing);
        }
        now
    }

    fn may_release(&self, _wal: &Wal) -> bool {
        true
    }
}

/// Engine time is ahead of the wall clock by more than a clock is ever slewed.
fn is_ahead(shared: &Shared) -> bool {
    shared.time.skew() > shared.time.rules().max_step
}

fn warn_ahead(shared: &Shared) {
    if !is_ahead(shared) {
        return shared.warnings.lower(Warning::LogTimeAhead);
    }
    let ahead = duration_text(Duration::from_secs(shared.time.skew().as_secs()));
    let text = format!(
        "engine time is ahead of the wall clock by {ahead} and continues from there; if the wall \
         clock is right, {LEAD_BACK}"
    );
    shared.warnings.raise(Warning::LogTimeAhead, text);
}

fn warn_held(shared: &Shared, standing: Standing) {
    if standing != Standing::Held {
        return shared.warnings.lower(Warning::ClockHeld);
    }
    shared.warnings.raise(Warning::ClockHeld, held(shared));
}

fn held(shared: &Shared) -> String {
    let rules = shared.time.rules();
    let whole_s = |duration: Duration| Duration::from_secs(duration.as_secs());
    let ahead = duration_text(whole_s(shared.time.lead()));
    let hold = duration_text(rules.hold);
    let waits = if shared.time.lead() > rules.max_ttl {
        ", and then until the system reports a synchronised clock or the server is started with \
         --believe-clock: the step would expire every token"
    } else {
        ""
    };
    format!(
        "the wall clock is ahead by {ahead}, which the forward clock contradicts; the step is \
         held for {hold}{waits}"
    )
}

fn say_standing(shared: &Shared, before: Standing, standing: Standing, now: UnixMillis) {
    let now = now.to_string();
    match standing {
        Standing::Held => tracing::warn!(engine_time = now, "{}", held(shared)),
        Standing::Right if before == Standing::Held => {
            tracing::warn!(engine_time = now, "the wall clock is followed again");
        }
        Standing::Right => tracing::info!(engine_time = now, "the wall clock is right again"),
        Standing::Impossible | Standing::PastEnd => {
            let reason = wrong_clock(&shared.time).unwrap_or_default();
            tracing::error!(engine_time = now, "{reason}: changes are refused");
        }
    }
}
