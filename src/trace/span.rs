//! One request, as its span shows it.

use std::time::Duration;

use super::parent::Parent;
use crate::audit::EventOutcome;

/// When a request began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Wall time, in nanoseconds since 1970.
    pub(crate) wall_nanos: u64,
    /// Monotonic time.
    pub(crate) monotonic: Duration,
}

/// An answered request.
#[derive(Clone, Debug)]
pub struct Span {
    /// The span of the caller.
    pub parent: Option<Parent>,
    /// When it began: wall time, in nanoseconds since 1970.
    pub start_nanos: u64,
    /// How long it took by the monotonic clock, until its answer was made.
    pub length: Duration,
    /// The name of its operation in the metrics.
    pub operation: &'static str,
    /// `http` or `resp`.
    pub protocol: &'static str,
    /// The outcome of the request.
    pub outcome: EventOutcome,
    /// Status of the answer, where the protocol has one.
    pub status: Option<u16>,
    /// Time between the call to the engine and its outcome: the wait for the log, or for the cluster.
    /// `None` for a request that asked for no change.
    pub log_wait: Option<Duration>,
    /// Tokens of the request.
    pub tokens: usize,
}

impl Span {
    /// Whether the server is to blame, as the conventions of OpenTelemetry for HTTP have it.
    pub(super) fn is_error(&self) -> bool {
        match self.status {
            Some(status) => status >= 500,
            None => matches!(
                self.outcome,
                EventOutcome::Unavailable
                    | EventOutcome::Unanswered
                    | EventOutcome::Full
                    | EventOutcome::MemoryFull
                    | EventOutcome::DiskFull
                    | EventOutcome::LogUnavailable
                    | EventOutcome::ClockWrong
                    | EventOutcome::ReadOnly
                    | EventOutcome::Unknown
                    | EventOutcome::Error
            ),
        }
    }
}
