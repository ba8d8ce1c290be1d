//! When the next request is due.

use crate::traffic::arrivals::Arrivals;
use crate::workload::Operation;

/// What a thread does with its time.
pub enum Pace {
    /// The population is issued, as fast as it goes.
    Load,
    /// As soon as a connection is free.
    Closed,
    /// A number of requests of one operation, as soon as a connection is free.
    Times {
        /// Whatever the mix says.
        operation: Operation,
        /// How many are still to be sent.
        left: u64,
    },
    /// At given times, whatever the server does: times from the begin of the phase.
    Open {
        /// The times to come.
        arrivals: Arrivals,
        /// The begin of the phase on the session's clock.
        begin_ns: u64,
        /// The next one, on the session's clock.
        next_ns: u64,
    },
}

impl Pace {
    /// An open loop that begins at `begin_ns`.
    pub fn open(mut arrivals: Arrivals, begin_ns: u64) -> Self {
        let next_ns = begin_ns.saturating_add(arrivals.next_ns());
        Self::Open { arrivals, begin_ns, next_ns }
    }

    /// Whether it ends with its requests, and not at a time.
    pub fn is_bounded_by_requests(&self) -> bool {
        matches!(self, Self::Load | Self::Times { .. })
    }

    /// When the next request is due; `None` for whenever a connection is free.
    pub fn due_ns(&self) -> Option<u64> {
        match self {
            Self::Load | Self::Closed | Self::Times { .. } => None,
            Self::Open { next_ns, .. } => Some(*next_ns),
        }
    }

    /// The request that was due was sent.
    pub fn advance(&mut self) {
        match self {
            Self::Load | Self::Closed => {}
            Self::Times { left, .. } => *left = left.saturating_sub(1),
            Self::Open { arrivals, begin_ns, next_ns } => {
                *next_ns = begin_ns.saturating_add(arrivals.next_ns());
            }
        }
    }
}
