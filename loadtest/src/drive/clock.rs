//! The one place where the harness reads real time.

use std::time::{Duration, Instant};

/// Counts nanoseconds from its making; all threads of a session share one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at zero.
    #[expect(clippy::disallowed_methods, reason = "the edge: the harness measures real time")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(self) -> u64 {
        nanos(self.origin.elapsed())
    }

    /// Waits until then, or not at all where that is past.
    pub fn sleep_until(self, at_ns: u64) {
        let now_ns = self.now_ns();
        if at_ns > now_ns {
            std::thread::sleep(Duration::from_nanos(at_ns - now_ns));
        }
    }
}

/// A duration in nanoseconds; those beyond 584 years are cut.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
