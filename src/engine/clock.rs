//! What the committer does about the clocks: it looks at them, and says what it finds wrong.
//!
//! When the wall clock is believed is decided in [`crate::clock::EngineTime`].

use std::time::Duration;

use crate::clock::{EngineTime, Standing};
use crate::model::time::UnixMillis;
use crate::warning::Warning;

use super::Shared;
use super::commit::Committer;

/// What an operator can do about a log whose time lies ahead.
const LEAD_BACK: &str = "stop the server and lead the log back with jeton shift-time";

/// Why changes are refused because of the clock, if they are.
pub(super) fn wrong(time: &EngineTime) -> Option<String> {
    match time.standing() {
        Standing::Right | Standing::Held => None,
        Standing::Impossible => Some(format!(
            "the wall clock shows {}, which is before the build's date ({}) or after {}",
            time.wall(),
            time.earliest(),
            time.rules().latest()
        )),
        Standing::PastEnd => Some(format!(
            "the log has seen {}, after which no deadline can be held; {LEAD_BACK}",
            time.now()
        )),
    }
}

/// Says at a start that the log's time lies ahead of the clock, or the clock's far ahead of it.
pub(super) fn say_at_start(time: &EngineTime, log_time: UnixMillis) {
    let (log_time, wall) = (log_time.to_string(), time.wall().to_string());
    if time.skew() > Duration::from_secs(1) {
        let ahead_ms = time.skew().as_millis() as u64;
        tracing::warn!(
            ahead_ms,
            log_time,
            wall,
            "the log's time is ahead of the wall clock; engine time goes on from there; jeton \
             shift-time leads it back"
        );
    }
}

impl Committer {
    /// Takes the time, and says what has changed about the clocks.
    pub(super) fn look_at_clocks(&mut self) {
        let (before, shared) = (self.observer.standing, &self.shared);
        let (was_ahead, was_held) = (is_ahead(shared), before == Standing::Held);
        let is_empty = self.ledger.tally.entries == 0;
        self.now = shared.time.observe(&mut self.observer, is_empty);
        let standing = self.observer.standing;
        if standing != before {
            say_standing(shared, before, standing, self.now);
        }
        if is_ahead(shared) != was_ahead || !self.has_said_clock {
            self.has_said_clock = true;
            warn_ahead(shared);
        }
        if (standing == Standing::Held) != was_held {
            warn_held(shared, standing);
        }
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
    let ahead = humantime::format_duration(Duration::from_secs(shared.time.skew().as_secs()));
    let text = format!(
        "engine time is ahead of the wall clock by {ahead} and goes on from there; if the wall \
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
    let ahead = humantime::format_duration(whole_s(shared.time.lead()));
    let hold = humantime::format_duration(rules.hold);
    let waits = if shared.time.lead() > rules.max_ttl {
        ", and then until the system calls its clock synchronised or the server is started with \
         --believe-clock: every token would end"
    } else {
        ""
    };
    format!(
        "the wall clock is ahead by {ahead}, which the forward clock contradicts; it is not \
         followed for {hold}{waits}"
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
            let reason = wrong(&shared.time).unwrap_or_default();
            tracing::error!(engine_time = now, "{reason}: changes are refused");
        }
    }
}
