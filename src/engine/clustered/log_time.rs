//! Log time of a cluster's node: that of its last message.

use crate::engine::clocks::Timekeeper;
use crate::engine::shared::Shared;
use crate::model::time::UnixMillis;
use crate::wal::Wal;

/// Decides the log time by the messages alone. Whatever decides about entries (the wheel, the
/// cleaner, the expiry of segments, marks) takes its time from here, never from a clock of this
/// machine: otherwise a node would answer "not found" where others consume.
#[derive(Debug)]
pub(in crate::engine) struct LogTime {
    now: UnixMillis,
    /// The segment with a frame that states the position and all members. Older segments may be
    /// released only if this is the current one, so that a replay from any oldest segment finds
    /// such a frame.
    stated_in: Option<u64>,
}

impl LogTime {
    /// The time of the last frame. Where the members are stated is not known.
    pub(super) fn at(last_time_ms: u64) -> Self {
        Self { now: UnixMillis(last_time_ms), stated_in: None }
    }

    /// Moves to the time of the next message, which is never earlier.
    pub(super) fn advance(&mut self, to: UnixMillis) {
        self.now = self.now.max(to);
    }

    /// The position and all members were stated in this segment.
    pub(super) fn stated(&mut self, segment: u64) {
        self.stated_in = Some(segment);
    }

    /// Whether the current segment states the position and all members.
    pub(super) fn is_stated(&self, wal: &Wal) -> bool {
        self.stated_in == Some(wal.current_seq())
    }
}

impl Timekeeper for LogTime {
    /// The node's own clock is checked when an operation is proposed.
    fn allows_changes(&self) -> bool {
        true
    }

    fn observe(&mut self, _shared: &Shared, _is_empty: bool) -> UnixMillis {
        self.now
    }

    fn look(&mut self, _shared: &Shared, _is_empty: bool) -> UnixMillis {
        self.now
    }

    fn may_release(&self, wal: &Wal) -> bool {
        self.is_stated(wal)
    }
}
