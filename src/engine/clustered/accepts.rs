//! What a node takes from its callers.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::engine::op::Rejected;

/// Interval of reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The same while the rest of the stream must last.
const REPORT_RARELY: Duration = Duration::from_secs(3);

/// What a node takes from its callers. Whatever it is, what was proposed still lands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Accepts {
    /// Changes, and waits for a message of this node.
    #[default]
    Everything,
    /// Waits alone, because a setting is wrong.
    Waits,
    /// Waits alone: the stream is nearly full.
    WaitsWhileFull,
    /// Nothing: what is left of the stream is for Hellos and reports, with which it is trimmed.
    NothingWhileFull,
    /// Nothing: a person must act.
    Nothing,
}

impl Accepts {
    const ALL: [Self; 5] = [
        Self::Everything,
        Self::Waits,
        Self::WaitsWhileFull,
        Self::NothingWhileFull,
        Self::Nothing,
    ];

    /// Why changes are refused.
    pub(super) fn refuses_changes(self) -> Option<Rejected> {
        match self {
            Self::Everything => None,
            Self::Waits | Self::Nothing => Some(Rejected::NoQuorum),
            Self::WaitsWhileFull | Self::NothingWhileFull => Some(Rejected::StreamFull),
        }
    }

    /// Why waits for a message of this node are refused.
    pub(super) fn refuses_waits(self) -> Option<Rejected> {
        match self {
            Self::Everything | Self::Waits | Self::WaitsWhileFull => None,
            Self::NothingWhileFull => Some(Rejected::StreamFull),
            Self::Nothing => Some(Rejected::NoQuorum),
        }
    }

    pub(super) fn report_every(self) -> Duration {
        if self == Self::NothingWhileFull { REPORT_RARELY } else { REPORT_EVERY }
    }
}

/// A value that threads share.
#[derive(Default)]
pub(super) struct Shared(AtomicU8);

impl Shared {
    pub(super) fn set(&self, accepts: Accepts) {
        self.0.store(accepts as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Accepts {
        let number = self.0.load(Ordering::Relaxed);
        // Nothing else is ever stored.
        Accepts::ALL.into_iter().find(|one| *one as u8 == number).unwrap_or(Accepts::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_read() {
        let shared = Shared::default();
        assert_eq!(shared.get(), Accepts::Everything);
        for accepts in Accepts::ALL {
            shared.set(accepts);
            assert_eq!(shared.get(), accepts);
            assert!(accepts.refuses_waits().is_none() || accepts.refuses_changes().is_some());
        }
    }
}
